//! One stream of files to the server.
//!
//! A thread of its own reads ahead: many small files to a message, large ones
//! in pieces. The queue between it and the connection is short, so memory
//! depends neither on the number nor on the size of the files.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::numbered::Names;
use super::packs::{LARGE, Packs};
use super::sources::{From, Item, walk};
use super::split::{Part, Split};
use super::target::{clean, join};
use crate::api::client::{Client, Response, Status};
use crate::cli::prelude::*;
use v1::put_file::Source;
use v1::put_files_request::Body;

/// Bytes of content in one message, about.
pub(super) const PIECE: usize = 1 << 20;

/// Files in one message at most.
const BATCH: usize = 1024;

/// Messages read ahead of the connection.
const AHEAD: usize = 8;

/// How files are put.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Behind what is there instead of in its place.
    pub append: bool,
    /// Cut into many.
    pub split: Option<Split>,
}

impl How {
    /// Whether everything that is to be cut passes through here.
    fn split_source(self, items: &[Item]) -> bool {
        !items.iter().any(|item| matches!(item.from, From::Url(..)))
    }
}

/// Sends `items` to `target` in one stream; all become visible, or none.
pub async fn upload(
    cx: &Context,
    target: v1::PutTarget,
    items: Vec<Item>,
    how: How,
    progress: ProgressBar,
) -> Outcome<v1::PutFilesResponse> {
    let server = cx.client().await?.clone();
    let said = shown(&target);
    let mut client = server.native();
    let split = match how.split {
        Some(split) if how.split_source(&items) => {
            Some(Splitting { split, names: Names::new(server.clone(), target.clone()) })
        }
        Some(_) => {
            let what = "a URL is fetched by the server, which cuts nothing";
            return Err(
                Failure::usage(what).hint("fetch it first: curl URL | pfs put file … --split")
            );
        }
        None => None,
    };
    let packs = Packing::Untried(Box::new((server, target.clone())));
    let (queue, messages) = mpsc::channel(AHEAD);
    let (files, append) = (Vec::new(), how.append);
    let batches = Batches { queue: queue.clone(), files, bytes: 0, append, progress, packs, split };
    let reader = tokio::task::spawn_blocking(move || batches.send_all(target, &items));
    let call = client.put_files(ReceiverStream::new(messages));
    tokio::pin!(call);
    let read = tokio::select! {
        read = reader => read.map_err(|error| Failure::new(error.to_string()))?,
        // Only a refusal comes before everything was sent.
        answer = &mut call => return answered(answer, &said),
    };
    // The end of the stream means that everything was sent, so when a file
    // cannot be read the call is dropped while our end of the queue is open.
    match read {
        Err(failure) if failure.message != GONE => return Err(failure),
        Ok(()) | Err(_) => drop(queue),
    }
    answered(call.await, &said)
}

/// What became of a put. Only a server that answers can tell.
fn answered(
    answer: Result<Response<v1::PutFilesResponse>, Status>,
    target: &str,
) -> Outcome<v1::PutFilesResponse> {
    match answer.map_err(Failure::from) {
        Ok(answer) => Ok(answer.into_inner()),
        Err(failure) if failure.lost => Err(failure.hint(format!(
            "nothing was put unless 'pfs list commit {target}' shows a new commit; \
             put again when the server is back"
        ))),
        Err(failure) => Err(failure),
    }
}

/// A target as it is typed.
fn shown(target: &v1::PutTarget) -> String {
    let repo = target.repo.clone().unwrap_or_default();
    let project = match repo.project.as_str() {
        "" | "default" => String::new(),
        project => format!("{project}/"),
    };
    format!("{project}{}@{}", repo.repo, target.r#ref)
}

/// The message of a failure that only says that the connection has ended.
const GONE: &str = "the server ended the upload";

/// What is kept of a file besides its bytes.
#[derive(Clone, Copy, Default)]
struct Kept {
    mode: u32,
    mtime: Option<prost_types::Timestamp>,
}

impl Kept {
    fn of(metadata: &Metadata) -> Self {
        // Nanoseconds are always below 10^9.
        let nanos = i32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        let mtime = Some(prost_types::Timestamp { seconds: metadata.mtime(), nanos });
        Self { mode: metadata.permissions().mode() & 0o7777, mtime }
    }
}

struct Batches {
    queue: mpsc::Sender<v1::PutFilesRequest>,
    files: Vec<v1::PutFile>,
    bytes: usize,
    append: bool,
    progress: ProgressBar,
    packs: Packing,
    split: Option<Splitting>,
}

/// How files are cut, and what the pieces are called.
struct Splitting {
    split: Split,
    names: Names,
}

/// Whether large files are packed here.
enum Packing {
    Untried(Box<(Client, v1::PutTarget)>),
    Here(Box<Packs>),
    AtTheServer,
}

impl Batches {
    fn send_all(mut self, target: v1::PutTarget, items: &[Item]) -> Outcome {
        self.send(Body::Target(target))?;
        for item in items {
            match &item.from {
                From::Stdin if self.split.is_some() => {
                    self.cut(&mut io::stdin().lock(), &item.path)?;
                }
                From::Stdin => {
                    self.pieces(&mut io::stdin().lock(), &item.path, Kept::default())?;
                }
                From::File(place) => {
                    let metadata = fs::metadata(place).map_err(|e| unreadable(place, &e))?;
                    self.file(place, &item.path, &metadata, true)?;
                }
                From::Dir(dir) => {
                    walk(dir, &item.path, &mut |place, path, metadata| {
                        self.file(place, path, metadata, false)
                    })?;
                }
                From::Tar(None) => self.tar(io::stdin().lock(), &item.path)?,
                From::Tar(Some(place)) => {
                    let file = File::open(place).map_err(|error| unreadable(place, &error))?;
                    self.tar(file, &item.path)?;
                }
                From::Url(url, recursive) => {
                    let source = Source::Url(url.clone());
                    let file = self.entry(&item.path, Kept::default(), source);
                    self.push(v1::PutFile { recursive: *recursive, ..file }, 0)?;
                }
            }
        }
        self.ship_packed()?;
        self.ship()
    }

    /// `named` files may be pipes and devices: the user asked for just them.
    fn file(&mut self, place: &Path, path: &str, metadata: &Metadata, named: bool) -> Outcome {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let to = fs::read_link(place).map_err(|error| unreadable(place, &error))?;
            let to = to.to_str().ok_or_else(|| {
                Failure::new(format!("the target of {} is not valid UTF-8", place.display()))
            })?;
            let source = Source::Symlink(to.to_owned());
            let file = self.entry(path, Kept::of(metadata), source);
            return self.push(file, 0);
        }
        let regular = kind.is_file();
        if !regular && !named {
            return Err(Failure::new(format!("{} is not a regular file", place.display())));
        }
        let file = File::open(place).map_err(|error| unreadable(place, &error))?;
        if self.split.is_some() {
            let mut reader = io::BufReader::with_capacity(PIECE, file);
            return self.cut(&mut reader, path).map_err(|failure| match failure.message == GONE {
                true => failure,
                false => failure.context(&format!("cannot split {}", place.display())),
            });
        }
        let mut file = Local { place, file };
        let small = usize::try_from(metadata.len()).ok().filter(|n| regular && *n < PIECE);
        match small {
            Some(size) => self.small(&mut file, size, path, Kept::of(metadata)),
            None if regular && !self.append && metadata.len() >= LARGE => {
                self.large(&mut file, path, Kept::of(metadata))
            }
            None if regular => self.pieces(&mut file, path, Kept::of(metadata)),
            None => self.pieces(&mut file, path, Kept::default()),
        }
    }

    /// Everything in a tar stream, below `path`.
    fn tar(&mut self, from: impl Read, path: &str) -> Outcome {
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(PIECE, from));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|_| Failure::new("the tar stream has a name that is not valid UTF-8"))?;
            let path = join(path, &clean(&name));
            let header = entry.header();
            // Times that no timestamp can hold are kept as 1970.
            let seconds = i64::try_from(header.mtime()?).unwrap_or(0);
            let mtime = Some(prost_types::Timestamp { seconds, nanos: 0 });
            let kept = Kept { mode: header.mode()? & 0o7777, mtime };
            match header.entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = usize::try_from(entry.size()).ok().filter(|size| *size < PIECE);
                    match size {
                        Some(size) => self.small(&mut entry, size, &path, kept)?,
                        None => self.pieces(&mut entry, &path, kept)?,
                    }
                }
                tar::EntryType::Symlink => {
                    let to = entry.link_name_bytes().unwrap_or_default();
                    let to = String::from_utf8_lossy(&to).into_owned();
                    let file = self.entry(&path, kept, Source::Symlink(to));
                    self.push(file, 0)?;
                }
                // Directories come with their files; headers hold no files.
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
                _ => {
                    return Err(Failure::new(format!("{name} in the tar stream is no file"))
                        .hint("hard links, devices and pipes cannot be put"));
                }
            }
        }
        Ok(())
    }

    /// A file that fits into a message together with others.
    fn small(&mut self, file: &mut impl Read, size: usize, path: &str, kept: Kept) -> Outcome {
        // One byte more shows in one read that the file has not grown.
        let mut data = Vec::with_capacity(size + 1);
        file.take(PIECE as u64).read_to_end(&mut data)?;
        if data.len() == PIECE {
            let rest = io::Cursor::new(data).chain(file);
            return self.pieces(&mut { rest }, path, kept);
        }
        let bytes = data.len();
        let file = self.entry(path, kept, Source::Data(data.into()));
        self.push(file, bytes)
    }

    /// A file cut into many, in a directory of its name.
    fn cut(&mut self, from: &mut dyn io::BufRead, dir: &str) -> Outcome {
        let Some(Splitting { split, names }) = &self.split else { return Ok(()) };
        let (split, append) = (*split, self.append);
        let mut next = match append {
            true => Handle::current().block_on(names.next_in(dir))?,
            false => 0,
        };
        if !append {
            let file = self.entry(dir, Kept::default(), Source::Remove(true));
            self.push(file, 0)?;
        }
        // What was cut is known to be whole only when something follows it.
        let mut held: Option<Vec<u8>> = None;
        split.cut(from, &mut |part| {
            let more = matches!(part, Part::Bytes(_));
            let before = match part {
                Part::Bytes(bytes) => held.replace(bytes),
                Part::End => held.take(),
            };
            let Some(data) = before else { return Ok(()) };
            let bytes = data.len();
            let path = join(dir, &format!("{next:016x}"));
            let file = self.entry(&path, Kept::default(), Source::Data(data.into()));
            next += u64::from(!more);
            self.push(v1::PutFile { more, append: false, ..file }, bytes)
        })
    }

    /// A large file: packed here where that can be.
    fn large(&mut self, from: &mut dyn Read, path: &str, kept: Kept) -> Outcome {
        if let Packing::Untried(untried) = &self.packs {
            let (client, target) = &**untried;
            let opened = Handle::current().block_on(Packs::open(client, target))?;
            self.packs =
                opened.map_or(Packing::AtTheServer, |packs| Packing::Here(Box::new(packs)));
        }
        let file = self.entry(path, kept, Source::Remove(false));
        let Packing::Here(packs) = &mut self.packs else {
            return self.pieces(from, path, kept);
        };
        packs.put(&mut self.progress.wrap_read(from), file)?;
        match packs.is_full() {
            true => self.ship_packed(),
            false => Ok(()),
        }
    }

    /// Sends what was packed here.
    fn ship_packed(&mut self) -> Outcome {
        let Packing::Here(packs) = &mut self.packs else { return Ok(()) };
        for file in packs.take()? {
            self.push(file, 0)?;
        }
        Ok(())
    }

    /// A file of any size, piece by piece.
    fn pieces(&mut self, from: &mut dyn Read, path: &str, kept: Kept) -> Outcome {
        let mut piece = read_piece(from)?;
        loop {
            let next = if piece.len() < PIECE { Bytes::new() } else { read_piece(from)? };
            let more = !next.is_empty();
            let bytes = piece.len();
            let file = self.entry(path, kept, Source::Data(piece));
            self.push(v1::PutFile { more, ..file }, bytes)?;
            if !more {
                return Ok(());
            }
            piece = next;
        }
    }

    fn entry(&self, path: &str, kept: Kept, source: Source) -> v1::PutFile {
        v1::PutFile {
            path: path.to_owned(),
            mode: kept.mode,
            mtime: kept.mtime,
            append: self.append,
            more: false,
            recursive: false,
            source: Some(source),
        }
    }

    fn push(&mut self, file: v1::PutFile, bytes: usize) -> Outcome {
        self.files.push(file);
        self.bytes += bytes;
        self.progress.inc(bytes as u64);
        match self.bytes >= PIECE || self.files.len() >= BATCH {
            true => self.ship(),
            false => Ok(()),
        }
    }

    fn ship(&mut self) -> Outcome {
        let files = std::mem::take(&mut self.files);
        self.bytes = 0;
        match files.is_empty() {
            true => Ok(()),
            false => self.send(Body::Files(v1::PutFileBatch { files })),
        }
    }

    fn send(&mut self, body: Body) -> Outcome {
        let message = v1::PutFilesRequest { body: Some(body) };
        self.queue.blocking_send(message).map_err(|_| Failure::new(GONE))
    }
}

/// The next piece, short only at the end.
pub(super) fn read_piece(from: &mut dyn Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    from.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// A file whose failures say what could not be read.
struct Local<'p> {
    place: &'p Path,
    file: File,
}

impl Read for Local<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            // The reader is called again.
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, unreadable(self.place, &error).message),
        })
    }
}

fn unreadable(place: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", place.display()))
}
