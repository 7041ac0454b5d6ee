//! How directories have been used since they were last pushed.
//!
//! Many readers would ask for all of a directory before it is there. So what
//! asks for something that is on its way is kept back until it is there. The
//! kernel keeps the pages of a read locked meanwhile, and whoever hands over
//! what belongs into them waits for it: that file is left out.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::kept::at_most;
use super::push::{Push, What};
use super::types::InodeNo;
use super::walk::Walk;
use crate::model::TreePath;

/// Lookups in a directory after which it is listed, and reads of small files
/// in it after which their contents are pushed.
const BEGIN: u32 = 2;

/// Every so many files of a directory one has to be asked for again before the
/// directory is pushed again: the kernel has dropped what it held.
const AGAIN: u32 = 16;

/// Reads in the order of names after which a reader is taken to go on so.
const RUN: u32 = 8;

/// How many requests are kept back at once: fewer than a kernel sends before
/// it waits for answers.
const KEPT_BACK: usize = 32;

/// With so many pushes waiting or under way a read is kept back: with fewer its
/// reader is not what keeps them from going on.
const BUSY: usize = 2;

/// How many directories are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("is not zero");

/// How directories have been used since they were last pushed.
#[derive(Debug)]
pub(super) struct Touches {
    directories: Mutex<LruCache<TreePath, Touch>>,
    /// What requests are kept back with.
    room: Arc<Semaphore>,
    /// How many pushes wait or are under way.
    pushes: AtomicUsize,
}

#[derive(Debug)]
struct Touch {
    /// A directory of the same place.
    dir: InodeNo,
    /// Whether a program has come here, and how programs have gone through
    /// the directories in this one.
    visited: bool,
    walk: Walk,
    lookups: u32,
    reads: u32,
    /// How many reads in the order of names, and the name of the last.
    run: u32,
    last: String,
    listing: Stage,
    contents: Stage,
    /// Whether the contents are wanted although nobody has read any.
    ahead: bool,
    back: Back,
}

/// The reads that are kept back until a push of contents has ended.
#[derive(Debug, Default)]
struct Back {
    inodes: HashSet<InodeNo>,
    /// The file that is being handed over.
    storing: Option<InodeNo>,
}

/// Keeps a request back.
#[derive(Debug)]
pub struct Wait {
    until: watch::Receiver<()>,
    _room: OwnedSemaphorePermit,
}

impl Wait {
    /// Returns when the push has come so far.
    pub async fn over(mut self) {
        // Nothing is ever sent: the sender is dropped.
        drop(self.until.changed().await);
    }
}

/// How one kind of push stands.
#[derive(Debug)]
struct Stage {
    standing: Standing,
    /// From how many lookups or reads on the next comes.
    begin: u32,
    /// Whether there ever was one.
    done: bool,
    /// Whether it takes longer than anybody is to wait.
    late: bool,
    /// Dropped when it begins, and at its end.
    start: Option<watch::Sender<()>>,
    end: Option<watch::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Idle,
    Waiting,
    UnderWay,
    /// Waiting, and somebody else has done it.
    Needless,
}

impl Default for Stage {
    fn default() -> Self {
        let (standing, start, end) = (Standing::Idle, None, None);
        Self { standing, begin: BEGIN, done: false, late: false, start, end }
    }
}

impl Stage {
    fn ended(entries: usize) -> Self {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        Self { begin: (entries / AGAIN).max(BEGIN), done: true, ..Self::default() }
    }

    fn is_busy(&self) -> bool {
        self.standing != Standing::Idle
    }

    /// What waits for its end, if there is room for one more.
    fn wait(&mut self, room: &Arc<Semaphore>) -> Option<Wait> {
        wait_for(&mut self.end, room)
    }
}

/// What waits until `event` is dropped.
fn wait_for(event: &mut Option<watch::Sender<()>>, room: &Arc<Semaphore>) -> Option<Wait> {
    let room = Arc::clone(room).try_acquire_owned().ok()?;
    let until = event.get_or_insert_with(|| watch::channel(()).0).subscribe();
    Some(Wait { until, _room: room })
}

impl Touch {
    fn of(dir: InodeNo) -> Self {
        Self {
            dir,
            visited: false,
            walk: Walk::default(),
            lookups: 0,
            reads: 0,
            run: 0,
            last: String::new(),
            listing: Stage::default(),
            contents: Stage::default(),
            ahead: false,
            back: Back::default(),
        }
    }

    fn push(&self, path: &TreePath, what: What) -> Push {
        Push { dir: self.dir, what, path: path.clone() }
    }

    fn listing(&mut self, path: &TreePath) -> Push {
        self.listing.standing = Standing::Waiting;
        self.push(path, What::Listing)
    }

    /// The push of contents that is due.
    fn contents(&mut self, path: &TreePath) -> Option<Push> {
        let in_order = self.run >= RUN;
        // Only what was listed can be given contents.
        let due = self.reads >= self.contents.begin || in_order || self.ahead;
        if self.listing.is_busy() || self.contents.is_busy() || !due {
            return None;
        }
        self.contents.standing = Standing::Waiting;
        self.ahead = false;
        Some(self.push(path, What::Contents { last: self.last.clone(), in_order }))
    }

    /// A push has ended; answers the next.
    fn done(&mut self, push: &Push, entries: usize) -> Option<Push> {
        match push.what {
            What::Listing => {
                (self.listing, self.lookups) = (Stage::ended(entries), 0);
                let next = self.contents(&push.path);
                if next.is_none() {
                    (self.contents.end, self.back) = (None, Back::default());
                }
                next
            }
            What::Contents { .. } => {
                (self.contents, self.reads) = (Stage::ended(entries), 0);
                self.back = Back::default();
                None
            }
            What::Following { .. } => None,
        }
    }

    /// Whether its files are being read.
    fn is_read(&self) -> bool {
        self.contents.done || self.contents.is_busy() || self.reads >= self.contents.begin
    }

    /// What keeps a read of `ino` back, if anything does.
    fn keep_back(&mut self, ino: InodeNo, room: &Arc<Semaphore>) -> Option<Wait> {
        let follows = self.reads >= self.contents.begin || self.ahead;
        let coming = self.contents.is_busy() || self.listing.is_busy() && follows;
        if !coming || self.contents.late || self.back.storing == Some(ino) {
            return None;
        }
        let wait = self.contents.wait(room)?;
        self.back.inodes.insert(ino);
        Some(wait)
    }
}

impl Default for Touches {
    fn default() -> Self {
        let directories = Mutex::new(at_most(KEPT));
        let room = Arc::new(Semaphore::new(KEPT_BACK));
        Self { directories, room, pushes: AtomicUsize::new(0) }
    }
}

impl Touches {
    fn lock(&self) -> MutexGuard<'_, LruCache<TreePath, Touch>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a lookup in `dir`.
    pub(super) fn lookup(&self, dir: InodeNo, path: &TreePath) -> [Option<Push>; 2] {
        let mut touches = self.lock();
        let touch = touches.get_or_insert_mut(path.clone(), || Touch::of(dir));
        touch.dir = dir;
        touch.lookups = touch.lookups.saturating_add(1);
        let due = !touch.listing.is_busy() && touch.lookups >= touch.listing.begin;
        let listing = due.then(|| touch.listing(path));
        self.count(listing.is_some());
        [listing, visit(&mut touches, path)]
    }

    /// Notes that a program begins to list `dir`; answers for what to wait: then
    /// it is known to the kernel.
    ///
    /// Who only lists has nothing pushed ahead: that would save no requests.
    pub(super) fn list(&self, dir: InodeNo, path: &TreePath) -> Option<Wait> {
        let mut touches = self.lock();
        let touch = touches.get_or_insert_mut(path.clone(), || Touch::of(dir));
        touch.dir = dir;
        match touch.listing.standing {
            Standing::UnderWay if touch.listing.late => None,
            Standing::UnderWay => touch.listing.wait(&self.room),
            Standing::Idle | Standing::Needless => None,
            Standing::Waiting => {
                // The program is faster.
                (touch.listing.standing, touch.listing.start) = (Standing::Needless, None);
                None
            }
        }
    }

    /// Notes a read of the small file `name` in the directory `path`.
    pub(super) fn read(
        &self,
        path: &TreePath,
        name: &str,
        ino: InodeNo,
    ) -> (Option<Push>, Option<Wait>) {
        let mut touches = self.lock();
        let Some(touch) = touches.get_mut(path) else { return (None, None) };
        touch.reads = touch.reads.saturating_add(1);
        touch.run = if touch.last.as_str() < name { touch.run + 1 } else { 0 };
        name.clone_into(&mut touch.last);
        let push = touch.contents(path);
        self.count(push.is_some());
        let busy = self.pushes.load(Ordering::Relaxed) >= BUSY;
        (push, busy.then(|| touch.keep_back(ino, &self.room)).flatten())
    }

    /// Counts a push that begins to wait.
    fn count(&self, is_new: bool) {
        self.pushes.fetch_add(usize::from(is_new), Ordering::Relaxed);
    }

    /// Notes that a request in the directory `path` was kept back for too long.
    pub(super) fn late(&self, path: &TreePath) {
        if let Some(touch) = self.lock().peek_mut(path) {
            (touch.listing.late, touch.contents.late) = (true, true);
        }
    }

    /// What keeps a lookup in the directory `path` back: a listing that waits
    /// for its turn. Once it has begun it waits itself for lookups.
    pub(super) fn before_lookup(&self, path: &TreePath) -> Option<Wait> {
        let mut touches = self.lock();
        let listing = &mut touches.peek_mut(path)?.listing;
        let waits = listing.standing == Standing::Waiting && !listing.late;
        waits.then(|| wait_for(&mut listing.start, &self.room))?
    }

    /// Notes that `ino` is about to be handed over; answers whether it may be.
    pub(super) fn store(&self, path: &TreePath, ino: InodeNo) -> bool {
        let mut touches = self.lock();
        let Some(touch) = touches.peek_mut(path) else { return true };
        let free = !touch.back.inodes.contains(&ino);
        touch.back.storing = free.then_some(ino);
        free
    }

    /// What to push of a directory that a program is about to come to.
    pub(super) fn ahead(&self, dir: InodeNo, path: &TreePath, contents: bool) -> Option<Push> {
        let mut touches = self.lock();
        let touch = touches.get_or_insert_mut(path.clone(), || Touch::of(dir));
        touch.ahead = contents && !touch.contents.done;
        let push = match touch.listing.is_busy() || touch.listing.done {
            true => touch.contents(path),
            false => Some(touch.listing(path)),
        };
        self.count(push.is_some());
        push
    }

    /// Which of the next directories in `path` are to be pushed.
    pub(super) fn follow(&self, path: &TreePath, names: Vec<String>) -> Vec<String> {
        let mut touches = self.lock();
        touches.peek_mut(path).map_or_else(Vec::new, |touch| touch.walk.follow(names))
    }

    /// Notes that a push begins; answers whether there is any need for it.
    pub(super) fn begin(&self, push: &Push) -> bool {
        let mut touches = self.lock();
        let Some(touch) = touches.peek_mut(&push.path) else { return true };
        let stage = match push.what {
            What::Listing => &mut touch.listing,
            What::Contents { .. } => &mut touch.contents,
            What::Following { .. } => return true,
        };
        let needed = stage.standing != Standing::Needless;
        (stage.standing, stage.start) = (Standing::UnderWay, None);
        needed
    }

    /// A push has ended, after `entries` of the directory; answers the next.
    pub(super) fn done(&self, push: &Push, entries: usize) -> Option<Push> {
        let mut touches = self.lock();
        match push.what {
            What::Following { .. } => return None,
            What::Listing | What::Contents { .. } => self.pushes.fetch_sub(1, Ordering::Relaxed),
        };
        let next = touches.peek_mut(&push.path)?.done(push, entries);
        self.count(next.is_some());
        next
    }
}

/// Notes that a program has come to the directory `path`; answers what to push
/// of those next to it.
fn visit(touches: &mut LruCache<TreePath, Touch>, path: &TreePath) -> Option<Push> {
    let touch = touches.get_mut(path)?;
    if std::mem::replace(&mut touch.visited, true) {
        return None;
    }
    let dir = touch.dir;
    let parent = path.parent()?;
    let around = touches.get_or_insert_mut(parent.clone(), || Touch::of(dir));
    let last = around.walk.last().map(str::to_owned);
    let (after, count) = around.walk.visit(path.file_name())?;
    let before = last.and_then(|name| touches.peek(&parent.join(&name).ok()?));
    let contents = before.is_some_and(Touch::is_read);
    Some(Push { dir, what: What::Following { after, count, contents }, path: parent })
}
