//! The contents of files that are being read, and what to fetch before it is
//! asked for.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::kept::at_most;
use super::types::InodeNo;
use crate::chunk::{ChunkRef, Content};

/// How many files' contents are remembered between reads.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");

/// How many chunks they have together, at most, unless it is only a few files.
const CHUNKS: usize = 1 << 17;

/// How many files are remembered however many chunks they have.
const FEW: usize = 4;

/// How far ahead of a sequential reader chunks are fetched at most, in bytes;
/// a reader that has only begun gets less.
const AHEAD: u64 = 32 << 20;
const AHEAD_FIRST: u64 = 2 << 20;

/// And no more than so many times what it reads at once.
const FIRST: u64 = 8;

/// What is fetched ahead comes in pieces of such a share of how far it goes,
/// so that few requests are made.
const PIECES: u64 = 4;

/// How many readers of one file are told apart.
const CURSORS: usize = 8;

/// Reads of one reader come out of order by so much: the kernel sends several
/// at a time, and several threads take them.
const NEAR: u64 = 2 << 20;

/// And by so many reads: else little reads of a large file, at random, would
/// look like going on now and then, and each bring a chunk.
const PIECES_NEAR: u64 = 4;

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
    /// The readers seen last, the latest first.
    cursors: Vec<Cursor>,
}

/// A reader that goes forward, such as one of several threads, or a process
/// that reads its share of a mapped file.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// Where it goes on.
    next: u64,
    /// Up to here chunks have been asked for.
    asked: u64,
    /// How far ahead they are asked for.
    window: u64,
}

impl Cursor {
    fn is_near(&self, range: &Range<u64>) -> bool {
        // What is read in little pieces is not sent much out of order.
        let near = NEAR.min((range.end - range.start).saturating_mul(PIECES_NEAR));
        (self.next.saturating_sub(near)..=self.next.saturating_add(near)).contains(&range.start)
    }
}

impl Reading {
    /// The reader that goes on with `range`, or a new one.
    fn cursor(&mut self, range: &Range<u64>) -> Cursor {
        let known = self.cursors.iter().position(|cursor| cursor.is_near(range));
        let cursor = match known.map(|at| self.cursors.remove(at)) {
            Some(Cursor { next, asked, window }) => {
                let first = (range.end - range.start).saturating_mul(FIRST).min(AHEAD_FIRST);
                let window = (window * 2).clamp(first, AHEAD);
                Cursor { next: next.max(range.end), asked: asked.max(range.end), window }
            }
            None => Cursor { next: range.end, asked: range.end, window: 0 },
        };
        self.cursors.truncate(CURSORS - 1);
        self.cursors.insert(0, cursor);
        cursor
    }
}

impl Default for Contents {
    fn default() -> Self {
        Self(Mutex::new(Kept { readings: at_most(KEPT), chunks: 0 }))
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
        if let Some((_, dropped)) = readings.push(ino, Reading { content, cursors: Vec::new() }) {
            *chunks -= dropped.content.chunks().len();
        }
        while *chunks > CHUNKS && readings.len() > FEW {
            let Some((_, dropped)) = readings.pop_lru() else { break };
            *chunks -= dropped.content.chunks().len();
        }
    }

    /// Notes a read of `range` and answers the chunks to fetch now: some that
    /// follow when it goes on where an earlier one ended, else none; about
    /// `room` bytes of them.
    pub(super) fn ahead(&self, ino: InodeNo, range: &Range<u64>, room: u64) -> Vec<ChunkRef> {
        let mut kept = self.lock();
        let Some(reading) = kept.readings.get_mut(&ino) else { return Vec::new() };
        let Cursor { next, asked, window } = reading.cursor(range);
        let until = next.saturating_add(window).min(asked.saturating_add(room));
        if until < asked.saturating_add(window / PIECES).min(reading.content.size()) {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for (start, chunk) in reading.content.chunks_from(asked) {
            if start >= until {
                break;
            }
            if start >= asked {
                wanted.push(*chunk);
                reading.cursors[0].asked = start + u64::from(chunk.len);
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
        let read = |at: u64| contents.ahead(ino, &(at * MIB..(at + 1) * MIB), u64::MAX);
        assert_eq!(read(0), []);
        assert_eq!(read(1), chunks[2..4]);
        assert_eq!(read(2), chunks[4..7]);
        assert_eq!(read(3), chunks[7..12]);
        assert_eq!(read(20), [], "another reader");
        assert_eq!(read(4), chunks[12..21], "the first goes on");
        assert_eq!(read(21), chunks[22..24]);
        assert_eq!(read(30), [], "a third");
        assert_eq!(read(5), chunks[21..38]);
        assert_eq!(read(6), [], "too little for a request");
        for at in 7..13 {
            read(at);
        }
        assert_eq!(read(13), [], "all is asked for");
        assert_eq!(contents.ahead(InodeNo(8), &(0..1), u64::MAX), []);
    }

    #[test]
    fn no_more_is_asked_for_than_there_is_room() {
        let (contents, ino) = (Contents::default(), InodeNo(7));
        let chunks: Vec<_> = (0..40).map(chunk).collect();
        contents.put(ino, Content::Chunks(chunks.clone().into()));
        const MIB: u64 = 1 << 20;
        let read = |at: u64, room| contents.ahead(ino, &(at * MIB..(at + 1) * MIB), room);
        assert_eq!((read(0, 0), read(1, 0), read(2, MIB / 2)), (vec![], vec![], vec![]));
        assert_eq!(read(3, 3 * MIB), chunks[4..7]);
        assert_eq!(read(4, 0), []);
        assert_eq!(read(5, u64::MAX), chunks[7..38]);
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
