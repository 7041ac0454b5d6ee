//! Files kept whole beside parts of packs, under the same budget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::DiskCache;
use crate::chunk::{Whole, lock};

/// The share of the budget that one whole file may take: the parts it is made
/// of need room too.
const SHARE: u64 = 2;

/// Whether a file of this name is a whole one of the cache's.
pub(super) fn is_whole(name: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.split_once('-')
        .is_some_and(|(hash, size)| (hash.len(), size.len()) == (64, 16) && hex(hash) && hex(size))
}

/// Whether somebody may still be writing the whole file of this name.
pub(super) fn is_in_work(name: &str) -> bool {
    let name = name.strip_suffix(".new").and_then(|name| name.rsplit_once('.'));
    name.is_some_and(|(name, process)| {
        is_whole(name)
            && process != std::process::id().to_string()
            && Path::new("/proc").join(process).exists()
    })
}

fn file_name(whole: &Whole) -> String {
    format!("{}-{:016x}", whole.hash, whole.size)
}

impl DiskCache {
    /// The file, if it is here and as long as it should be. Nobody has compared
    /// it with anything.
    pub fn open_whole(&self, whole: &Whole) -> Option<File> {
        let name = file_name(whole);
        let known = lock(&self.known).files.get(&name).is_some();
        let found = File::open(self.dir.join(&name)).and_then(|file| {
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        match (found, known) {
            (Ok((file, size)), _) if size == whole.size => {
                if !known {
                    self.note(name, size);
                }
                Some(file)
            }
            (Ok(_), _) | (Err(_), true) => {
                self.remove_whole(whole);
                None
            }
            (Err(_), false) => None,
        }
    }

    pub fn remove_whole(&self, whole: &Whole) {
        self.remove_named(&file_name(whole));
    }

    /// Begins to write a file, with room for all of it; `None` when it would
    /// take too much of the budget.
    pub fn begin_whole(self: &Arc<Self>, whole: &Whole) -> io::Result<Option<Unfinished>> {
        if whole.size > self.budget / SHARE {
            return Ok(None);
        }
        let name = file_name(whole);
        let fresh = format!("{name}.{}.new", std::process::id());
        // The process itself has no reason to write to it again.
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(true).mode(0o400);
        let file = open.open(self.dir.join(&fresh))?;
        let (cache, left) = (Arc::clone(self), whole.size);
        let unfinished = Unfinished { cache, name, fresh, file, size: left, left };
        self.note(unfinished.fresh.clone(), whole.size);
        self.shrink();
        let size = i64::try_from(whole.size).unwrap_or(i64::MAX);
        match fallocate(&unfinished.file, FallocateFlags::empty(), 0, size) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(Some(unfinished)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A whole file that is being written. Dropped, it leaves nothing.
pub(in crate::chunk) struct Unfinished {
    cache: Arc<DiskCache>,
    name: String,
    fresh: String,
    file: File,
    size: u64,
    /// How many bytes are still to come.
    left: u64,
}

impl Unfinished {
    /// Adds to its end.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // In use, so that it is not what makes room for others.
        if lock(&self.cache.known).files.get(&self.fresh).is_none() {
            return Err(io::Error::other("it had to make room for others"));
        }
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.file.write_all(bytes)
    }

    /// Gives it its name once it is durable.
    pub fn finish(self) -> io::Result<File> {
        if self.left > 0 {
            return Err(io::Error::other("it is not as long as it should be"));
        }
        self.file.sync_data()?;
        let dir = &self.cache.dir;
        fs::rename(dir.join(&self.fresh), dir.join(&self.name))?;
        self.cache.note(self.name.clone(), self.size);
        File::open(dir.join(&self.name))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.cache.remove_named(&self.fresh);
    }
}
