//! Fetched parts of packs kept in a local directory across restarts.
//!
//! A file holds the bytes alone: whoever uses a frame of them compares it with
//! its hash, and has what does not match removed. Files are written under another
//! name and renamed; nothing is synced, for a loss costs a fetch only. Several
//! processes may share a directory: each keeps to its budget by what it knows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use lru::LruCache;

use super::lock;
use crate::model::PackId;

/// A part of a pack: where it starts and how long it should be. The end of a
/// pack may make the last part shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Extent {
    pub pack: PackId,
    pub start: u32,
    pub len: u32,
}

impl Extent {
    fn file_name(&self) -> String {
        format!("{}-{:08x}-{:08x}", self.pack, self.start, self.len)
    }
}

/// Whether a file of this name is one of the cache's.
fn is_extent(name: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = name.split('-').collect();
    parts.iter().map(|part| part.len()).eq([32, 8, 8]) && parts.into_iter().all(hex)
}

/// Whether a file of this name is one of the cache's that is being written.
fn is_unfinished(name: &str) -> bool {
    let name = name.strip_suffix(".new").and_then(|name| name.rsplit_once('.'));
    name.is_some_and(|(name, process)| is_extent(name) && process.parse::<u32>().is_ok())
}

/// The directory and what is known to be in it. Calls block on the disk.
pub(super) struct DiskCache {
    dir: PathBuf,
    budget: u64,
    known: Mutex<Known>,
}

struct Known {
    /// File names with sizes, the least recently used first.
    files: LruCache<String, u64>,
    used: u64,
}

impl DiskCache {
    /// Opens or creates the directory and counts what it holds. Only files
    /// named as this cache names its own are ever counted or removed.
    pub fn open(dir: &Path, budget: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut found = Vec::new();
        for file in fs::read_dir(dir)? {
            let file = file?;
            let (name, meta) = (file.file_name(), file.metadata()?);
            match name.to_str() {
                // Left by a process that died while writing.
                Some(name) if is_unfinished(name) => drop(fs::remove_file(file.path())),
                Some(name) if is_extent(name) => {
                    found.push((meta.modified()?, name.to_owned(), meta.len()));
                }
                Some(_) | None => {}
            }
        }
        found.sort();
        let mut known = Known { files: LruCache::unbounded(), used: 0 };
        for (_, name, size) in found {
            known.used += size;
            known.files.put(name, size);
        }
        // Nothing is removed yet: whoever only looks leaves all to the others.
        Ok(Self { dir: dir.to_owned(), budget, known: Mutex::new(known) })
    }

    /// The bytes of `extent`, if they are here. Nobody has compared them with
    /// anything.
    pub fn get(&self, extent: &Extent) -> Option<Bytes> {
        let name = extent.file_name();
        let known = lock(&self.known).files.get(&name).is_some();
        // What is not known another process may have put here.
        let found = fs::read(self.dir.join(&name)).ok();
        match (&found, known) {
            (None, true) => self.remove(extent),
            (Some(bytes), false) => self.note(name, bytes.len() as u64),
            (Some(_), true) | (None, false) => {}
        }
        let mut bytes = Bytes::from(found?);
        bytes.truncate(extent.len as usize);
        Some(bytes)
    }

    /// The file that holds `extent` from its first byte on, if it is here.
    pub fn path(&self, extent: &Extent) -> Option<PathBuf> {
        let name = extent.file_name();
        lock(&self.known).files.get(&name)?;
        Some(self.dir.join(name))
    }

    /// Whether there is a file for `extent`, whoever put it there.
    pub fn contains(&self, extent: &Extent) -> bool {
        let name = extent.file_name();
        if lock(&self.known).files.get(&name).is_some() {
            return true;
        }
        let found = fs::metadata(self.dir.join(&name)).ok();
        found.inspect(|file| self.note(name, file.len())).is_some()
    }

    /// Counts a file that is there.
    fn note(&self, name: String, size: u64) {
        let mut known = lock(&self.known);
        known.used += size;
        if let Some(old) = known.files.put(name, size) {
            known.used -= old;
        }
    }

    /// How many bytes may be kept.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Where they are kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the bytes of `extent`. A failure, such as a full disk, is none:
    /// the bytes are just not kept.
    pub fn put(&self, extent: &Extent, bytes: &Bytes) {
        let name = extent.file_name();
        let size = bytes.len() as u64;
        if size > self.budget {
            return;
        }
        if let Err(error) = self.write(&name, bytes) {
            tracing::debug!(dir = %self.dir.display(), %error, "cannot keep fetched data");
            return;
        }
        self.note(name, size);
        self.shrink();
    }

    fn write(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        use std::io::Write as _;
        let fresh = self.dir.join(format!("{name}.{}.new", std::process::id()));
        let written = fs::File::create(&fresh).and_then(|mut file| {
            file.write_all(bytes)?;
            fs::rename(&fresh, self.dir.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    pub fn remove(&self, extent: &Extent) {
        let name = extent.file_name();
        let _ = fs::remove_file(self.dir.join(&name));
        let mut known = lock(&self.known);
        if let Some(size) = known.files.pop(&name) {
            known.used -= size;
        }
    }

    /// Removes the least recently used files beyond the budget.
    fn shrink(&self) {
        let mut evicted = Vec::new();
        {
            let mut known = lock(&self.known);
            while known.used > self.budget {
                let Some((name, size)) = known.files.pop_lru() else { break };
                known.used -= size;
                evicted.push(name);
            }
        }
        for name in evicted {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// Bytes of the files that are known.
    pub fn used(&self) -> u64 {
        lock(&self.known).used
    }
}
