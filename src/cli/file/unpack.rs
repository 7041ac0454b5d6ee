//! A tar stream into a directory, several files at a time.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::api::client::Status;
use crate::cli::failure::{Failure, Outcome};
use crate::model::TreePath;

/// Files up to this many bytes are handed to writer threads.
const SMALL: u64 = 1 << 20;

/// Threads that write small files.
const WRITERS: usize = 2;

/// Small files that may wait for a writer.
const AHEAD: usize = 64;

/// Unpacks `stream` below `dir`, with `base` taken off the front of paths.
pub async fn unpack(
    stream: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    dir: &Path,
    base: &str,
) -> Outcome {
    let failure = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&failure);
    let bytes = stream.map_ok(io::Cursor::new).map_err(move |status| {
        let text = io::Error::other(status.message().to_owned());
        // The last status is the one that ended the stream.
        if let Ok(mut slot) = seen.lock() {
            *slot = Some(status);
        }
        text
    });
    let reader = SyncIoBridge::new(StreamReader::new(bytes));
    let (dir, base) = (dir.to_owned(), base.to_owned());
    let work = tokio::task::spawn_blocking(move || read_all(reader, dir, &base));
    let done = work.await.map_err(|error| Failure::new(error.to_string()))?;
    match failure.lock().ok().and_then(|mut slot| slot.take()) {
        Some(status) => Err(status.into()),
        None => done,
    }
}

struct Small {
    place: PathBuf,
    mode: u32,
    data: Vec<u8>,
}

fn read_all(reader: impl Read, dir: PathBuf, base: &str) -> Outcome {
    let mut writers = Writers::start();
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(256 << 10, reader));
    let mut target = Target { dir, made: HashSet::new() };
    for entry in archive.entries()? {
        target.entry(entry?, base, &mut writers)?;
    }
    writers.finish()
}

struct Target {
    dir: PathBuf,
    made: HashSet<PathBuf>,
}

impl Target {
    fn entry(
        &mut self,
        mut entry: tar::Entry<'_, impl Read>,
        base: &str,
        writers: &mut Writers,
    ) -> Outcome {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let place = self.place(&name, base)?;
        let header = entry.header();
        let mode = header.mode().unwrap_or(0o644) & 0o777;
        let kind = header.entry_type();
        if kind.is_dir() {
            return self.make(&place);
        }
        if let Some(parent) = place.parent() {
            self.make(parent)?;
        }
        let failed = |error| unwritable(&place, &error);
        if kind.is_symlink() {
            let to = entry.link_name()?.unwrap_or_default().into_owned();
            // An older download may have left something there.
            let _ = fs::remove_file(&place);
            return symlink(to, &place).map_err(failed);
        }
        if entry.size() > SMALL {
            let mut file = create(&place, mode).map_err(failed)?;
            io::copy(&mut entry, &mut file)?;
            return Ok(());
        }
        // At most `SMALL`, so it fits.
        let mut data = Vec::with_capacity(entry.size() as usize);
        entry.read_to_end(&mut data)?;
        writers.write(Small { place, mode, data })
    }

    /// Where an entry goes: never outside the directory, whatever the server
    /// sends.
    fn place(&self, name: &str, base: &str) -> Outcome<PathBuf> {
        let path: TreePath = super::target::clean(name).parse()?;
        let base: TreePath = base.parse()?;
        let rest = match path.strip_prefix(&base) {
            Some(rest) if !rest.is_root() => rest.as_str().to_owned(),
            Some(_) => match name.ends_with('/') {
                true => String::new(),
                false => path.file_name().to_owned(),
            },
            None => path.as_str().to_owned(),
        };
        Ok(self.dir.join(rest))
    }

    fn make(&mut self, dir: &Path) -> Outcome {
        if self.made.contains(dir) {
            return Ok(());
        }
        fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
        self.made.insert(dir.to_owned());
        Ok(())
    }
}

/// Threads that write small files while the next ones arrive.
struct Writers {
    queue: mpsc::SyncSender<Small>,
    threads: Vec<thread::JoinHandle<Outcome>>,
}

impl Writers {
    fn start() -> Self {
        let (queue, files) = mpsc::sync_channel::<Small>(AHEAD);
        let files = Arc::new(Mutex::new(files));
        let threads = (0..WRITERS)
            .map(|_| {
                let files = Arc::clone(&files);
                thread::spawn(move || {
                    loop {
                        let next = files.lock().ok().and_then(|files| files.recv().ok());
                        let Some(Small { place, mode, data }) = next else { return Ok(()) };
                        let written = create(&place, mode).and_then(|mut f| f.write_all(&data));
                        written.map_err(|error| unwritable(&place, &error))?;
                    }
                })
            })
            .collect();
        Self { queue, threads }
    }

    fn write(&mut self, file: Small) -> Outcome {
        match self.queue.send(file) {
            Ok(()) => Ok(()),
            // Every writer has failed; `finish` says why.
            Err(_) => Err(self.join().err().unwrap_or_else(|| Failure::new("no writer is left"))),
        }
    }

    fn finish(mut self) -> Outcome {
        let (closed, _) = mpsc::sync_channel(0);
        self.queue = closed;
        self.join()
    }

    fn join(&mut self) -> Outcome {
        let results = self.threads.drain(..).map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(Failure::new("a writer thread panicked")),
        });
        results.fold(Ok(()), Outcome::and)
    }
}

fn create(place: &Path, mode: u32) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(place)
}

fn unwritable(place: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", place.display()))
}
