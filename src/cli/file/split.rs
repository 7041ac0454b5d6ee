//! Cutting a file into many while it is put: `put file --split`.
//!
//! One pass over the input; memory holds a piece of it and the header.

use std::io::{self, BufRead, Read as _};

use clap::ValueEnum;

use super::upload::PIECE;
use crate::cli::failure::{Failure, Outcome};

/// The most a header, or one row of a dump, may take.
const HELD_MAX: u64 = 64 << 20;

/// What ends a table in a dump.
const END_OF_TABLE: &[u8] = b"\\.\n";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitFormat {
    /// A line
    Line,
    /// A JSON value, one after another
    Json,
    /// A row of CSV; a quoted field may hold line breaks
    Csv,
    /// A row of a table, as pg_dump writes it
    Sql,
}

/// How files are cut.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    /// What a record is.
    pub format: SplitFormat,
    /// Records to a file; 0: no limit.
    pub datums: u64,
    /// Bytes after which a file ends with its record; 0: no limit.
    pub bytes: u64,
    /// How many records at the beginning are a header, which every file gets.
    pub header: u64,
}

/// What becomes of the input, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The next bytes of a file.
    Bytes(Vec<u8>),
    /// The file ends; what follows is the next one.
    End,
}

impl Split {
    /// Cuts everything in `from`.
    pub fn cut(self, from: &mut dyn BufRead, emit: &mut dyn FnMut(Part) -> Outcome) -> Outcome {
        let files = Files { split: self, header: Vec::new(), piece: Vec::new(), emit, state: None };
        match self.format {
            SplitFormat::Line => files.records(from, &mut Lines),
            SplitFormat::Json => files.records(from, &mut Json::default()),
            SplitFormat::Csv => files.records(from, &mut Rows::default()),
            SplitFormat::Sql => files.dump(from),
        }
    }
}

/// Finds where records end.
trait Scan {
    /// How many of the bytes belong to the record being read, and whether it
    /// ends there.
    fn scan(&mut self, bytes: &[u8]) -> Outcome<(usize, bool)>;

    /// Whether the input may end here.
    fn end(&self) -> Outcome;
}

struct Lines;

impl Scan for Lines {
    fn scan(&mut self, bytes: &[u8]) -> Outcome<(usize, bool)> {
        Ok(match bytes.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), false),
        })
    }

    fn end(&self) -> Outcome {
        Ok(())
    }
}

/// CSV: a line break within quotes ends no row. A doubled quote leaves and
/// enters again.
#[derive(Default)]
struct Rows {
    quoted: bool,
}

impl Scan for Rows {
    fn scan(&mut self, bytes: &[u8]) -> Outcome<(usize, bool)> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => self.quoted = !self.quoted,
                b'\n' if !self.quoted => return Ok((at + 1, true)),
                _ => {}
            }
        }
        Ok((bytes.len(), false))
    }

    fn end(&self) -> Outcome {
        match self.quoted {
            true => Err(Failure::new("the CSV ends within a quoted field")),
            false => Ok(()),
        }
    }
}

/// JSON values one after another; space between two belongs to the first.
#[derive(Default)]
struct Json {
    depth: usize,
    text: bool,
    escaped: bool,
    /// Whether a value has begun.
    begun: bool,
    /// Whether it is whole, so that whatever is no space begins another.
    whole: bool,
}

impl Json {
    /// Takes one byte into the value.
    fn take(&mut self, byte: u8) -> Outcome {
        self.begun = true;
        if self.text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.text = false,
                _ => {}
            }
            self.whole = !self.text && self.depth == 0;
            return Ok(());
        }
        match byte {
            b'"' => self.text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| {
                    Failure::new(format!("unexpected {:?} between JSON values", char::from(byte)))
                })?;
                self.whole = self.depth == 0;
            }
            b' ' | b'\t' | b'\r' | b'\n' => self.whole = self.depth == 0,
            _ => {}
        }
        Ok(())
    }
}

impl Scan for Json {
    fn scan(&mut self, bytes: &[u8]) -> Outcome<(usize, bool)> {
        for (at, byte) in bytes.iter().enumerate() {
            let starts = !byte.is_ascii_whitespace();
            // `{}{}` and `1"a"` are two values each; `12` is one.
            let apart = !self.text && self.depth == 0 && matches!(byte, b'{' | b'[' | b'"');
            if self.begun && starts && (self.whole || apart) {
                *self = Self::default();
                return Ok((at, true));
            }
            self.take(*byte)?;
        }
        Ok((bytes.len(), false))
    }

    fn end(&self) -> Outcome {
        match self.text || self.depth > 0 {
            true => Err(Failure::new("the JSON ends within a value")),
            false => Ok(()),
        }
    }
}

/// The file being written.
#[derive(Default)]
struct Open {
    datums: u64,
    bytes: u64,
}

/// Files under construction.
struct Files<'e> {
    split: Split,
    header: Vec<u8>,
    piece: Vec<u8>,
    emit: &'e mut dyn FnMut(Part) -> Outcome,
    state: Option<Open>,
}

impl Files<'_> {
    fn records(mut self, from: &mut dyn BufRead, scan: &mut dyn Scan) -> Outcome {
        if self.split.format == SplitFormat::Json {
            skip_space(from)?;
        }
        let (mut headers, mut within) = (self.split.header, false);
        loop {
            let bytes = from.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let (taken, ends) = scan.scan(bytes)?;
            match headers {
                0 => self.write(&bytes[..taken], b"")?,
                _ => self.keep_header(&bytes[..taken])?,
            }
            from.consume(taken);
            within = !ends;
            if ends && headers > 0 {
                headers -= 1;
            } else if ends {
                self.end_record();
            }
        }
        scan.end()?;
        if within && headers == 0 {
            self.end_record();
        }
        self.close(b"")
    }

    /// A dump: what comes before the rows goes into every file, what comes
    /// after them into the last.
    fn dump(mut self, from: &mut dyn BufRead) -> Outcome {
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Err(Failure::new("the dump holds no table")
                    .hint("expected 'COPY … FROM stdin;', as pg_dump writes it"));
            }
            self.keep_header(&line)?;
            let text = String::from_utf8_lossy(&line);
            if text.starts_with("COPY ") && text.trim_end().ends_with("FROM stdin;") {
                break;
            }
        }
        loop {
            let line = read_line(from)?;
            match line.as_slice() {
                [] => return Err(Failure::new("the dump ends within a table")),
                line if line.strip_suffix(b"\n").unwrap_or(line) == b"\\." => break,
                line => self.write(line, END_OF_TABLE)?,
            }
            self.end_record();
        }
        self.append(END_OF_TABLE)?;
        loop {
            let bytes = from.fill_buf()?;
            let read = bytes.len();
            if read == 0 {
                return self.close(b"");
            }
            self.append(bytes)?;
            from.consume(read);
        }
    }

    fn keep_header(&mut self, bytes: &[u8]) -> Outcome {
        self.header.extend_from_slice(bytes);
        match self.header.len() as u64 > HELD_MAX {
            true => Err(Failure::new("the header is larger than 64 MiB")),
            false => Ok(()),
        }
    }

    /// Bytes of a record; a file that is full ends before it, with `last`.
    fn write(&mut self, bytes: &[u8], last: &[u8]) -> Outcome {
        let Split { datums, bytes: most, .. } = self.split;
        let full = |open: &Open| {
            let unlimited = datums == 0 && most == 0 && open.datums > 0;
            unlimited
                || datums > 0 && open.datums >= datums
                || most > 0 && open.datums > 0 && open.bytes >= most
        };
        // Only at the beginning of a record is everything before it counted.
        let begins = self.state.as_ref().is_some_and(|open| open.datums > 0 && full(open));
        if begins {
            self.close(last)?;
        }
        self.append(bytes)?;
        if let Some(open) = &mut self.state {
            open.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn end_record(&mut self) {
        if let Some(open) = &mut self.state {
            open.datums += 1;
        }
    }

    /// Bytes of the open file, or of a new one.
    fn append(&mut self, bytes: &[u8]) -> Outcome {
        if self.state.is_none() {
            self.state = Some(Open::default());
            self.piece.extend_from_slice(&self.header);
        }
        self.piece.extend_from_slice(bytes);
        match self.piece.len() >= PIECE {
            true => (self.emit)(Part::Bytes(std::mem::take(&mut self.piece))),
            false => Ok(()),
        }
    }

    fn close(&mut self, last: &[u8]) -> Outcome {
        if self.state.take().is_none() {
            return Ok(());
        }
        self.piece.extend_from_slice(last);
        (self.emit)(Part::Bytes(std::mem::take(&mut self.piece)))?;
        (self.emit)(Part::End)
    }
}

fn skip_space(from: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        let space = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let more = space > 0 && space == bytes.len();
        from.consume(space);
        if !more {
            return Ok(());
        }
    }
}

/// A line with its end; empty at the end of the input.
fn read_line(from: &mut dyn BufRead) -> Outcome<Vec<u8>> {
    let mut line = Vec::new();
    from.take(HELD_MAX).read_until(b'\n', &mut line)?;
    match line.len() as u64 == HELD_MAX {
        true => Err(Failure::new("a line of the dump is longer than 64 MiB")),
        false => Ok(line),
    }
}
