//! Fetched parts of packs kept in memory, within one budget.

use std::collections::HashMap;

use bytes::Bytes;
use lru::LruCache;

use super::disk::Extent;
use super::fetch::LARGE;

/// What an entry takes beyond its bytes, roughly.
const OVERHEAD: usize = 128;

/// Large chunks keep at least such a share of the budget, segments the rest.
const SHARE: usize = 4;

/// After how many dropped segments it is judged whether they were of use.
const JUDGED: u32 = 32;

/// Reads for their own sake after which fetching segments is tried again.
const PATIENCE: u32 = 512;

/// Segments as they are stored, and large chunks, decoded.
pub(super) struct Memory {
    segments: LruCache<Extent, Segment>,
    /// By the first chunk of each.
    runs: LruCache<Extent, Run>,
    /// The first chunk of the run that a chunk is part of.
    firsts: HashMap<Extent, Extent>,
    used: Used,
    budget: usize,
    segment_use: SegmentUse,
}

/// Bytes that count against the budget.
#[derive(Default)]
struct Used {
    segments: usize,
    runs: usize,
    /// Of large chunks, and of segments fetched ahead, that nobody has read yet.
    unread: usize,
}

struct Segment {
    bytes: Bytes,
    reads: u32,
    /// Whether a reader has come to it.
    read: bool,
    /// Whether it was fetched ahead of readers.
    ahead: bool,
}

impl Segment {
    fn unread(&self) -> usize {
        if self.ahead && !self.read { self.bytes.len() } else { 0 }
    }
}

/// Large chunks that came together. They share a buffer, so they go together.
struct Run {
    chunks: Vec<Chunk>,
    weight: usize,
}

struct Chunk {
    extent: Extent,
    plain: Bytes,
    read: bool,
}

/// Whether segments are of use before they have to make room.
#[derive(Default)]
struct SegmentUse {
    dropped: u32,
    reads: u32,
    alone: u32,
}

impl SegmentUse {
    fn drop(&mut self, segment: &Segment) {
        // A frame alone says nothing about segments.
        if segment.ahead && segment.bytes.len() < LARGE as usize {
            return;
        }
        self.dropped += 1;
        self.reads = self.reads.saturating_add(segment.reads);
        if self.dropped >= 2 * JUDGED {
            // What is long ago counts less and less.
            (self.dropped, self.reads) = (self.dropped / 2, self.reads / 2);
        }
    }

    fn is_futile(&self) -> bool {
        self.dropped >= JUDGED && self.reads < self.dropped / 2
    }
}

impl Memory {
    pub fn new(budget: usize) -> Self {
        Self {
            segments: LruCache::unbounded(),
            runs: LruCache::unbounded(),
            firsts: HashMap::new(),
            used: Used::default(),
            budget,
            segment_use: SegmentUse::default(),
        }
    }

    /// A segment, for a read of something in it.
    pub fn segment(&mut self, extent: &Extent) -> Option<Bytes> {
        self.read_segment(extent).map(|(bytes, _)| bytes)
    }

    /// The same, and whether it is the first since the segment came.
    pub fn read_segment(&mut self, extent: &Extent) -> Option<(Bytes, bool)> {
        let segment = self.segments.peek_mut(extent)?;
        segment.reads = segment.reads.saturating_add(1);
        self.used.unread -= segment.unread();
        let first = !std::mem::replace(&mut segment.read, true);
        let (bytes, came_ahead) = (segment.bytes.clone(), segment.ahead);
        // One read by one reader is not to outlive what others wait for.
        if !(first && came_ahead) {
            self.segments.promote(extent);
        }
        Some((bytes, first))
    }

    /// Notes that the reader for whom a segment was fetched has it; answers
    /// whether nobody was before.
    pub fn arrived(&mut self, extent: &Extent) -> bool {
        // What was too large to keep was fetched for this reader alone.
        let Some(segment) = self.segments.get_mut(extent) else { return true };
        self.used.unread -= segment.unread();
        !std::mem::replace(&mut segment.read, true)
    }

    pub fn has_segment(&self, extent: &Extent) -> bool {
        self.segments.contains(extent)
    }

    /// Keeps a segment, dropping what was not used for longest.
    pub fn put_segment(&mut self, extent: Extent, bytes: Bytes) {
        self.put(extent, bytes, false);
    }

    /// The same for one that was fetched ahead of readers.
    pub fn put_segment_ahead(&mut self, extent: Extent, bytes: Bytes) {
        self.put(extent, bytes, true);
    }

    fn put(&mut self, extent: Extent, bytes: Bytes, ahead: bool) {
        let size = bytes.len() + OVERHEAD;
        if size > self.budget {
            return;
        }
        self.remove_segment(&extent);
        self.used.segments += size;
        let segment = Segment { bytes, reads: 0, read: false, ahead };
        self.used.unread += segment.unread();
        self.segments.put(extent, segment);
        self.shrink();
    }

    pub fn remove_segment(&mut self, extent: &Extent) {
        if let Some(old) = self.segments.pop(extent) {
            self.used.segments -= old.bytes.len() + OVERHEAD;
            self.used.unread -= old.unread();
        }
    }

    /// A large chunk, for a read of it.
    #[cfg(test)]
    pub fn chunk(&mut self, extent: &Extent) -> Option<Bytes> {
        self.read_chunk(extent).map(|(plain, _)| plain)
    }

    /// A large chunk, for a read of it, and whether it is the first since the
    /// chunk came.
    pub fn read_chunk(&mut self, extent: &Extent) -> Option<(Bytes, bool)> {
        let start = self.firsts.get(extent)?;
        let run = self.runs.peek_mut(start)?;
        let chunk = run.chunks.iter_mut().find(|chunk| chunk.extent == *extent)?;
        let first = !std::mem::replace(&mut chunk.read, true);
        if first {
            self.used.unread -= chunk.plain.len();
        }
        let plain = chunk.plain.clone();
        // One read by one reader is not to outlive what others wait for.
        if !first {
            self.runs.promote(start);
        }
        Some((plain, first))
    }

    /// Lets go of a large chunk that nobody will want soon, unless it came with
    /// others.
    pub fn finish(&mut self, extent: &Extent) {
        if self.runs.peek(extent).is_some_and(|run| run.chunks.len() == 1)
            && let Some(run) = self.runs.pop(extent)
        {
            self.dropped(*extent, &run);
        }
    }

    pub fn has_chunk(&self, extent: &Extent) -> bool {
        self.firsts.contains_key(extent)
    }

    /// Keeps large chunks that may share a buffer, dropping what was not used
    /// for longest.
    pub fn put_run(&mut self, chunks: impl IntoIterator<Item = (Extent, Bytes)>) {
        let chunks = chunks.into_iter();
        let chunks: Vec<_> =
            chunks.map(|(extent, plain)| Chunk { extent, plain, read: false }).collect();
        let weight = chunks.iter().map(|chunk| chunk.plain.len() + OVERHEAD).sum();
        let Some(first) = chunks.first().map(|chunk| chunk.extent) else { return };
        if weight > self.budget {
            return;
        }
        if let Some(old) = self.runs.pop(&first) {
            self.dropped(first, &old);
        }
        for chunk in &chunks {
            self.firsts.insert(chunk.extent, first);
            self.used.unread += chunk.plain.len();
        }
        self.used.runs += weight;
        self.runs.put(first, Run { chunks, weight });
        self.shrink();
    }

    fn dropped(&mut self, first: Extent, run: &Run) {
        self.used.runs -= run.weight;
        for chunk in &run.chunks {
            if self.firsts.get(&chunk.extent) == Some(&first) {
                self.firsts.remove(&chunk.extent);
            }
            if !chunk.read {
                self.used.unread -= chunk.plain.len();
            }
        }
    }

    fn shrink(&mut self) {
        while self.used() > self.budget {
            let runs_first = self.used.runs > self.budget / SHARE || self.segments.is_empty();
            if runs_first && let Some((first, run)) = self.runs.pop_lru() {
                self.dropped(first, &run);
            } else if let Some((_, segment)) = self.segments.pop_lru() {
                self.used.segments -= segment.bytes.len() + OVERHEAD;
                self.used.unread -= segment.unread();
                self.segment_use.drop(&segment);
            } else {
                break;
            }
        }
    }

    /// Bytes that count against the budget.
    pub fn used(&self) -> usize {
        self.used.segments + self.used.runs
    }

    /// How many bytes may be kept.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// How many bytes may be fetched ahead of readers, those included that they
    /// have not come to.
    pub fn ahead(&self) -> usize {
        (self.budget / 2).saturating_sub(self.used.unread)
    }

    /// Whether segments go before they are of use, so that a small chunk had
    /// better be fetched alone; now and then it says no to find out anew.
    pub fn is_futile(&mut self) -> bool {
        if !self.segment_use.is_futile() {
            return false;
        }
        self.segment_use.alone += 1;
        if self.segment_use.alone >= PATIENCE {
            self.segment_use = SegmentUse::default();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PackId;

    fn extent(start: u32) -> Extent {
        Extent { pack: PackId::new([1; 16]), start, len: 1000 }
    }

    fn bytes(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn segments_and_chunks_share_one_budget() {
        let mut memory = Memory::new(10_000);
        for n in 0..100 {
            memory.put_segment(extent(n), bytes(1000));
            memory.put_run((0..2).map(|part| (extent(1000 + 2 * n + part), bytes(500))));
            assert!(memory.used() <= 10_000);
        }
        let segments = (0..100).filter(|n| memory.has_segment(&extent(*n))).count();
        let chunks = (0..200).filter(|n| memory.has_chunk(&extent(1000 + *n))).count();
        assert!((5..8).contains(&segments) && chunks >= 2, "{segments} {chunks}");
        for n in 200..300 {
            memory.put_segment(extent(n), bytes(1000));
        }
        assert!(memory.has_chunk(&extent(1199)), "chunks keep their share");
        memory.put_segment(extent(500), bytes(20_000));
        assert!(!memory.has_segment(&extent(500)));
    }

    #[test]
    fn chunks_that_came_together_go_together() {
        let mut memory = Memory::new(5000);
        memory.put_run((0..4).map(|n| (extent(n), bytes(500))));
        assert_eq!(memory.chunk(&extent(2)), Some(bytes(500)));
        // The same chunk by itself takes the place of that in the run.
        memory.put_run([(extent(2), bytes(500))]);
        memory.put_run((10..14).map(|n| (extent(n), bytes(500))));
        memory.put_run((20..22).map(|n| (extent(n), bytes(500))));
        assert!((0..4).all(|n| memory.has_chunk(&extent(n)) == (n == 2)));
        assert_eq!(memory.chunk(&extent(2)), Some(bytes(500)));
        assert!((10..14).chain(20..22).all(|n| memory.has_chunk(&extent(n))));
    }

    #[test]
    fn a_chunk_that_was_read_can_go_at_once() {
        let mut memory = Memory::new(10_000);
        memory.put_run([(extent(1), bytes(500))]);
        memory.put_run((10..12).map(|n| (extent(n), bytes(500))));
        [1, 10, 11, 99].into_iter().for_each(|n| memory.finish(&extent(n)));
        assert!(!memory.has_chunk(&extent(1)));
        assert!((10..12).all(|n| memory.has_chunk(&extent(n))));
        assert_eq!(memory.used(), 2 * (500 + OVERHEAD));
    }

    #[test]
    fn what_nobody_has_read_leaves_less_room_ahead() {
        let mut memory = Memory::new(10_000);
        assert_eq!(memory.ahead(), 5000);
        memory.put_run((0..4).map(|n| (extent(n), bytes(1000))));
        assert_eq!(memory.ahead(), 1000);
        memory.chunk(&extent(0));
        memory.chunk(&extent(0));
        assert_eq!(memory.ahead(), 2000);
        memory.put_run((10..18).map(|n| (extent(n), bytes(1000))));
        assert_eq!(memory.ahead(), 0);
        (10..18).for_each(|n| drop(memory.chunk(&extent(n))));
        assert_eq!(memory.ahead(), 5000, "the first run is gone");
    }

    #[test]
    fn segments_that_are_dropped_unread_are_futile_for_a_while() {
        let mut memory = Memory::new(10_000);
        for n in 0..200 {
            memory.put_segment(extent(n), bytes(1000));
            memory.segment(&extent(n));
        }
        assert!(!memory.is_futile(), "each was read");
        for n in 200..400 {
            memory.put_segment(extent(n), bytes(1000));
        }
        let alone = std::iter::from_fn(|| memory.is_futile().then_some(())).count();
        assert_eq!(alone, PATIENCE as usize);
    }
}
