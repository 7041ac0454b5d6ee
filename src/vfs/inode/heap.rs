//! Blocks of words in shared memory, and an index of those that are inodes.
//!
//! Whoever changes anything has marked the heap as busy before. The next
//! process that finds the mark of one that was killed trusts the blocks alone
//! and makes everything else anew: counts, chains and free lists.

use std::io;

use super::memory::Memory;

/// The first word of a table.
const MAGIC: u32 = u32::from_le_bytes(*b"pfsI");

/// The version of the layout.
const VERSION: u32 = 1;

/// Words of the header, by name.
const AT_MAGIC: u32 = 0;
const AT_VERSION: u32 = 1;
const AT_BUSY: u32 = 2;
const AT_END: u32 = 3;
const AT_LIVE: u32 = 4;
const AT_BUCKETS: u32 = 5;
const AT_OBJECTS: u32 = 6;
/// Two words that the user of the heap may set.
const AT_MARK: u32 = 8;
/// The backing of a file that was noted last.
const AT_NEWEST: u32 = 10;
/// How many processes have counted handles.
const AT_TURN: u32 = 11;
/// Six words for each of the last processes: the request about a handle that it
/// has counted and not answered yet, the inode, and how many handles there are
/// then.
const AT_COUNTED: u32 = 12;
const COUNTED: u32 = 6;
const TURNS: u32 = 8;
const AT_FREE: u32 = 64;

/// Where the header ends.
const HEADER: u32 = 2048;

/// Blocks up to this many words are as long as they need to be; longer ones
/// are multiples of [`STEP`].
const EXACT: u32 = 128;
const STEP: u32 = 64;

/// The longest block, in words.
const LONGEST: u32 = u16::MAX as u32 / STEP * STEP;

/// How many buckets there are at first.
const BUCKETS: u32 = 1024;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BlockKind {
    Free = 0,
    /// The top directory, or one in a group of places.
    Top = 1,
    Group = 2,
    /// A directory of a place.
    Directory = 3,
    /// A file or symlink of a view.
    Leaf = 4,
    /// A node of a transaction.
    Node = 5,
    /// What inodes belong to.
    Object = 6,
}

impl BlockKind {
    fn of(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Free,
            Self::Top,
            Self::Group,
            Self::Directory,
            Self::Leaf,
            Self::Node,
            Self::Object,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    pub(super) fn is_inode(self) -> bool {
        match self {
            Self::Free | Self::Object => false,
            Self::Top | Self::Group | Self::Directory | Self::Leaf | Self::Node => true,
        }
    }
}

/// Words of an inode's block.
pub(super) mod inode {
    pub(crate) const LOOKUPS: u32 = 1;
    pub(crate) const INO: u32 = 2;
    /// More of the identity's hash, which tells two of one number apart.
    pub(crate) const CHECK: u32 = 4;
    /// The block of the directory it is in.
    pub(crate) const PARENT: u32 = 6;
    /// The next block of the same bucket.
    pub(crate) const NEXT: u32 = 7;
    /// The object it belongs to.
    pub(crate) const OF: u32 = 8;
    /// How many blocks name this one as their parent.
    pub(crate) const CHILDREN: u32 = 9;
    /// The node's number within its transaction; the size of a leaf.
    pub(crate) const NODE: u32 = 10;
    pub(crate) const NAME: u32 = 12;
}

/// Words of an object's block.
pub(super) mod object {
    /// How many blocks name it.
    pub(crate) const USES: u32 = 1;
    pub(crate) const NEXT: u32 = 2;
    /// Objects it names itself.
    pub(crate) const NAMED: [u32; 2] = [3, 4];
    pub(crate) const LENGTH: u32 = 5;
    pub(crate) const BYTES: u32 = 6;
}

/// The blocks of one table.
#[derive(Debug)]
pub(super) struct Heap {
    pub(super) memory: Memory,
    /// Where the blocks begin; the buckets are before them.
    start: u32,
}

/// Marks the heap as being changed.
pub(super) struct Busy<'a>(&'a Heap);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.memory.store(AT_BUSY, 0);
    }
}

impl Heap {
    /// A heap in new memory.
    pub(super) fn format(memory: Memory) -> Self {
        let heap = Self { start: Self::start(&memory), memory };
        heap.memory.store(AT_END, heap.start);
        heap.memory.store(AT_BUCKETS, BUCKETS);
        heap.memory.store(AT_VERSION, VERSION);
        heap.memory.store(AT_MAGIC, MAGIC);
        heap
    }

    /// The heap that another process has left; not to be used while that one
    /// still runs.
    pub(super) fn attach(memory: Memory) -> io::Result<Self> {
        Self::check(&memory)?;
        let heap = Self { start: Self::start(&memory), memory };
        if heap.memory.load(AT_BUSY) != 0 {
            heap.rebuild();
        }
        Ok(heap)
    }

    /// Whether this program understands what is in `memory`.
    pub(super) fn check(memory: &Memory) -> io::Result<()> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        match (memory.load(AT_MAGIC), memory.load(AT_VERSION)) {
            (MAGIC, VERSION) => Ok(()),
            (MAGIC, _) => Err(invalid("the table of inodes is of another version")),
            (_, _) => Err(invalid("no table of inodes")),
        }
    }

    fn start(memory: &Memory) -> u32 {
        HEADER + memory.len() / 16
    }

    pub(super) fn busy(&self) -> Busy<'_> {
        self.memory.store(AT_BUSY, 1);
        Busy(self)
    }

    /// How many inodes there are.
    pub(super) fn live(&self) -> u32 {
        self.memory.load(AT_LIVE)
    }

    /// How many words the blocks take.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        u64::from(self.memory.load(AT_END) - self.start) + u64::from(self.memory.load(AT_BUCKETS))
    }

    pub(super) fn mark(&self) -> u64 {
        self.memory.load64(AT_MARK)
    }

    pub(super) fn set_mark(&self, mark: u64) {
        self.memory.store64(AT_MARK, mark);
    }

    /// The inode and the count that the process before has noted last, unless
    /// it has answered since.
    pub(super) fn left(&self) -> Option<(u64, u32)> {
        let (memory, at) = (&self.memory, self.turn());
        (memory.load(at) != 0).then(|| (memory.load64(at + 2), memory.load(at + 4)))
    }

    /// Makes room for the request that this process counts.
    pub(super) fn take_turn(&self) {
        self.memory.store(AT_TURN, self.memory.load(AT_TURN).wrapping_add(1));
        self.memory.store(self.turn(), 0);
    }

    fn turn(&self) -> u32 {
        AT_COUNTED + COUNTED * (self.memory.load(AT_TURN) % TURNS)
    }

    /// Notes that this process has counted `request`, by which `ino` has `count`
    /// handles. It has once the last word is stored.
    pub(super) fn set_counted(&self, request: u64, ino: u64, count: u32) {
        let (memory, at, mark) = (&self.memory, self.turn(), mark(request));
        memory.store(at, 0);
        memory.store64(at + 2, ino);
        memory.store(at + 4, count);
        memory.store(at + 1, (mark >> 32) as u32);
        memory.store(at, mark as u32);
    }

    /// Where `request` is noted as counted and not answered, by any process.
    pub(super) fn counted(&self, request: u64) -> Option<u32> {
        let mut all = (0..TURNS).map(|turn| AT_COUNTED + COUNTED * turn);
        all.find(|at| self.memory.load64(*at) == mark(request))
    }

    /// Takes back that `request` is not answered.
    pub(super) fn set_answered(&self, request: u64) {
        if let Some(at) = self.counted(request) {
            self.memory.store(at, 0);
        }
    }

    pub(super) fn newest(&self) -> u32 {
        self.memory.load(AT_NEWEST)
    }

    pub(super) fn set_newest(&self, backing: u32) {
        self.memory.store(AT_NEWEST, backing);
    }

    /// How many words the block at `at` has.
    pub(super) fn words(&self, at: u32) -> u32 {
        self.size(at)
    }

    /// What the block at `at` is, and how long its name.
    pub(super) fn kind(&self, at: u32) -> (BlockKind, usize) {
        let state = self.memory.load(at).to_le_bytes();
        (BlockKind::of(state[2]).unwrap_or(BlockKind::Free), usize::from(state[3]))
    }

    fn size(&self, at: u32) -> u32 {
        self.memory.load(at) & 0xffff
    }

    fn set_state(&self, at: u32, size: u32, kind: BlockKind, name: u8) {
        let size = (size as u16).to_le_bytes();
        self.memory.store(at, u32::from_le_bytes([size[0], size[1], kind as u8, name]));
    }

    /// A free block of at least `words` words, which nobody else gets; `None`
    /// when the memory is used up.
    pub(super) fn allocate(&self, words: u32) -> Option<u32> {
        let words = if words <= EXACT { words } else { words.next_multiple_of(STEP) };
        if words > LONGEST {
            return None;
        }
        let list = free_list(words);
        let first = self.memory.load(list);
        if first != 0 {
            self.memory.store(list, self.memory.load(first + 1));
            return Some(first);
        }
        let at = self.memory.load(AT_END);
        let end = at.checked_add(words).filter(|end| *end < self.memory.len())?;
        self.set_state(at, words, BlockKind::Free, 0);
        self.memory.store(AT_END, end);
        Some(at)
    }

    /// From now on the block counts: all else of it has been stored.
    pub(super) fn publish(&self, at: u32, kind: BlockKind, name: u8) {
        self.set_state(at, self.size(at), kind, name);
    }

    pub(super) fn free(&self, at: u32) {
        let list = free_list(self.size(at));
        self.set_state(at, self.size(at), BlockKind::Free, 0);
        self.memory.store(at + 1, self.memory.load(list));
        self.memory.store(list, at);
    }

    /// Every block, in no order that means anything.
    fn blocks(&self) -> impl Iterator<Item = u32> + '_ {
        let end = self.memory.load(AT_END);
        let next = move |at: u32| at.checked_add(self.size(at)).filter(|next| *next > at);
        let first = (self.start < end).then_some(self.start);
        std::iter::successors(first, move |at| next(*at).filter(|next| *next < end))
    }

    /// Every inode of a transaction.
    pub(super) fn nodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks().filter(|at| self.kind(*at).0 == BlockKind::Node)
    }

    /// Every file or symlink of a view.
    pub(super) fn leaves(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks().filter(|at| self.kind(*at).0 == BlockKind::Leaf)
    }

    /// Every object.
    pub(super) fn objects(&self) -> impl Iterator<Item = u32> + '_ {
        let next = |at: u32| (at != 0).then_some(at);
        let first = next(self.memory.load(AT_OBJECTS));
        std::iter::successors(first, move |at| next(self.memory.load(at + object::NEXT)))
    }

    pub(super) fn link_object(&self, at: u32) {
        self.memory.store(at + object::NEXT, self.memory.load(AT_OBJECTS));
        self.memory.store(AT_OBJECTS, at);
    }

    pub(super) fn unlink_object(&self, at: u32) {
        let next = self.memory.load(at + object::NEXT);
        let before = self.objects().find(|before| self.memory.load(before + object::NEXT) == at);
        self.memory.store(before.map_or(AT_OBJECTS, |before| before + object::NEXT), next);
    }

    /// The blocks of the inodes in the bucket of `ino`.
    pub(super) fn bucket(&self, ino: u64) -> impl Iterator<Item = u32> + '_ {
        let next = |at: u32| (at != 0).then_some(at);
        let first = next(self.memory.load(self.head(ino, self.memory.load(AT_BUCKETS))));
        std::iter::successors(first, move |at| next(self.memory.load(at + inode::NEXT)))
    }

    /// Where the chain of `ino` begins when there are `buckets` of them.
    fn head(&self, ino: u64, buckets: u32) -> u32 {
        let mask = buckets.next_power_of_two() - 1;
        let hash = (ino ^ ino >> 32) as u32;
        let bucket = hash & mask;
        HEADER + if bucket < buckets { bucket } else { bucket & mask >> 1 }
    }

    /// Puts the block of an inode into the index.
    pub(super) fn link(&self, at: u32) {
        let buckets = self.memory.load(AT_BUCKETS);
        self.link_into(at, buckets);
        self.memory.store(AT_LIVE, self.live() + 1);
        if self.live() > buckets && HEADER + buckets < self.start {
            self.split(buckets);
        }
    }

    fn link_into(&self, at: u32, buckets: u32) {
        let head = self.head(self.memory.load64(at + inode::INO), buckets);
        self.memory.store(at + inode::NEXT, self.memory.load(head));
        self.memory.store(head, at);
    }

    /// Adds one bucket to `buckets`, and gives it its share of another.
    fn split(&self, buckets: u32) {
        let old = HEADER + (buckets & !(1 << buckets.ilog2()));
        let mut at = self.memory.load(old);
        self.memory.store(old, 0);
        self.memory.store(AT_BUCKETS, buckets + 1);
        while at != 0 {
            let next = self.memory.load(at + inode::NEXT);
            self.link_into(at, buckets + 1);
            at = next;
        }
    }

    /// Takes the block of an inode out of the index.
    pub(super) fn unlink(&self, at: u32) {
        let ino = self.memory.load64(at + inode::INO);
        let next = self.memory.load(at + inode::NEXT);
        let before = self.bucket(ino).find(|before| self.memory.load(before + inode::NEXT) == at);
        let head = || self.head(ino, self.memory.load(AT_BUCKETS));
        self.memory.store(before.map_or_else(head, |before| before + inode::NEXT), next);
        self.memory.store(AT_LIVE, self.live().saturating_sub(1));
    }

    /// Adds `by` to the count at `at`.
    pub(super) fn add(&self, at: u32, by: i32) -> u32 {
        let count = self.memory.load(at).saturating_add_signed(by);
        self.memory.store(at, count);
        count
    }

    /// Makes what is derived from the blocks anew.
    fn rebuild(&self) {
        let memory = &self.memory;
        (AT_FREE..HEADER).for_each(|at| memory.store(at, 0));
        let buckets = memory.load(AT_BUCKETS).clamp(BUCKETS, self.start - HEADER);
        (HEADER..HEADER + buckets).for_each(|at| memory.store(at, 0));
        memory.store(AT_BUCKETS, buckets);
        memory.store(AT_LIVE, 0);
        memory.store(AT_OBJECTS, 0);
        for at in self.blocks() {
            match self.kind(at).0 {
                BlockKind::Object => memory.store(at + object::USES, 0),
                kind if kind.is_inode() => memory.store(at + inode::CHILDREN, 0),
                _ => {}
            }
        }
        self.blocks().for_each(|at| self.count(at, 1));
        self.sweep();
        for at in self.blocks() {
            match self.kind(at).0 {
                BlockKind::Free => self.free(at),
                BlockKind::Object => self.link_object(at),
                BlockKind::Top
                | BlockKind::Group
                | BlockKind::Directory
                | BlockKind::Leaf
                | BlockKind::Node => self.link(at),
            }
        }
        memory.store(AT_BUSY, 0);
    }

    /// Adds `by` to the counts of what the block at `at` names.
    fn count(&self, at: u32, by: i32) {
        let name = |word: u32, counter: u32| match self.memory.load(at + word) {
            0 => {}
            named => drop(self.add(named + counter, by)),
        };
        match self.kind(at).0 {
            BlockKind::Free | BlockKind::Top => {}
            BlockKind::Object => object::NAMED.into_iter().for_each(|w| name(w, object::USES)),
            BlockKind::Group | BlockKind::Directory | BlockKind::Leaf | BlockKind::Node => {
                name(inode::PARENT, inode::CHILDREN);
                name(inode::OF, object::USES);
            }
        }
    }

    /// Frees the blocks that nobody needs, but that the dead process did not
    /// come to free.
    fn sweep(&self) {
        let needed = |at: u32, words: &[u32]| words.iter().any(|w| self.memory.load(at + w) > 0);
        let drop = |at: u32| {
            self.count(at, -1);
            self.set_state(at, self.size(at), BlockKind::Free, 0);
        };
        for first in self.blocks() {
            let mut at = first;
            while self.kind(at).0.is_inode()
                && self.kind(at).0 != BlockKind::Top
                && !needed(at, &[inode::LOOKUPS, inode::CHILDREN])
            {
                let parent = self.memory.load(at + inode::PARENT);
                drop(at);
                at = parent;
            }
        }
        // Places name views, and views nothing.
        for _ in 0..2 {
            let objects = self.blocks().filter(|at| self.kind(*at).0 == BlockKind::Object);
            objects.filter(|at| !needed(*at, &[object::USES])).for_each(drop);
        }
    }
}

/// A request as it is noted: with a first word that is never 0.
fn mark(request: u64) -> u64 {
    request << 1 | 1
}

/// Where the list of free blocks of `size` words begins.
fn free_list(size: u32) -> u32 {
    match size <= EXACT {
        true => AT_FREE + size,
        false => AT_FREE + EXACT + size / STEP,
    }
}
