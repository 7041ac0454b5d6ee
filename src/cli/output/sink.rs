//! Where results go: standard output, or a buffer in tests.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;

/// A writer whose failures say what could not be written.
pub struct Named<W> {
    name: String,
    out: W,
}

impl<W> Named<W> {
    /// `out`, which messages call `name`.
    pub fn new(name: impl Into<String>, out: W) -> Self {
        Self { name: name.into(), out }
    }

    fn failed(&self, error: io::Error) -> io::Error {
        match error.kind() {
            // The writer is called again.
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("cannot write {}: {error}", self.name)),
        }
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| self.failed(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|error| self.failed(error))
    }
}

/// What standard output is called in messages.
pub const STDOUT: &str = "standard output";

/// Buffered output that knows whether to paint.
pub struct Sink {
    out: Box<dyn Write + Send>,
    paint: bool,
    terminal: bool,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("paint", &self.paint).finish_non_exhaustive()
    }
}

impl Sink {
    /// Standard output; painted on a terminal unless `no_color` or
    /// `NO_COLOR` say otherwise.
    #[must_use]
    pub fn stdout(no_color: bool) -> Self {
        let stdout = io::stdout();
        let paint = !no_color && AutoStream::choice(&stdout) != ColorChoice::Never;
        let terminal = stdout.is_terminal();
        let out = BufWriter::with_capacity(64 << 10, Named::new(STDOUT, stdout));
        Self { out: Box::new(out), paint, terminal }
    }

    /// Any writer, painted as asked.
    #[cfg(test)]
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, paint: bool) -> Self {
        Self { out, paint, terminal: false }
    }

    /// Whether somebody watches on a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes text and a line break.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes text in a style, where painting is wanted.
    pub fn paint(&mut self, text: &str, style: Style) -> io::Result<()> {
        match self.paint && style != Style::new() {
            true => write!(self.out, "{style}{text}{style:#}"),
            false => self.text(text),
        }
    }

    /// Writes `count` spaces.
    pub fn spaces(&mut self, count: usize) -> io::Result<()> {
        write!(self.out, "{:count$}", "")
    }

    /// Hands everything over to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
