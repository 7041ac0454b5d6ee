//! The content of new small files: many in one file of the staging directory,
//! so that making one costs no more than an append.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::holes::punch;
use super::journal::Record;
use super::node::{Body, Data, NodeId};
use super::staged::Staging;
use super::sync::keep;
use super::{COPIES, TransactionView};
use crate::vfs::VfsError;

/// The largest content that is kept so, in bytes.
const SMALL: usize = 64 << 10;

/// What each content begins at a multiple of.
const PAGE: u64 = 4096;

/// Less room than this in one piece is not given back: file systems take
/// milliseconds for a piece of any size.
const PIECE: u64 = 1 << 20;

/// The file's name, beside those of staged files.
const NAME: &str = "small";

/// The file, which only grows.
#[derive(Debug, Default)]
pub(super) struct Heap {
    file: Mutex<Option<Arc<File>>>,
    end: AtomicU64,
    unsynced: AtomicBool,
    /// Room that nobody needs, not yet given back: where it begins and ends.
    free: Mutex<BTreeMap<u64, u64>>,
    /// Whether a piece of it is large enough.
    worthwhile: AtomicBool,
}

impl Heap {
    /// The file, made if need be; and whether it was.
    fn open(&self, dir: &Path) -> io::Result<(Arc<File>, bool)> {
        let mut known = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*known {
            return Ok((Arc::clone(file), false));
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = Arc::new(options.open(dir.join(NAME))?);
        self.end.fetch_max(whole_pages(file.metadata()?.len()), Ordering::AcqRel);
        *known = Some(Arc::clone(&file));
        Ok((file, true))
    }

    fn free(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `range` to the room that nobody needs.
    fn release(&self, range: Range<u64>) {
        let mut free = self.free();
        let before = free.range(..range.start).next_back().filter(|(_, end)| **end == range.start);
        let start = before.map_or(range.start, |(start, _)| *start);
        let end = free.remove(&range.end).unwrap_or(range.end);
        free.insert(start, end);
        if end - start >= PIECE {
            self.worthwhile.store(true, Ordering::Release);
        }
    }
}

fn whole_pages(len: u64) -> u64 {
    len.next_multiple_of(PAGE)
}

/// The content of one small file; it never changes.
#[derive(Debug)]
pub(super) struct Small {
    staging: Arc<Staging>,
    file: Arc<File>,
    start: u64,
    size: u64,
    /// Whether its room is free once nobody reads it any more.
    given_up: AtomicBool,
}

impl Small {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Up to `count` bytes from `offset`; fewer at the end only.
    pub(super) fn read(&self, offset: u64, count: u64) -> io::Result<Bytes> {
        let count = self.size.saturating_sub(offset).min(count);
        // Not more than SMALL.
        let mut bytes = BytesMut::zeroed(count as usize);
        self.file.read_exact_at(&mut bytes, self.start + offset.min(self.size))?;
        Ok(bytes.freeze())
    }

    /// Fails when the content is not there any more.
    pub(super) fn require(&self) -> io::Result<()> {
        match self.file.metadata()?.len() >= self.start + self.size {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }

    /// Where it begins in the file.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The directory that the file is in, unless that is `staging`.
    pub(super) fn elsewhere(&self, staging: &Arc<Staging>) -> Option<PathBuf> {
        (!Arc::ptr_eq(&self.staging, staging)).then(|| self.staging.dir().to_owned())
    }

    /// Where the content is.
    pub(super) fn path(&self) -> PathBuf {
        self.staging.dir().join(NAME)
    }

    /// Lets the room be used otherwise once the last reader is done.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.given_up.load(Ordering::Acquire) {
            self.staging.heap().release(self.start..self.start + whole_pages(self.size));
        }
    }
}

impl Staging {
    /// Keeps `data`.
    fn put_small(self: &Arc<Self>, data: &[u8]) -> io::Result<Arc<Small>> {
        let (file, made) = self.heap().open(self.dir())?;
        if made {
            self.note_name();
        }
        let size = data.len() as u64;
        let end = &self.heap().end;
        let start = end.fetch_add(whole_pages(size), Ordering::AcqRel);
        let small = self.small(file, start, size);
        let written = small.file.write_all_at(data, start);
        // Before the journal tells of it, for whoever syncs that.
        self.heap().unsynced.store(true, Ordering::Release);
        if written.is_err() {
            // A full disk may have taken a part, which the next one writes over.
            let next = start + whole_pages(size);
            let back = end.compare_exchange(next, start, Ordering::AcqRel, Ordering::Acquire);
            if back.is_err() {
                small.give_up();
            }
        }
        written.map(|()| small)
    }

    /// The content of `size` bytes that was kept at `start`.
    pub(super) fn small_at(self: &Arc<Self>, start: u64, size: u64) -> io::Result<Arc<Small>> {
        let (file, _) = self.heap().open(self.dir())?;
        self.heap().end.fetch_max(whole_pages(start + size), Ordering::AcqRel);
        self.heap().unsynced.store(true, Ordering::Release);
        Ok(self.small(file, start, size))
    }

    fn small(self: &Arc<Self>, file: Arc<File>, start: u64, size: u64) -> Arc<Small> {
        let (staging, given_up) = (Arc::clone(self), AtomicBool::new(false));
        Arc::new(Small { staging, file, start, size, given_up })
    }

    /// Whether there is room to give back.
    pub(super) fn has_room(&self) -> bool {
        self.heap().worthwhile.load(Ordering::Acquire) && !self.is_kept()
    }

    /// Gives back to the file system what room there is in large pieces.
    pub(super) fn give_back(&self) {
        if !self.has_room() {
            return;
        }
        self.heap().worthwhile.store(false, Ordering::Release);
        let pieces: Vec<_> =
            self.heap().free().extract_if(.., |start, end| *end - *start >= PIECE).collect();
        let given = self.heap().open(self.dir()).and_then(|(file, _)| {
            Ok(pieces.into_iter().try_for_each(|(start, end)| punch(&file, &(start..end)))?)
        });
        if let Err(error) = given {
            tracing::debug!(%error, "the room of small files was not given back");
        }
    }

    /// Makes everything kept so durable.
    pub(super) fn sync_small(&self) -> io::Result<()> {
        if !self.heap().unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = self.heap().open(self.dir()).and_then(|(file, _)| keep(&file));
        let synced = synced.and_then(|()| self.sync_names());
        if synced.is_err() {
            self.heap().unsynced.store(true, Ordering::Release);
        }
        synced
    }
}

impl TransactionView {
    /// Makes `data` the content of the file `id`, if that is empty and `data`
    /// small; answers whether it is.
    pub(super) async fn write_small(&self, id: NodeId, data: &[u8]) -> Result<bool, VfsError> {
        if data.is_empty() || data.len() > SMALL {
            return Ok(false);
        }
        let _alone = self.copying[(id.0 % COPIES as u64) as usize].lock().await;
        let staging = {
            let state = self.lock();
            match state.node(id)?.data()? {
                Data::Base(content) if content.size() == 0 => Arc::clone(&state.staging),
                Data::Base(_) | Data::Small(_) | Data::Staged(_) => return Ok(false),
            }
        };
        let small = staging.put_small(data)?;
        let at = self.clock.now();
        let mut state = self.lock();
        if let Some(path) = state.path(id)? {
            let (start, size) = (small.start, small.size);
            let noted = state.log(&Record::Small { path, start, size, at });
            noted.inspect_err(|_| small.give_up())?;
        }
        state.node_mut(id)?.body = Body::File(Data::Small(small));
        state.modified(id, at)?;
        Ok(true)
    }
}
