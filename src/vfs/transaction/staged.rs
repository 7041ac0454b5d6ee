//! The content of changed files: plain files in the staging directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tokio::sync::RwLock;

use super::ahead::{Ahead, Behind};
use super::small::Heap;
use crate::chunk::Content;

/// The unit in which a large file is copied up, in bytes. Tests must not wait
/// for large files.
pub(super) const BLOCK: u64 = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// A base file up to this size is copied up whole.
pub(super) const WHOLE: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// How many staged files are kept open.
const OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("is not zero");

/// The directory of staged files.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    /// Set when nothing is to be removed any more.
    kept: AtomicBool,
    open: Mutex<LruCache<u64, Arc<File>>>,
    ahead: Ahead,
    heap: Heap,
    /// Whether there may be names that are not durable.
    named: AtomicBool,
}

impl Staging {
    /// Uses `dir`, which exists.
    pub(super) fn new(dir: PathBuf) -> Self {
        let (open, named) = (Mutex::new(LruCache::new(OPEN)), AtomicBool::new(true));
        let (kept, ahead, heap) = (AtomicBool::new(false), Ahead::default(), Heap::default());
        Self { dir, kept, open, ahead, heap, named }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, file: u64) -> PathBuf {
        self.dir.join(format!("{file:016x}"))
    }

    /// Creates staged file `file`, empty, in place of a left-over one.
    pub(super) fn create(self: &Arc<Self>, file: u64) -> io::Result<Arc<File>> {
        let opened = match self.ahead.take(self, file) {
            Some(made) => made,
            None => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).create(true).truncate(true);
                Arc::new(options.open(self.path(file))?)
            }
        };
        // After: a sync that is under way may not have found the name.
        self.named.store(true, Ordering::Release);
        self.lock().put(file, Arc::clone(&opened));
        Ok(opened)
    }

    /// Creates staged file `file` unless it is there.
    pub(super) fn create_new(&self, file: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(self.path(file))
    }

    /// Makes the names of all files durable.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        if !self.named.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        if synced.is_err() {
            self.named.store(true, Ordering::Release);
        }
        synced
    }

    /// Notes that there is a name that is not durable.
    pub(super) fn note_name(&self) {
        self.named.store(true, Ordering::Release);
    }

    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// What holds the content of small files.
    pub(super) fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Staged file `file`, open for reading and writing.
    pub(super) fn file(&self, file: u64) -> io::Result<Arc<File>> {
        if let Some(opened) = self.lock().get(&file) {
            return Ok(Arc::clone(opened));
        }
        let path = self.path(file);
        let opened = Arc::new(OpenOptions::new().read(true).write(true).open(path)?);
        self.lock().put(file, Arc::clone(&opened));
        Ok(opened)
    }

    /// Removes staged file `file`; what is left behind is garbage only.
    pub(super) fn remove(&self, file: u64) {
        self.lock().pop(&file);
        if self.is_kept() {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.path(file)) {
            tracing::debug!(%error, file, "staged file not removed");
        }
    }

    /// Whether nothing is to be removed any more.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// Keeps every file that is there now.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<u64, Arc<File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of one changed file.
#[derive(Debug)]
pub(super) struct Staged {
    staging: Arc<Staging>,
    /// Names the file in the staging directory.
    pub(super) file: u64,
    /// Bytes in the file.
    pub(super) size: AtomicU64,
    /// Whether anything was written since the last sync; it is listed then.
    pub(super) unsynced: AtomicBool,
    /// The lowest byte that may have changed since the content was last stored;
    /// `u64::MAX` when none has.
    changed_from: AtomicU64,
    /// What was written and not yet sent to the disk.
    pub(super) behind: Behind,
    /// What shows through from the base. Held for writing while blocks are
    /// copied up and sizes change.
    pub(super) under: RwLock<Under>,
}

impl Staged {
    pub(super) fn new(staging: Arc<Staging>, file: u64, size: u64, under: Under) -> Arc<Self> {
        let (size, unsynced) = (AtomicU64::new(size), AtomicBool::new(true));
        let (changed_from, behind) = (AtomicU64::new(0), Behind::default());
        let under = RwLock::new(under);
        Arc::new(Self { staging, file, size, unsynced, changed_from, behind, under })
    }

    /// The file, open for reading and writing.
    pub(super) fn open(&self) -> io::Result<Arc<File>> {
        self.staging.file(self.file)
    }

    /// Where the file is.
    pub(super) fn path(&self) -> PathBuf {
        self.staging.path(self.file)
    }

    /// The directory it is in, unless that is `staging`.
    pub(super) fn elsewhere(&self, staging: &Arc<Staging>) -> Option<PathBuf> {
        (!Arc::ptr_eq(&self.staging, staging)).then(|| self.staging.dir.clone())
    }

    /// Removes the file; what is left behind is garbage only.
    pub(super) fn remove(&self) {
        self.staging.remove(self.file);
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Notes that bytes from `at` on have changed. To be called after the
    /// change: whoever took the mark before may have read them as they were.
    pub(super) fn changed(&self, at: u64) {
        self.changed_from.fetch_min(at, Ordering::AcqRel);
    }

    /// From where on the content has changed since this was last asked.
    pub(super) fn take_changed(&self) -> Option<u64> {
        let from = self.changed_from.swap(u64::MAX, Ordering::AcqRel);
        (from != u64::MAX).then_some(from)
    }

    /// Whether [`Staged::take_changed`] would answer that nothing has.
    pub(super) fn is_unchanged(&self) -> bool {
        self.changed_from.load(Ordering::Acquire) == u64::MAX
    }
}

/// A staged file that nothing speaks of yet; dropped, it is removed.
pub(super) struct Unclaimed<'a> {
    staging: &'a Staging,
    file: u64,
}

impl<'a> Unclaimed<'a> {
    pub(super) fn new(staging: &'a Staging, file: u64) -> Self {
        Self { staging, file }
    }

    /// Something does from now on.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        self.staging.remove(self.file);
    }
}

/// Base content that shows through a staged file where no block is present.
#[derive(Debug, Clone, Default)]
pub(super) struct Under {
    /// The content; `None` when the staged file is whole.
    pub(super) content: Option<Content>,
    /// How many bytes of it show, at most.
    pub(super) len: u64,
    /// A bit for each block that the staged file holds itself.
    present: Vec<u64>,
}

impl Under {
    /// `len` bytes of `content`, no block present yet.
    pub(super) fn of(content: Content, len: u64) -> Self {
        Self { content: Some(content), len, present: Vec::new() }
    }

    /// Whether the staged file holds all of `block` itself. Past the end of
    /// the base it always does: there it is a hole.
    pub(super) fn has(&self, block: u64) -> bool {
        let (word, bit) = (block / 64, block % 64);
        let set = |word: &u64| word >> bit & 1 == 1;
        let marked =
            usize::try_from(word).ok().and_then(|at| self.present.get(at)).is_some_and(set);
        self.content.is_none() || block.saturating_mul(BLOCK) >= self.len || marked
    }

    /// The runs of blocks that the staged file holds: first, and how many.
    pub(super) fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (word, bits) in (0..).zip(&self.present) {
            for block in (0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| word * 64 + bit) {
                match runs.last_mut() {
                    Some((first, count)) if *first + *count == block => *count += 1,
                    Some(_) | None => runs.push((block, 1)),
                }
            }
        }
        runs
    }

    /// Whether everything shows that can.
    pub(super) fn is_untouched(&self) -> bool {
        self.present.iter().all(|word| *word == 0)
    }

    /// The ranges of a file of `size` bytes that do not show the base, in
    /// order.
    pub(super) fn dirty(&self, size: u64) -> Vec<Range<u64>> {
        let shown = self.len.min(size);
        let mut dirty: Vec<Range<u64>> = Vec::new();
        let present = (0..shown.div_ceil(BLOCK)).filter(|block| self.has(*block));
        let blocks = present.map(|block| block * BLOCK..((block + 1) * BLOCK).min(shown));
        for range in blocks.chain(std::iter::once(shown..size)).filter(|range| !range.is_empty()) {
            match dirty.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                Some(_) | None => dirty.push(range),
            }
        }
        dirty
    }

    /// Marks `count` blocks from `first` as held by the staged file, as far as
    /// anything shows there.
    pub(super) fn mark(&mut self, first: u64, count: u64) {
        for block in first..first.saturating_add(count).min(self.len.div_ceil(BLOCK)) {
            let word = (block / 64) as usize;
            if self.present.len() <= word {
                self.present.resize(word + 1, 0);
            }
            self.present[word] |= 1 << (block % 64);
        }
    }
}
