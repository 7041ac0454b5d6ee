//! Inode numbers made from what an inode is, and the table of those in use.
//!
//! The table is in [`Memory`], so that a process that goes on serving a kernel
//! finds every number that the kernel was told of. What an inode is, is told
//! by the names that lead to it from the root of a place or view.

mod handles;
mod heap;
mod memory;
mod objects;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};

pub use handles::{Handles, LARGE_FILE};
pub use memory::Memory;

use self::heap::{BlockKind, Heap, inode, object};
use self::objects::{Kept, Object, Objects, revive};
use super::files::Node;
use super::place::Group;
use super::repos::Repos;
use super::transaction::{NodeId, TransactionView};
use super::view::{PlacedView, View};
use super::{InodeNo, VfsError};
use crate::model::{Timestamp, TreePath};

/// What an inode is: equal identities are one inode, others never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

impl Identity {
    /// Hashes `parts`; `purpose` separates kinds of inodes from each other.
    pub(super) fn of(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_from_context_key(&context_key(purpose));
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    fn word(&self, which: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[which * 8..][..8]);
        u64::from_le_bytes(word)
    }

    /// The number to try at the `attempt`-th collision; never 0 nor the root.
    fn number(&self, attempt: u64) -> InodeNo {
        let word = match attempt {
            0 => self.word(0),
            _ => Self::of("pfs inode again v1", &[&self.0, &attempt.to_le_bytes()]).word(0),
        };
        InodeNo(word.max(2))
    }

    /// What tells it from others of the same number.
    fn check(&self) -> u64 {
        self.word(1)
    }
}

/// What BLAKE3 derives keys for `purpose` from: made once for the kinds of
/// inodes that come in thousands.
fn context_key(purpose: &str) -> ContextKey {
    static FREQUENT: LazyLock<[(&str, ContextKey); 3]> = LazyLock::new(|| {
        ["pfs inode file v1", "pfs inode directory v1", "pfs inode symlink v1"]
            .map(|purpose| (purpose, hash_derive_key_context(purpose)))
    });
    let known = FREQUENT.iter().find(|(known, _)| *known == purpose);
    known.map_or_else(|| hash_derive_key_context(purpose), |(_, key)| *key)
}

/// What an inode stands for, relative to the directory it was found in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    Group(&'a Arc<Group>),
    /// The root directory of a place, which has no name, or one below it.
    Directory(&'a Arc<PlacedView>, &'a str),
    /// The last is the size of a file.
    Leaf(&'a Arc<View>, &'a str, u64),
    Transaction(&'a Arc<TransactionView>, NodeId),
}

impl<'a> Entry<'a> {
    fn parts(self) -> (BlockKind, Object, &'a str, u64) {
        match self {
            Self::Group(group) => (BlockKind::Group, Object::Group(Arc::clone(group)), "", 0),
            Self::Directory(placed, name) => {
                (BlockKind::Directory, Object::Place(Arc::clone(placed)), name, 0)
            }
            Self::Leaf(view, name, size) => {
                (BlockKind::Leaf, Object::View(Arc::clone(view)), name, size)
            }
            Self::Transaction(view, id) => {
                (BlockKind::Node, Object::Transaction(Arc::clone(view)), "", id.0)
            }
        }
    }
}

/// An object that the table of another process has left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) at: u32,
    pub(super) kept: Kept,
    /// The objects it names.
    pub(super) named: [u32; 2],
}

/// The inodes a kernel holds, with how often it looked each of them up.
#[derive(Debug)]
pub(super) struct InodeTable {
    /// Why there is no memory, when there is none.
    heap: Result<Heap, String>,
    objects: Mutex<Objects>,
    number: fn(&Identity, u64) -> InodeNo,
    /// What the kernel knows as the root, unless that is the top of all.
    root: OnceLock<Identity>,
}

/// The number of the top where the kernel has another root.
const HIDDEN: u64 = 0;

impl InodeTable {
    /// A table with nothing in it but the root, which is never forgotten.
    pub(super) fn new(memory: io::Result<Memory>) -> Self {
        let memory = memory.map_err(|error| error.to_string());
        let heap = memory.and_then(|memory| with_root(Heap::format(memory)));
        Self { heap, objects: Mutex::default(), number: Identity::number, root: OnceLock::new() }
    }

    /// The same with another numbering, so that tests can make it collide.
    #[cfg(test)]
    pub(super) fn with_numbering(number: fn(&Identity, u64) -> InodeNo) -> Self {
        Self { number, ..Self::new(Memory::new()) }
    }

    /// The table that a dead process has left in `memory`. Before it is used
    /// each of its objects is to be adopted.
    pub(super) fn attach(memory: Memory) -> io::Result<Self> {
        let heap = Ok(Heap::attach(memory)?);
        let root = OnceLock::new();
        Ok(Self { heap, objects: Mutex::default(), number: Identity::number, root })
    }

    /// Whether this program understands the table in `memory`, which may be in
    /// use.
    pub(super) fn check(memory: &Memory) -> io::Result<()> {
        Heap::check(memory)
    }

    /// The memory it is in.
    pub(super) fn memory(&self) -> Option<&Memory> {
        self.heap.as_ref().ok().map(|heap| &heap.memory)
    }

    fn heap(&self) -> Result<&Heap, VfsError> {
        let failed = |why: &String| VfsError::Unavailable(format!("no table of inodes: {why}"));
        self.heap.as_ref().map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number_of(&self, identity: &Identity, attempt: u64) -> InodeNo {
        match self.root.get() {
            Some(root) if root == identity => InodeNo::ROOT,
            Some(_) | None => (self.number)(identity, attempt),
        }
    }

    /// Makes `identity`, which was looked up before, what the kernel knows as the
    /// root. To be called before a kernel has asked for anything; nothing else
    /// can be it later.
    pub(super) fn make_root(&self, identity: Identity) -> Result<(), VfsError> {
        let number = self.find(&identity).ok_or(VfsError::Stale)?;
        let _objects = self.lock();
        let heap = self.heap()?;
        let (at, top) = (find(heap, number), find(heap, InodeNo::ROOT));
        let (at, top) = (at.ok_or(VfsError::Stale)?, top.ok_or(VfsError::Stale)?);
        let _busy = heap.busy();
        [at, top].into_iter().for_each(|at| heap.unlink(at));
        heap.memory.store64(top + inode::INO, HIDDEN);
        heap.memory.store64(at + inode::INO, InodeNo::ROOT.0);
        [at, top].into_iter().for_each(|at| heap.link(at));
        self.is_root(identity);
        Ok(())
    }

    /// Says what a process before has made the root.
    pub(super) fn is_root(&self, identity: Identity) {
        // Set once, before anything is asked for.
        let _ = self.root.set(identity);
    }

    /// Whether the kernel has another root than the top of all.
    pub(super) fn is_rooted(&self) -> bool {
        self.root.get().is_some()
    }

    /// The time kept with the table.
    pub(super) fn time(&self) -> Timestamp {
        let mark = self.heap.as_ref().map_or(0, Heap::mark);
        Timestamp::from_nanos(mark.cast_signed())
    }

    pub(super) fn set_time(&self, time: Timestamp) {
        if let Ok(heap) = &self.heap {
            heap.set_mark(time.as_nanos().cast_unsigned());
        }
    }

    /// Counts one more lookup of `identity` and answers its number, one that
    /// no other identity has. When the inode is new, `entry` of the directory
    /// `parent` is what it stands for.
    pub(super) fn remember(
        &self,
        identity: Identity,
        parent: InodeNo,
        entry: Entry<'_>,
    ) -> Result<InodeNo, VfsError> {
        let mut objects = self.lock();
        let heap = self.heap()?;
        for attempt in 0.. {
            let ino = self.number_of(&identity, attempt);
            let Some(at) = find(heap, ino) else {
                let _busy = heap.busy();
                let parent = find(heap, parent).ok_or(VfsError::Stale)?;
                let new = Inode { ino, check: identity.check(), parent };
                return add(heap, &mut objects, &new, entry).map(|()| ino).ok_or_else(full);
            };
            if heap.memory.load64(at + inode::CHECK) == identity.check() {
                heap.add(at + inode::LOOKUPS, 1);
                return Ok(ino);
            }
        }
        Err(full()) // 2^64 collisions do not happen
    }

    /// What the inode is.
    pub(super) fn get(&self, ino: InodeNo) -> Result<Node, VfsError> {
        let objects = self.lock();
        let heap = self.heap()?;
        let at = find(heap, ino).ok_or(VfsError::Stale)?;
        node(heap, &objects, at)
    }

    /// The number under which `identity` is in use.
    pub(super) fn find(&self, identity: &Identity) -> Option<InodeNo> {
        let _objects = self.lock();
        let heap = self.heap.as_ref().ok()?;
        for attempt in 0.. {
            let ino = self.number_of(identity, attempt);
            let at = find(heap, ino)?;
            if heap.memory.load64(at + inode::CHECK) == identity.check() {
                return Some(ino);
            }
        }
        None
    }

    /// Takes back `count` lookups; answers which node of which transaction it
    /// is when it is one.
    pub(super) fn forget(
        &self,
        ino: InodeNo,
        count: u64,
    ) -> Option<(Arc<TransactionView>, NodeId)> {
        if ino == InodeNo::ROOT {
            return None;
        }
        let mut objects = self.lock();
        let heap = self.heap.as_ref().ok()?;
        let at = find(heap, ino)?;
        let of = objects.get(heap.memory.load(at + inode::OF));
        let found = match of {
            Some(Object::Transaction(view)) => {
                Some((Arc::clone(view), NodeId(heap.memory.load64(at + inode::NODE))))
            }
            Some(Object::Group(_) | Object::Place(_) | Object::View(_)) | None => None,
        };
        let _busy = heap.busy();
        let lookups = heap.memory.load(at + inode::LOOKUPS);
        let left = lookups.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        heap.memory.store(at + inode::LOOKUPS, left);
        prune(heap, &mut objects, at);
        found
    }

    /// How many inodes are in use.
    pub(super) fn len(&self) -> usize {
        self.heap.as_ref().map_or(0, |heap| heap.live() as usize)
    }

    /// Notes that `placed` shows `view` from now on.
    pub(super) fn show(&self, placed: &Arc<PlacedView>, view: &Arc<View>) {
        self.rename(placed, 0, view);
    }

    /// Notes that the kernel was told of all that is different in `view`.
    pub(super) fn told(&self, placed: &Arc<PlacedView>, view: &Arc<View>) {
        self.rename(placed, 1, view);
    }

    fn rename(&self, placed: &Arc<PlacedView>, which: usize, view: &Arc<View>) {
        let mut objects = self.lock();
        let Ok(heap) = &self.heap else { return };
        if let Some(at) = objects.find(&Object::Place(Arc::clone(placed))) {
            let _busy = heap.busy();
            objects.rename(heap, at, which, &Object::View(Arc::clone(view)));
        }
    }

    /// The objects that another process has left.
    pub(super) fn left(&self) -> io::Result<Vec<Left>> {
        let Ok(heap) = &self.heap else { return Ok(Vec::new()) };
        let left = heap
            .objects()
            .map(|at| objects::read(heap, at).map(|(kept, named)| Left { at, kept, named }));
        left.collect()
    }

    /// Says what stands behind the objects that another process has left:
    /// directories of `repos`.
    pub(super) fn adopt(&self, repos: &Repos) -> Result<(), VfsError> {
        let (left, mut views) = (self.left()?, HashMap::new());
        for Left { at, kept, .. } in &left {
            if let Kept::View { commit, root, mtime } = kept {
                let view = revive(repos.source.nodes(), *commit, root, *mtime)?;
                self.lock().adopt(*at, Object::View(Arc::clone(&view)));
                views.insert(*at, view);
            }
        }
        let lost = |what: &str| VfsError::Damaged(format!("the table of inodes names {what}"));
        for Left { at, kept, named } in left {
            match kept {
                Kept::Place { name, generation } => {
                    let view = |at: u32| views.get(&at).cloned();
                    let (Some(shown), Some(told)) = (view(named[0]), view(named[1])) else {
                        return Err(lost("a view that is not there"));
                    };
                    let placed = PlacedView::found(name, shown, told).of_generation(generation);
                    let placed = repos.reopen(placed).ok_or_else(|| lost("no repo"))?;
                    self.lock().adopt(at, Object::Place(placed));
                }
                Kept::View { .. } => {}
                Kept::Transaction { id } => {
                    let view = repos.transaction(id).ok_or_else(|| lost("no transaction"))?;
                    self.lock().adopt(at, Object::Transaction(view));
                }
                Kept::Private => {
                    return Err(lost("what another process cannot have"));
                }
            }
        }
        Ok(())
    }
}

impl InodeTable {
    /// The nodes of transactions, and how often a kernel has looked each up.
    pub(super) fn transaction_nodes(&self) -> Vec<(Arc<TransactionView>, NodeId, u64)> {
        let objects = self.lock();
        let Ok(heap) = &self.heap else { return Vec::new() };
        let of = |at: u32| match objects.get(heap.memory.load(at + inode::OF)) {
            Some(Object::Transaction(view)) => {
                let id = NodeId(heap.memory.load64(at + inode::NODE));
                Some((Arc::clone(view), id, heap.memory.load(at + inode::LOOKUPS).into()))
            }
            Some(Object::Group(_) | Object::Place(_) | Object::View(_)) | None => None,
        };
        heap.nodes().filter_map(of).collect()
    }
}

fn full() -> VfsError {
    VfsError::Unavailable("the table of inodes is full".into())
}

fn with_root(heap: Heap) -> Result<Heap, String> {
    let at = heap.allocate(inode::NAME).ok_or("too little memory for the root")?;
    heap.memory.store(at + inode::LOOKUPS, 1);
    heap.memory.store64(at + inode::INO, InodeNo::ROOT.0);
    heap.memory.store64(at + inode::CHECK, Identity::of("pfs inode root v1", &[]).check());
    heap.publish(at, BlockKind::Top, 0);
    heap.link(at);
    Ok(heap)
}

fn find(heap: &Heap, ino: InodeNo) -> Option<u32> {
    heap.bucket(ino.0).find(|at| heap.memory.load64(at + inode::INO) == ino.0)
}

/// A new inode.
struct Inode {
    ino: InodeNo,
    check: u64,
    parent: u32,
}

fn add(heap: &Heap, objects: &mut Objects, new: &Inode, entry: Entry<'_>) -> Option<()> {
    let (kind, of, name, node) = entry.parts();
    let length = u8::try_from(name.len()).ok()?;
    let words = u32::from(length).div_ceil(4);
    let large = kind == BlockKind::Leaf && node >= LARGE_FILE;
    let at = heap.allocate(inode::NAME + words + if large { handles::WORDS } else { 0 })?;
    let Some(of) = objects.enter(heap, &of) else {
        heap.free(at);
        return None;
    };
    heap.memory.store(at + inode::LOOKUPS, 1);
    heap.memory.store64(at + inode::INO, new.ino.0);
    heap.memory.store64(at + inode::CHECK, new.check);
    heap.memory.store(at + inode::PARENT, new.parent);
    heap.memory.store(at + inode::OF, of);
    heap.memory.store(at + inode::CHILDREN, 0);
    heap.memory.store64(at + inode::NODE, node);
    heap.memory.store_bytes(at + inode::NAME, name.as_bytes());
    if large {
        handles::clear(heap, at, words);
    }
    heap.publish(at, kind, length);
    heap.add(new.parent + inode::CHILDREN, 1);
    heap.add(of + object::USES, 1);
    heap.link(at);
    Some(())
}

/// Drops the inode when nobody needs it any more; then its parent likewise.
fn prune(heap: &Heap, objects: &mut Objects, mut at: u32) {
    loop {
        let in_use = heap.memory.load(at + inode::LOOKUPS) > 0
            || heap.memory.load(at + inode::CHILDREN) > 0
            || heap.kind(at).0 == BlockKind::Top;
        if in_use {
            return;
        }
        let (parent, of) = (heap.memory.load(at + inode::PARENT), heap.memory.load(at + inode::OF));
        heap.unlink(at);
        heap.free(at);
        objects.release(heap, of);
        heap.add(parent + inode::CHILDREN, -1);
        at = parent;
    }
}

/// What stands at a block.
fn node(heap: &Heap, objects: &Objects, at: u32) -> Result<Node, VfsError> {
    let of = objects.get(heap.memory.load(at + inode::OF));
    Ok(match (heap.kind(at).0, of) {
        (BlockKind::Top, _) => Node::Top,
        (BlockKind::Group, Some(Object::Group(group))) => Node::Group(Arc::clone(group)),
        (BlockKind::Directory, Some(Object::Place(placed))) => {
            Node::Dir(Arc::clone(placed), path(heap, at)?)
        }
        (BlockKind::Leaf, Some(Object::View(view))) => {
            let size = heap.memory.load64(at + inode::NODE);
            Node::Leaf(Arc::clone(view), path(heap, at)?, size)
        }
        (BlockKind::Node, Some(Object::Transaction(view))) => {
            Node::Transaction(Arc::clone(view), NodeId(heap.memory.load64(at + inode::NODE)))
        }
        _ => return Err(VfsError::Stale),
    })
}

/// The path of a directory or leaf below the root of its place or view.
fn path(heap: &Heap, at: u32) -> Result<TreePath, VfsError> {
    let mut names = Vec::new();
    let mut at = at;
    while let (BlockKind::Directory | BlockKind::Leaf, length @ 1..) = heap.kind(at) {
        names.push(heap.memory.load_bytes(at + inode::NAME, length));
        at = heap.memory.load(at + inode::PARENT);
    }
    names.reverse();
    let text = String::from_utf8(names.join(&b'/')).map_err(|_| VfsError::Stale)?;
    text.parse().map_err(|_| VfsError::Stale)
}
