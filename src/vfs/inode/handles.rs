//! Who has large files open, kept with their inodes: a process that goes on
//! serving a kernel has to know.

use super::heap::{Heap, inode};
use super::{InodeTable, find};
use crate::vfs::InodeNo;

/// Files from this size on are worth a file of their own in the cache
/// directory, which a kernel then reads itself. Opening one in that way takes
/// a tenth of a millisecond, reading as much from memory two; and 20 GiB of
/// cache are no more than 2,560 of them.
pub const LARGE_FILE: u64 = 8 << 20;

/// Words that the block of a large file has after its name.
pub(super) const WORDS: u32 = 2;

/// Among them, by name.
const BACKING: u32 = 0;
const COUNT: u32 = 1;

/// The handles of a large file that a kernel has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handles {
    /// How many there are, with those that are on their way to the kernel or
    /// back.
    pub count: u32,
    /// What the kernel reads by itself for all of them; 0 when it asks for what
    /// it reads.
    pub backing: u32,
}

/// Where the words of the inode at `at` are, if it has any.
fn words(heap: &Heap, at: u32) -> Option<u32> {
    let (_, name) = heap.kind(at);
    let end = inode::NAME + u32::try_from(name.div_ceil(4)).unwrap_or(0);
    (heap.words(at) == end + WORDS).then_some(at + end)
}

/// Makes the words of a new block say that nobody has it open.
pub(super) fn clear(heap: &Heap, at: u32, name: u32) {
    (0..WORDS).for_each(|word| heap.memory.store(at + inode::NAME + name + word, 0));
}

impl InodeTable {
    /// The handles of `ino`; `None` when it is not the inode of a large file.
    pub(in crate::vfs) fn handles(&self, ino: InodeNo) -> Option<Handles> {
        let _objects = self.lock();
        let heap = self.heap.as_ref().ok()?;
        let at = words(heap, find(heap, ino)?)?;
        Some(read(heap, at))
    }

    /// What the kernel reads for the handles of `ino` to come; 0 for nothing.
    pub(in crate::vfs) fn set_backing(&self, ino: InodeNo, backing: u32) {
        self.change(ino, |heap, at| {
            heap.memory.store(at + BACKING, backing);
            if backing != 0 {
                heap.set_newest(backing);
            }
        });
    }

    /// The kernel gets one handle more of `ino` by the answer to `request`.
    pub(in crate::vfs) fn opened(&self, ino: InodeNo, request: u64) {
        self.count(ino, request, 1);
    }

    /// The kernel has one handle less of `ino`, as `request` says.
    pub(in crate::vfs) fn released(&self, ino: InodeNo, request: u64) {
        self.count(ino, request, -1);
    }

    /// Noted first: who goes on after this process was killed counts what is
    /// noted.
    fn count(&self, ino: InodeNo, request: u64, by: i32) {
        self.change(ino, |heap, at| {
            let count = heap.memory.load(at + COUNT).saturating_add_signed(by);
            heap.set_counted(request, ino.0, count);
            heap.memory.store(at + COUNT, count);
        });
    }

    /// There are no handles of `ino`.
    pub(in crate::vfs) fn all_released(&self, ino: InodeNo) {
        self.change(ino, |heap, at| heap.memory.store(at + COUNT, 0));
    }

    /// Whether the kernel has no lookup of `ino` left when it gives `count`
    /// back.
    pub(in crate::vfs) fn is_last(&self, ino: InodeNo, count: u64) -> bool {
        let _objects = self.lock();
        let Ok(heap) = &self.heap else { return false };
        let lookups = find(heap, ino).map(|at| heap.memory.load(at + inode::LOOKUPS));
        lookups.is_some_and(|lookups| u64::from(lookups) <= count)
    }

    /// Whether `request` was counted, in this process or one before, and not
    /// answered.
    pub(in crate::vfs) fn was_counted(&self, request: u64) -> bool {
        let _objects = self.lock();
        self.heap.as_ref().is_ok_and(|heap| heap.counted(request).is_some())
    }

    /// `request` will not be sent again.
    pub(in crate::vfs) fn answered(&self, request: u64) {
        let _objects = self.lock();
        if let Ok(heap) = &self.heap {
            heap.set_answered(request);
        }
    }

    /// From now on this process counts, and nobody else.
    pub(in crate::vfs) fn begin_counting(&self) {
        let left = self.with_heap(Heap::left).flatten();
        if let Some((ino, count)) = left {
            self.change(InodeNo(ino), |heap, at| heap.memory.store(at + COUNT, count));
        }
        self.with_heap(Heap::take_turn);
    }

    /// The backing that was noted last.
    pub(in crate::vfs) fn newest_backing(&self) -> u32 {
        let _objects = self.lock();
        self.heap.as_ref().map_or(0, Heap::newest)
    }

    /// The large files that the kernel reads by itself.
    pub(in crate::vfs) fn backed(&self) -> Vec<(InodeNo, Handles)> {
        let _objects = self.lock();
        let Ok(heap) = &self.heap else { return Vec::new() };
        let of = |at: u32| {
            let handles = read(heap, words(heap, at)?);
            let ino = InodeNo(heap.memory.load64(at + inode::INO));
            (handles.backing != 0).then_some((ino, handles))
        };
        heap.leaves().filter_map(of).collect()
    }

    fn with_heap<T>(&self, work: impl FnOnce(&Heap) -> T) -> Option<T> {
        let _objects = self.lock();
        self.heap.as_ref().ok().map(work)
    }

    fn change(&self, ino: InodeNo, change: impl FnOnce(&Heap, u32)) {
        let _objects = self.lock();
        let Ok(heap) = &self.heap else { return };
        if let Some(at) = find(heap, ino).and_then(|at| words(heap, at)) {
            change(heap, at);
        }
    }
}

fn read(heap: &Heap, at: u32) -> Handles {
    Handles { count: heap.memory.load(at + COUNT), backing: heap.memory.load(at + BACKING) }
}
