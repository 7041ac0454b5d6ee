//! What to put into a kernel's caches before it is asked for.
//!
//! A program that reads one small file of a directory mostly reads the others
//! too, and each costs it two round trips. So a directory that is being looked
//! around in is listed for the kernel, and one that is being read has the
//! contents of its small files handed over, a few MiB at a time and in the
//! order they lie in their packs. Who does the handing over is `mount`.
//!
//! Many readers would ask for all of it before it is there. So a read in a
//! directory whose contents are on their way is kept back until they are
//! there. The kernel keeps the pages of such a read locked, and whoever hands
//! over what belongs into them waits for it: that file is left out.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::files::{Files, Node};
use super::types::InodeNo;
use super::view::View;
use super::{VfsError, view};
use crate::chunk::{Blobs, ChunkRef};
use crate::model::TreePath;
use crate::tree::{Entry, Stat};

/// Lookups in a directory after which it is listed, and reads of small files
/// in it after which their contents are pushed.
const BEGIN: u32 = 2;

/// Every so many files of a directory one has to be asked for again before the
/// directory is pushed again: the kernel has dropped what it held.
const AGAIN: u32 = 16;

/// Reads in the order of names after which a reader is taken to go on so.
const RUN: u32 = 8;

/// How much is pushed ahead of a reader that goes on in order.
const WINDOW: u64 = 4 << 20;

/// The largest file whose content is pushed.
const SMALL_FILE: u64 = 256 << 10;

/// How many entries are read from the tree at a time.
const PAGE: usize = 512;

/// How many reads are kept back at once: fewer than a kernel sends before it
/// waits for answers.
const KEPT_BACK: usize = 32;

/// How many directories are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("is not zero");

/// Something to push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The directory's inode.
    pub dir: InodeNo,
    /// What of it.
    pub what: What,
    path: TreePath,
}

/// What of a directory is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Names and attributes.
    Listing,
    /// The contents of its small files, all of them when they fit.
    Contents {
        /// The name of the file read last, and whether it was one of a run
        /// in the order of names.
        last: String,
        /// Whether the reader goes through the directory in order.
        in_order: bool,
    },
}

/// How directories have been used since they were last pushed.
#[derive(Debug)]
pub(super) struct Touches {
    directories: Mutex<LruCache<TreePath, Touch>>,
    /// What reads are kept back with.
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Touch {
    dir: InodeNo,
    lookups: u32,
    reads: u32,
    /// How many reads in the order of names, and the name of the last.
    run: u32,
    last: String,
    listing: Stage,
    contents: Stage,
    back: Back,
}

/// The reads that are kept back until a push of contents has ended.
#[derive(Debug, Default)]
struct Back {
    inodes: HashSet<InodeNo>,
    /// The file that is being handed over.
    storing: Option<InodeNo>,
    /// Whether the push takes longer than anybody is to wait.
    late: bool,
    /// Dropped at its end.
    end: Option<watch::Sender<()>>,
}

/// Keeps a read back.
#[derive(Debug)]
pub struct Wait {
    end: watch::Receiver<()>,
    _room: OwnedSemaphorePermit,
}

impl Wait {
    /// Returns when the push has ended.
    pub async fn over(mut self) {
        // Nothing is ever sent: the sender is dropped.
        drop(self.end.changed().await);
    }
}

/// How one kind of push stands.
#[derive(Debug)]
struct Stage {
    /// One is under way or waiting.
    busy: bool,
    /// From how many lookups or reads on the next comes.
    begin: u32,
}

impl Default for Stage {
    fn default() -> Self {
        Self { busy: false, begin: BEGIN }
    }
}

impl Touch {
    /// The push of contents that is due.
    fn contents(&mut self, path: &TreePath) -> Option<Push> {
        let in_order = self.run >= RUN;
        // Only what was listed can be given contents.
        let due = self.reads >= self.contents.begin || in_order;
        if self.listing.busy || self.contents.busy || !due {
            return None;
        }
        self.contents.busy = true;
        let what = What::Contents { last: self.last.clone(), in_order };
        Some(Push { dir: self.dir, what, path: path.clone() })
    }

    /// What keeps a read of `ino` back, if anything does.
    fn keep_back(&mut self, ino: InodeNo, room: &Arc<Semaphore>) -> Option<Wait> {
        let coming = self.contents.busy || self.listing.busy && self.reads >= self.contents.begin;
        if !coming || self.back.late || self.back.storing == Some(ino) {
            return None;
        }
        let room = Arc::clone(room).try_acquire_owned().ok()?;
        self.back.inodes.insert(ino);
        let end = self.back.end.get_or_insert_with(|| watch::channel(()).0).subscribe();
        Some(Wait { end, _room: room })
    }
}

impl Default for Touches {
    fn default() -> Self {
        let directories = Mutex::new(LruCache::new(KEPT));
        Self { directories, room: Arc::new(Semaphore::new(KEPT_BACK)) }
    }
}

impl Touches {
    fn lock(&self) -> MutexGuard<'_, LruCache<TreePath, Touch>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a lookup in `dir`.
    fn lookup(&self, dir: InodeNo, path: &TreePath) -> Option<Push> {
        let mut touches = self.lock();
        let fresh = || Touch {
            dir,
            lookups: 0,
            reads: 0,
            run: 0,
            last: String::new(),
            listing: Stage::default(),
            contents: Stage::default(),
            back: Back::default(),
        };
        let touch = touches.get_or_insert_mut(path.clone(), fresh);
        touch.dir = dir;
        touch.lookups = touch.lookups.saturating_add(1);
        if touch.listing.busy || touch.lookups < touch.listing.begin {
            return None;
        }
        touch.listing.busy = true;
        Some(Push { dir, what: What::Listing, path: path.clone() })
    }

    /// Notes a read of the small file `name` in the directory `path`.
    fn read(&self, path: &TreePath, name: &str, ino: InodeNo) -> (Option<Push>, Option<Wait>) {
        let mut touches = self.lock();
        let Some(touch) = touches.get_mut(path) else { return (None, None) };
        touch.reads = touch.reads.saturating_add(1);
        touch.run = if touch.last.as_str() < name { touch.run + 1 } else { 0 };
        name.clone_into(&mut touch.last);
        (touch.contents(path), touch.keep_back(ino, &self.room))
    }

    /// Notes that a read in the directory `path` was kept back for too long.
    fn late(&self, path: &TreePath) {
        if let Some(touch) = self.lock().peek_mut(path) {
            touch.back.late = true;
        }
    }

    /// Notes that `ino` is about to be handed over; answers whether it may be.
    fn store(&self, path: &TreePath, ino: InodeNo) -> bool {
        let mut touches = self.lock();
        let Some(touch) = touches.peek_mut(path) else { return true };
        let free = !touch.back.inodes.contains(&ino);
        touch.back.storing = free.then_some(ino);
        free
    }

    /// A push has ended, after `entries` of the directory; answers the next.
    fn done(&self, push: &Push, entries: usize) -> Option<Push> {
        let mut touches = self.lock();
        let touch = touches.peek_mut(&push.path)?;
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        let stage = Stage { busy: false, begin: (entries / AGAIN).max(BEGIN) };
        let next = match push.what {
            What::Listing => {
                (touch.listing, touch.lookups) = (stage, 0);
                touch.contents(&push.path)
            }
            What::Contents { .. } => {
                (touch.contents, touch.reads) = (stage, 0);
                None
            }
        };
        if next.is_none() {
            touch.back = Back::default();
        }
        next
    }
}

/// Files that a kernel holds, and what is in them.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Those whose bytes are known.
    pub known: Vec<(InodeNo, Bytes)>,
    /// Those that are a chunk each.
    pub chunks: Vec<(InodeNo, ChunkRef)>,
    /// Where chunks are read.
    pub blobs: Option<Blobs>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

impl Files {
    /// Notes that a name was looked up in `dir`, and answers what to push.
    pub fn looked_up(&self, dir: InodeNo) -> Option<Push> {
        match self.node(dir).ok()? {
            Node::Dir(_, path) => self.touches.lookup(dir, &path),
            Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..) => None,
        }
    }

    /// Notes that `ino` is to be read, and answers what to push, and for what
    /// to wait before it is read.
    pub fn will_read(&self, ino: InodeNo) -> (Option<Push>, Option<Wait>) {
        match self.small(ino) {
            Some((dir, path)) => self.touches.read(&dir, path.file_name(), ino),
            None => (None, None),
        }
    }

    /// Says that the read of `ino` has waited for too long.
    pub fn waited(&self, ino: InodeNo) {
        if let Some((dir, _)) = self.small(ino) {
            self.touches.late(&dir);
        }
    }

    /// The directory and the path of a small file.
    fn small(&self, ino: InodeNo) -> Option<(TreePath, TreePath)> {
        match self.node(ino).ok()? {
            Node::Leaf(_, path, size) if size <= SMALL_FILE => Some((path.parent()?, path)),
            Node::Leaf(..) | Node::Top | Node::Group(_) | Node::Dir(..) | Node::Transaction(..) => {
                None
            }
        }
    }

    /// Whether `ino` may be handed over now: nobody waits with its pages
    /// locked. To be asked before each.
    #[must_use]
    pub fn may_store(&self, push: &Push, ino: InodeNo) -> bool {
        self.touches.store(&push.path, ino)
    }

    /// The directory to push, relative to the mount; `None` when it is gone.
    #[must_use]
    pub fn pushed_dir(&self, push: &Push) -> Option<String> {
        let Node::Dir(placed, path) = self.node(push.dir).ok()? else { return None };
        Some(format!("{}/{path}", placed.place))
    }

    /// Bytes in all files of the view that the directory belongs to.
    #[must_use]
    pub fn bytes_around(&self, push: &Push) -> u64 {
        match self.node(push.dir) {
            Ok(Node::Dir(placed, _)) => placed.now().tree.root().totals().bytes,
            Ok(Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..)) | Err(_) => 0,
        }
    }

    /// Says that a push has ended, whatever came of it; answers what is to be
    /// pushed next.
    pub fn pushed(&self, push: &Push, entries: usize) -> Option<Push> {
        self.touches.done(push, entries)
    }

    /// The contents of some small files of the directory, those after the
    /// name `after`.
    pub async fn contents_to_push(
        &self,
        push: &Push,
        after: Option<&str>,
    ) -> Result<Pushed, VfsError> {
        let Node::Dir(placed, dir) = self.node(push.dir)? else { return Ok(Pushed::default()) };
        let view = placed.now();
        if !view.filter.covers(&dir) {
            return Ok(Pushed::default());
        }
        let page = view.tree.list(&dir, after, PAGE).await?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
        let blobs = view.tree.nodes().blobs();
        let mut pushed = Pushed { next, blobs: Some(blobs.clone()), ..Pushed::default() };
        for (name, entry) in &page {
            let Some(ino) = self.held(&view, &dir.join(name)?, entry) else { continue };
            let Some(content) = view::content(entry) else { continue };
            match content.chunks() {
                [chunk] => pushed.chunks.push((ino, *chunk)),
                _ => pushed.known.push((ino, content.read_range(blobs, 0..u64::MAX).await?)),
            }
        }
        Ok(pushed)
    }

    /// The number under which a kernel holds a small file.
    fn held(&self, view: &View, path: &TreePath, entry: &Entry) -> Option<InodeNo> {
        let small = view::content(entry).is_some() && (1..=SMALL_FILE).contains(&entry.size());
        small.then(|| self.inodes.find(&view.leaf(path, &Stat::from(entry))))?
    }
}

/// How far a push of contents goes.
impl What {
    /// Where it begins, and after how many bytes it ends, when `fits` says
    /// that everything around may be kept; `None` when it is not worth while.
    #[must_use]
    pub fn reach(&self, fits: bool) -> Option<(Option<&str>, u64)> {
        match self {
            Self::Contents { .. } if fits => Some((None, u64::MAX)),
            Self::Contents { last, in_order: true } => Some((Some(last), WINDOW)),
            Self::Contents { in_order: false, .. } | Self::Listing => None,
        }
    }
}
