//! A transaction in memory that outlives its process, so that another one goes
//! on with it at once.
//!
//! Journal and staged files tell all that is to be committed. They do not tell
//! what a kernel was told: the numbers of nodes, files that have no name any
//! more, times and owners. So a mount with a holder keeps its nodes in a memory
//! file as well, in the state that every request leaves them in.
//!
//! The file begins with [`MAGIC`], the version and where the first frame is
//! (u64, little endian); frames are from [`FIRST`] on. Each is its length (u32,
//! little endian), the first four bytes of the BLAKE3 hash of its body, and the
//! body, JSON: what one request has changed, all of it or nothing. From time to
//! time everything is written anew behind the last frame, and what was before
//! is given back.

mod collect;
mod record;
mod restore;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

pub(super) use collect::{Locked, Marks};
pub(super) use record::Entry;
pub use restore::Attach;

use self::record::Frame;

const MAGIC: &[u8; 8] = b"pfs live";

/// The version of the encoding.
const VERSION: u64 = 1;

/// Where the offset of the first frame is.
const START: u64 = 16;

/// Where frames may begin.
const FIRST: u64 = 4096;

/// How many bytes frames may take before all is written anew: so much, and so
/// often what that takes. Whoever goes on reads them first, and is waited for.
const SLACK: u64 = 128 << 10;
const TIMES: u64 = 2;

/// How many requests are known to have been carried out. So many cannot be
/// without an answer at a time.
const DONE: usize = 4096;

/// The memory file of one transaction.
#[derive(Debug)]
pub(super) struct Mirror {
    file: File,
    /// Where the first frame is, and where the next one comes.
    start: u64,
    end: u64,
    /// Bytes that all took when it was last written anew.
    all: u64,
    /// Up to where the journal is mirrored.
    journal: u64,
    done: VecDeque<u64>,
}

impl Mirror {
    fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("pfs transaction", MFdFlags::MFD_CLOEXEC)?);
        file.write_all_at(MAGIC, 0)?;
        file.write_all_at(&VERSION.to_le_bytes(), MAGIC.len() as u64)?;
        file.write_all_at(&FIRST.to_le_bytes(), START)?;
        let done = VecDeque::new();
        Ok(Self { file, start: FIRST, end: FIRST, all: 0, journal: 0, done })
    }

    /// What another process has written, and its frames up to the first that is
    /// not whole.
    fn open(file: OwnedFd) -> io::Result<(Self, Vec<Frame>)> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = File::from(file);
        let mut head = [0; 24];
        file.read_exact_at(&mut head, 0)?;
        let word = |at: usize| head[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        if head[..8] != *MAGIC || word(8) != VERSION {
            return Err(invalid("a transaction that another version keeps in memory"));
        }
        let start = word(16);
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len() - start).unwrap_or(0)];
        file.read_exact_at(&mut bytes, start)?;
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some((frame, size)) = record::decode(&bytes[at..]) {
            at += size;
            frames.push(frame);
        }
        let end = start + at as u64;
        // What a killed process has left half done.
        file.set_len(end)?;
        let (all, journal) = (0, frames.last().map_or(0, |frame| frame.journal));
        let mut done: VecDeque<u64> = frames.iter().flat_map(|f| &f.done).copied().collect();
        done.drain(..done.len().saturating_sub(DONE));
        Ok((Self { file, start, end, all, journal, done }, frames))
    }

    fn append(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = record::encode(frame)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.journal = frame.journal;
        for request in &frame.done {
            if self.done.len() == DONE {
                self.done.pop_front();
            }
            self.done.push_back(*request);
        }
        Ok(())
    }

    /// Whether what is superseded takes so much that all is to be written anew.
    fn is_due(&self) -> bool {
        self.end - self.start > SLACK + TIMES * self.all
    }

    /// Puts `frames`, which tell everything, in the place of all before.
    fn replace(&mut self, frames: impl Iterator<Item = Frame>) -> io::Result<()> {
        let (old, start) = (self.start, self.end.next_multiple_of(FIRST));
        self.end = start;
        for frame in frames {
            self.append(&frame)?;
        }
        self.file.write_all_at(&start.to_le_bytes(), START)?;
        (self.start, self.all) = (start, self.end - start);
        let gone = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if let (Ok(at), Ok(size)) = (i64::try_from(old), i64::try_from(start - old))
            && size > 0
        {
            // It is only memory that is not given back.
            let _ = fallocate(&self.file, gone, at, size);
        }
        Ok(())
    }

    /// Makes it what nobody can go on from.
    fn spoil(&self) {
        // Without memory for this, either, the frames before are still right
        // for as long as nothing has been acknowledged since.
        let _ = self.file.set_len(0);
    }
}

impl AsFd for Mirror {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
