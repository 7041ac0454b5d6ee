//! Fetched parts of packs kept in a local directory across restarts.
//!
//! A file holds the bytes, and behind those of a large frame the chaining values
//! of its groups: whoever uses a frame compares it with its hash, and has what
//! does not match removed. Files are written under another name and renamed;
//! nothing is synced, for a loss costs a fetch only.
//!
//! Several processes may share a directory and its budget. Each removes what is
//! beyond by what it knows, and counts the directory anew before it adds to it
//! after a pause, and whenever it has added a share of the budget: by so much
//! may it be exceeded until then. When a file was used its time of access tells:
//! not at every use, but soon enough for others to keep what is in use.

mod whole;

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use lru::LruCache;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use self::whole::is_whole;
use super::lock;
use super::parts::read_no_more;
use crate::model::{Clock, PackId, Timestamp};

/// The directory is counted when such a share of the budget was added to it.
const SHARE: u64 = 16;

/// How many shares are left free for others where there are others.
const SHARES_OF_OTHERS: u64 = 3;

/// How much later than its last use a file may say that it was used, and how old
/// a count may be.
const LATE: Duration = Duration::from_mins(1);

/// How many files are held open.
const OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("is not zero");

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
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

struct Known {
    /// Files by name, the least recently used first.
    files: LruCache<String, Kept>,
    /// Bytes of these.
    used: u64,
    /// Some of them.
    open: LruCache<String, Arc<File>>,
    /// When the directory was counted.
    counted: Timestamp,
    /// Bytes put here since then.
    added: u64,
    /// Whether others were seen to put something here since then, or to remove
    /// something.
    shared: bool,
    /// What this process itself is about to put here.
    coming: HashSet<String>,
    /// What it has taken out while the directory is counted.
    going: Option<HashSet<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    size: u64,
    used: Timestamp,
    /// When it was used as far as others can see.
    told: Timestamp,
}

impl Kept {
    fn now(size: u64, now: Timestamp) -> Self {
        Self { size, used: now, told: now }
    }

    /// Notes a use; answers whether others should see it.
    fn use_at(&mut self, now: Timestamp) -> bool {
        self.used = now;
        let tell = is_late(self.told, now);
        if tell {
            self.told = now;
        }
        tell
    }
}

/// Whether something that was so `then` should be looked at again.
fn is_late(then: Timestamp, now: Timestamp) -> bool {
    let late = now.as_nanos().saturating_sub(then.as_nanos());
    u128::try_from(late).is_ok_and(|late| late >= LATE.as_nanos())
}

impl Known {
    fn add(&mut self, name: String, kept: Kept) {
        self.open.pop(&name);
        self.used += kept.size;
        if let Some(old) = self.files.put(name, kept) {
            self.used -= old.size;
        }
    }

    fn forget(&mut self, name: &str) {
        self.open.pop(name);
        if let Some(old) = self.files.pop(name) {
            self.used -= old.size;
        }
        if let Some(going) = &mut self.going {
            going.insert(name.to_owned());
        }
    }

    /// Takes over what was found in the directory, which was counted from
    /// `began` on.
    fn replace(&mut self, found: Vec<(String, Kept)>, began: Timestamp) {
        let going = self.going.take().unwrap_or_default();
        let mut all = Vec::with_capacity(found.len());
        for (name, mut kept) in found {
            match self.files.pop(&name) {
                Some(known) => {
                    kept.used = kept.used.max(known.used);
                    kept.told = known.told;
                }
                None if going.contains(&name) || self.coming.contains(&name) => continue,
                None => self.shared = true,
            }
            all.push((name, kept));
        }
        while let Some((name, kept)) = self.files.pop_lru() {
            // Put here since, or gone.
            match kept.used >= began || self.coming.contains(&name) {
                true => all.push((name, kept)),
                false => {
                    self.shared = true;
                    self.open.pop(&name);
                }
            }
        }
        all.sort_by(|(a, x), (b, y)| x.used.cmp(&y.used).then_with(|| a.cmp(b)));
        (self.counted, self.added) = (began, 0);
        self.used = all.iter().map(|(_, kept)| kept.size).sum();
        for (name, kept) in all {
            self.files.put(name, kept);
        }
    }

    /// Takes out the least recently used files beyond `most` bytes. Room for
    /// files that are being written is the last to go.
    fn evict(&mut self, most: u64) -> Vec<String> {
        let (mut evicted, mut spared) = (Vec::new(), VecDeque::new());
        while self.used > most {
            let (name, kept) = match self.files.pop_lru() {
                Some((name, kept)) if !is_extent(&name) && !is_whole(&name) => {
                    spared.push_back((name, kept));
                    continue;
                }
                Some(next) => next,
                None => match spared.pop_front() {
                    Some(next) => next,
                    None => break,
                },
            };
            self.used -= kept.size;
            self.forget(&name);
            evicted.push(name);
        }
        for (name, kept) in spared {
            self.files.put(name, kept);
        }
        evicted
    }
}

impl DiskCache {
    /// Opens or creates the directory and counts what it holds. Only files
    /// named as this cache names its own are ever counted or removed.
    pub fn open(dir: &Path, budget: u64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for file in fs::read_dir(dir)? {
            let file = file?;
            // Left by a process that died while writing.
            if file.file_name().to_str().is_some_and(is_unfinished) {
                let _ = fs::remove_file(file.path());
            }
        }
        let mut known = Known {
            files: LruCache::unbounded(),
            used: 0,
            open: LruCache::new(OPEN),
            counted: Timestamp::default(),
            added: 0,
            shared: false,
            coming: HashSet::new(),
            going: None,
        };
        known.replace(files_in(dir)?, clock.now());
        known.shared = false;
        // Nothing is removed yet: whoever only looks leaves all to the others.
        Ok(Self { dir: dir.to_owned(), budget, clock, known: Mutex::new(known) })
    }

    /// The bytes of `extent`, if they are here. Nobody has compared them with
    /// anything.
    pub fn get(&self, extent: &Extent) -> Option<Bytes> {
        let name = extent.file_name();
        let read = |mut file: File| {
            let mut bytes = Vec::with_capacity(extent.len as usize);
            file.read_to_end(&mut bytes).ok()?;
            Some((bytes, file))
        };
        let found = File::open(self.dir.join(&name)).ok().and_then(read);
        let tell = self.looked_for(name, found.as_ref().map(|(bytes, _)| bytes.len() as u64));
        let (bytes, file) = found?;
        if let Some(now) = tell {
            tell_use(&file, now);
        }
        let mut bytes = Bytes::from(bytes);
        bytes.truncate(extent.len as usize);
        Some(bytes)
    }

    /// The file that holds `extent` from its first byte on, if it is known to be
    /// here. Call it where tasks run.
    pub fn open_file(&self, extent: &Extent) -> Option<Arc<File>> {
        let (name, now) = (extent.file_name(), self.clock.now());
        let (open, tell) = {
            let mut known = lock(&self.known);
            let tell = known.files.get_mut(&name)?.use_at(now);
            (known.open.get(&name).cloned(), tell)
        };
        let Some(file) = open.or_else(|| self.open_known(&name)) else {
            self.looked_for(name, None);
            return None;
        };
        if tell && file.metadata().is_ok_and(|found| found.nlink() == 0) {
            // Another process has removed it.
            self.looked_for(name, None);
            return None;
        }
        if tell {
            let file = Arc::clone(&file);
            drop(tokio::task::spawn_blocking(move || tell_use(&file, now)));
        }
        let mut known = lock(&self.known);
        if known.files.contains(&name) {
            known.open.put(name, Arc::clone(&file));
        }
        Some(file)
    }

    fn open_known(&self, name: &str) -> Option<Arc<File>> {
        let file = File::open(self.dir.join(name)).ok()?;
        read_no_more(&file);
        Some(Arc::new(file))
    }

    /// Whether `extent` was here when it was last looked for.
    pub fn knows(&self, extent: &Extent) -> bool {
        lock(&self.known).files.contains(&extent.file_name())
    }

    /// Whether there is a file for `extent`, whoever put it there; counts as
    /// its use.
    pub fn contains(&self, extent: &Extent) -> bool {
        let name = extent.file_name();
        let path = self.dir.join(&name);
        let found = fs::metadata(&path).ok();
        if let Some(now) = self.looked_for(name, found.as_ref().map(fs::Metadata::len))
            && let Ok(file) = File::open(&path)
        {
            tell_use(&file, now);
        }
        found.is_some()
    }

    /// Counts the use of a file that is there, with its size, or that it is
    /// gone; answers when it was used if others should see that.
    fn looked_for(&self, name: String, found: Option<u64>) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut known = lock(&self.known);
        let tell = match (found, known.files.get_mut(&name)) {
            (Some(_), Some(kept)) => kept.use_at(now),
            (Some(size), None) => {
                // Another process has put it here.
                known.shared = true;
                known.add(name, Kept::now(size, now));
                true
            }
            (None, Some(_)) => {
                known.shared = true;
                known.forget(&name);
                false
            }
            (None, None) => false,
        };
        tell.then_some(now)
    }

    /// How many bytes may be kept.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Where they are kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the bytes of `extent`, with chaining values. A failure, such as a
    /// full disk, is none: the bytes are just not kept.
    pub fn put(&self, extent: &Extent, bytes: &Bytes, values: &[u8]) {
        let name = extent.file_name();
        let size = (bytes.len() + values.len()) as u64;
        if size > self.budget {
            return;
        }
        lock(&self.known).coming.insert(name.clone());
        let written = self.write(&name, &[bytes, values]);
        let count = {
            let (mut known, now) = (lock(&self.known), self.clock.now());
            known.coming.remove(&name);
            if let Err(error) = written {
                tracing::debug!(dir = %self.dir.display(), %error, "cannot keep fetched data");
                return;
            }
            known.add(name, Kept::now(size, now));
            known.added += size;
            known.added > self.budget / SHARE || is_late(known.counted, now)
        };
        if count {
            self.count();
        }
        self.shrink(self.budget);
    }

    /// Puts the chaining values of a frame that is here behind it, unless they
    /// are there.
    pub fn add_values(&self, extent: &Extent, values: &[u8]) {
        let name = extent.file_name();
        if !self.knows(extent) {
            return;
        }
        let path = self.dir.join(&name);
        // At their place, not at the end: another process may do the same.
        let (at, mut found) = (u64::from(extent.len), vec![0; values.len()]);
        let written = fs::File::options().read(true).write(true).open(path).and_then(|file| {
            if file.read_exact_at(&mut found, at).is_err() || found != values {
                file.write_all_at(values, at)?;
            }
            file.metadata()
        });
        if let Ok(file) = written {
            self.note(name, file.len());
            self.shrink(self.budget);
        }
    }

    /// Counts a file that is here.
    fn note(&self, name: String, size: u64) {
        let now = self.clock.now();
        lock(&self.known).add(name, Kept::now(size, now));
    }

    fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        use std::io::Write as _;
        let fresh = self.dir.join(format!("{name}.{}.new", std::process::id()));
        let written = File::create(&fresh).and_then(|mut file| {
            parts.iter().try_for_each(|part| file.write_all(part))?;
            fs::rename(&fresh, self.dir.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    pub fn remove(&self, extent: &Extent) {
        self.remove_named(&extent.file_name());
    }

    fn remove_named(&self, name: &str) {
        lock(&self.known).forget(name);
        let _ = fs::remove_file(self.dir.join(name));
    }

    /// Counts what is in the directory, whoever put it there, and makes room;
    /// whoever finds that somebody does leaves it for later.
    fn count(&self) {
        // Without locks, as on some network file systems, two may do it.
        let locked = File::open(&self.dir)
            .map_err(|_| Errno::ENOENT)
            .and_then(|dir| Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e));
        if locked.as_ref().is_err_and(|error| *error == Errno::EWOULDBLOCK) {
            return;
        }
        let began = self.clock.now();
        lock(&self.known).going = Some(HashSet::new());
        let found = match files_in(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(dir = %self.dir.display(), %error, "cannot be counted");
                lock(&self.known).going = None;
                return;
            }
        };
        let shared = {
            let mut known = lock(&self.known);
            known.replace(found, began);
            std::mem::take(&mut known.shared)
        };
        let others = if shared { self.budget / SHARE * SHARES_OF_OTHERS } else { 0 };
        self.shrink(self.budget - others);
    }

    /// Removes the least recently used files beyond `most` bytes.
    fn shrink(&self, most: u64) {
        let evicted = lock(&self.known).evict(most);
        for name in evicted {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// Bytes of the files that are known.
    pub fn used(&self) -> u64 {
        lock(&self.known).used
    }
}

/// The files of a cache directory, and when they were used last.
fn files_in(dir: &Path) -> io::Result<Vec<(String, Kept)>> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir)? {
        let file = file?;
        let Some(name) = file.file_name().to_str().map(str::to_owned) else { continue };
        if !is_extent(&name) && !is_whole(&name) {
            continue;
        }
        // One that is gone by now does not count.
        let Ok(meta) = file.metadata() else { continue };
        let used = (meta.atime(), meta.atime_nsec()).max((meta.mtime(), meta.mtime_nsec()));
        let nanos = u32::try_from(used.1).unwrap_or(0);
        found.push((name, Kept::now(meta.len(), Timestamp::from_parts(used.0, nanos))));
    }
    Ok(found)
}

/// Lets other processes see when a file was used. A failure costs a fetch.
fn tell_use(file: &File, now: Timestamp) {
    let Ok(nanos) = u64::try_from(now.as_nanos()) else { return };
    let time = UNIX_EPOCH + Duration::from_nanos(nanos);
    let _ = file.set_times(FileTimes::new().set_accessed(time));
}
