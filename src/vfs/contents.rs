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

/// How far ahead of a sequential reader chunks are fetched, in bytes.
const AHEAD: u64 = 8 << 20;

/// Contents by inode, least recently used ones dropped.
#[derive(Debug)]
pub(super) struct Contents(Mutex<LruCache<InodeNo, Reading>>);

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
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Contents {
    fn lock(&self) -> MutexGuard<'_, LruCache<InodeNo, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, ino: InodeNo) -> Option<Content> {
        self.lock().get(&ino).map(|reading| reading.content.clone())
    }

    pub(super) fn put(&self, ino: InodeNo, content: Content) {
        let mut readings = self.lock();
        if !readings.contains(&ino) {
            readings.put(ino, Reading { content, next: 0, asked: 0 });
        }
    }

    /// Notes a read of `range` and answers the chunks to fetch now, none
    /// unless it goes on where the last one ended.
    pub(super) fn ahead(&self, ino: InodeNo, range: &Range<u64>) -> Vec<ChunkRef> {
        let mut readings = self.lock();
        let Some(reading) = readings.get_mut(&ino) else { return Vec::new() };
        let sequential = reading.next == range.start && range.start > 0;
        reading.next = range.end;
        if !sequential {
            reading.asked = range.end;
            return Vec::new();
        }
        let (from, until) = (reading.asked.max(range.end), range.end.saturating_add(AHEAD));
        let mut wanted = Vec::new();
        let mut start = 0;
        for chunk in reading.content.chunks() {
            let end = start + u64::from(chunk.len);
            if start >= from && start < until {
                wanted.push(*chunk);
                reading.asked = end;
            }
            if start >= until {
                break;
            }
            start = end;
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
}
