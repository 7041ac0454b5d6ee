//! Files kept whole beside parts of packs, under the same budget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, fallocate};
use nix::unistd::linkat;

use super::{DiskCache, Kept};
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
        // The process itself has no reason to write to it again.
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o400);
        let file = open.open(&self.dir)?;
        let (cache, name, size) = (Arc::clone(self), file_name(whole), whole.size);
        let reserved = format!("{name}.{:x}", file.metadata()?.ino());
        let unfinished = Unfinished { cache, name, reserved, file, size, left: size };
        {
            let (mut known, now) = (lock(&self.known), self.clock.now());
            known.coming.extend([unfinished.name.clone(), unfinished.reserved.clone()]);
            known.add(unfinished.reserved.clone(), Kept::now(size, now));
            known.added += size;
        }
        self.shrink(self.budget);
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        match fallocate(&unfinished.file, FallocateFlags::empty(), 0, size) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(Some(unfinished)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A whole file that is being written. It has no name yet: whatever becomes of
/// this process, nothing is left of it unless it is finished.
pub(in crate::chunk) struct Unfinished {
    cache: Arc<DiskCache>,
    name: String,
    /// What its room is counted as; no file is called so.
    reserved: String,
    file: File,
    size: u64,
    /// How many bytes are still to come.
    left: u64,
}

impl Unfinished {
    /// Adds to its end.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // In use, so that it is not what makes room for others.
        let now = self.cache.clock.now();
        match lock(&self.cache.known).files.get_mut(&self.reserved) {
            Some(kept) => drop(kept.use_at(now)),
            None => return Err(io::Error::other("it had to make room for others")),
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
        let path = self.cache.dir.join(&self.name);
        let nameless = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link =
            || linkat(AT_FDCWD, nameless.as_str(), AT_FDCWD, &path, AtFlags::AT_SYMLINK_FOLLOW);
        match link() {
            Err(Errno::EEXIST) => {
                // Of another process, and nobody here has compared it.
                fs::remove_file(&path)?;
                link()?;
            }
            linked => linked?,
        }
        self.cache.note(self.name.clone(), self.size);
        File::open(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut known = lock(&self.cache.known);
        known.forget(&self.reserved);
        known.coming.remove(&self.reserved);
        known.coming.remove(&self.name);
    }
}
