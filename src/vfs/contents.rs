//! The contents of files that are being read, and what to fetch before it is
//! asked for.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::types::InodeNo;
use crate::chunk::{ChunkRef, Content};

/// How many files' contents are remembered between reads.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");

/// How many chunks they have together, at most, unless it is only a few files.
const CHUNKS: usize = 1 << 17;

/// How many files are remembered however many chunks they have.
const FEW: usize = 4;

/// How far ahead of a sequential reader chunks are fetched, in bytes.
const AHEAD: u64 = 8 << 20;

/// Contents by inode, least recently used ones dropped.
#[derive(Debug)]
pub(super) struct Contents(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    readings: LruCache<InodeNo, Reading>,
    /// Chunks of all of them.
    chunks: usize,
}

#[derive(Debug)]
struct Reading {
    content: Content,
    /// Where a sequential reader goes on.
    next: u64,
    /// Up to here chunks have been asked for.
    asked: u64,
}

impl Default for Contents {
    fn default() -> Self {
        Self(Mutex::new(Kept { readings: LruCache::new(KEPT), chunks: 0 }))
    }
}

impl Contents {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, ino: InodeNo) -> Option<Content> {
        self.lock().readings.get(&ino).map(|reading| reading.content.clone())
    }

    pub(super) fn put(&self, ino: InodeNo, content: Content) {
        let mut kept = self.lock();
        let Kept { readings, chunks } = &mut *kept;
        if readings.contains(&ino) {
            return;
        }
        *chunks += content.chunks().len();
        if let Some((_, dropped)) = readings.push(ino, Reading { content, next: 0, asked: 0 }) {
            *chunks -= dropped.content.chunks().len();
        }
        while *chunks > CHUNKS && readings.len() > FEW {
            let Some((_, dropped)) = readings.pop_lru() else { break };
            *chunks -= dropped.content.chunks().len();
        }
    }

    /// Notes a read of `range` and answers the chunks to fetch now, none
    /// unless it goes on where the last one ended.
    pub(super) fn ahead(&self, ino: InodeNo, range: &Range<u64>) -> Vec<ChunkRef> {
        let mut kept = self.lock();
        let Some(reading) = kept.readings.get_mut(&ino) else { return Vec::new() };
        let sequential = reading.next == range.start && range.start > 0;
        reading.next = range.end;
        if !sequential {
            reading.asked = range.end;
            return Vec::new();
        }
        let (from, until) = (reading.asked.max(range.end), range.end.saturating_add(AHEAD));
        let mut wanted = Vec::new();
        for (start, chunk) in reading.content.chunks_from(from) {
            if start >= until {
                break;
            }
            if start >= from {
                wanted.push(*chunk);
                reading.asked = start + u64::from(chunk.len);
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChunkId, PackId};

    fn chunk(number: u8) -> ChunkRef {
        let (id, pack) = (ChunkId::new([number; 32]), PackId::new([0; 16]));
        ChunkRef { id, pack, offset: 0, stored: 1 << 20, len: 1 << 20 }
    }

    #[test]
    fn chunks_are_asked_for_once_and_only_ahead_of_a_sequential_reader() {
        let (contents, ino) = (Contents::default(), InodeNo(7));
        let chunks: Vec<_> = (0..40).map(chunk).collect();
        contents.put(ino, Content::Chunks(chunks.clone().into()));
        const MIB: u64 = 1 << 20;
        assert_eq!(contents.ahead(ino, &(0..MIB)), []);
        assert_eq!(contents.ahead(ino, &(MIB..2 * MIB)), chunks[2..10]);
        assert_eq!(contents.ahead(ino, &(2 * MIB..3 * MIB)), chunks[10..11]);
        assert_eq!(contents.ahead(ino, &(20 * MIB..21 * MIB)), [], "a jump");
        assert_eq!(contents.ahead(ino, &(21 * MIB..22 * MIB)), chunks[22..30]);
        assert_eq!(contents.ahead(InodeNo(8), &(0..1)), []);
    }

    #[test]
    fn the_chunk_lists_of_many_large_files_are_not_all_kept() {
        let contents = Contents::default();
        let large = Content::Chunks(vec![chunk(1); CHUNKS / 2].into());
        for ino in 1..=10 {
            contents.put(InodeNo(ino), large.clone());
        }
        let kept = (1..=10).filter(|ino| contents.get(InodeNo(*ino)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [7, 8, 9, 10]);
        contents.put(InodeNo(11), Content::empty());
        assert!(contents.get(InodeNo(11)).is_some());
    }
}
