//! What programs print: kept on disk while they run, then in the meta repo.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::catalog::Job;
use crate::model::{Clock, DatumId, Timestamp};

/// The longest line kept whole, in bytes; longer ones are cut into several.
const LINE_MAX: usize = 64 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The server, about the program.
    Server,
}

/// A line of a datum's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was printed.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// Without the line end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A line and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumLine {
    /// The job.
    pub job: Job,
    /// The datum.
    pub datum: DatumId,
    /// The line.
    pub line: LogLine,
}

/// The logs of running datums.
#[derive(Clone)]
pub struct Logs {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    written: watch::Sender<()>,
}

impl Logs {
    /// Spools below `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { dir, clock, written: watch::Sender::new(()) }
    }

    /// Tells whenever some running datum has printed something.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    /// Where the spools of a job are.
    #[must_use]
    pub fn job_dir(&self, job: &Job) -> PathBuf {
        let Job { pipeline, id } = job;
        self.dir.join(format!("{}.{}.{id}", pipeline.project, pipeline.name))
    }

    /// Starts the log of a datum over.
    ///
    /// # Errors
    /// When the spool cannot be created.
    pub fn start(&self, job: &Job, datum: DatumId) -> std::io::Result<Spool> {
        let dir = self.job_dir(job);
        std::fs::create_dir_all(&dir)?;
        let path = dir.join(datum.to_hex());
        let file = Mutex::new(File::create(&path)?);
        Ok(Spool { path, file, logs: self.clone() })
    }

    /// The spools of a job, by datum.
    ///
    /// # Errors
    /// When their directory cannot be read.
    pub fn spools(&self, job: &Job) -> std::io::Result<Vec<(DatumId, PathBuf)>> {
        let entries = match std::fs::read_dir(self.job_dir(job)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut spools = Vec::new();
        for entry in entries {
            let entry = entry?;
            let datum = entry.file_name().to_str().and_then(|name| name.parse().ok());
            spools.extend(datum.map(|datum| (datum, entry.path())));
        }
        spools.sort();
        Ok(spools)
    }

    /// Removes the spools of all jobs but those whose directories are named.
    pub fn retain(&self, live: &HashSet<PathBuf>) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !live.contains(&entry.path()) {
                // What stays behind is found again at the next start.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Removes the spools of a job whose logs are kept elsewhere by now.
    pub fn discard(&self, job: &Job) {
        // What stays behind is found and removed at the next start.
        let _ = std::fs::remove_dir_all(self.job_dir(job));
    }
}

/// The lines in the kept form of a log; what is not a line is left out.
#[must_use]
pub fn parse_lines(text: &[u8]) -> Vec<LogLine> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The log of a datum while it runs.
pub struct Spool {
    path: PathBuf,
    file: Mutex<File>,
    logs: Logs,
}

impl Spool {
    /// The file behind it, one JSON object per line.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. A line that cannot be written is lost; the datum goes on.
    pub fn write(&self, stream: LogStream, text: &str) {
        let line = LogLine { at: self.logs.clock.now(), stream, text: text.to_owned() };
        let Ok(mut encoded) = serde_json::to_vec(&line) else { return };
        encoded.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&encoded) {
            tracing::warn!(path = %self.path.display(), %error, "a log line is lost");
        }
        self.logs.written.send_replace(());
    }
}

/// Cuts a stream of bytes into lines.
pub struct LineSplitter {
    stream: LogStream,
    pending: Vec<u8>,
}

impl LineSplitter {
    /// For the bytes of `stream`.
    #[must_use]
    pub const fn new(stream: LogStream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Takes the next bytes and writes the lines they complete.
    pub fn push(&mut self, bytes: &[u8], log: &Spool) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = line;
            while !rest.is_empty() {
                let room = LINE_MAX - self.pending.len();
                let (piece, tail) = rest.split_at(room.min(rest.len()));
                self.pending.extend_from_slice(piece);
                rest = tail;
                if piece.ends_with(b"\n") || self.pending.len() == LINE_MAX {
                    self.flush(log);
                }
            }
        }
    }

    /// Writes what is left when the stream has ended.
    pub fn finish(&mut self, log: &Spool) {
        if !self.pending.is_empty() {
            self.flush(log);
        }
    }

    fn flush(&mut self, log: &Spool) {
        let line = self.pending.strip_suffix(b"\n").unwrap_or(&self.pending);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        log.write(self.stream, &String::from_utf8_lossy(line));
        self.pending.clear();
    }
}
