//! The chunks of a file, found by position.

use std::ops::Deref;
use std::sync::Arc;

use super::ChunkRef;

/// Every so many chunks a long list knows where one starts.
const STEP: usize = 64;

/// Chunks in order; a cheap clone.
///
/// Finding the one at a position takes a binary search and a few steps, and
/// for that an eighth of a byte a chunk; short lists take nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkList {
    chunks: Arc<[ChunkRef]>,
    index: Option<Arc<Index>>,
}

#[derive(PartialEq, Eq)]
struct Index {
    /// Where chunks 0, [`STEP`], … start.
    starts: Box<[u64]>,
    size: u64,
}

impl ChunkList {
    /// Plain bytes in all chunks.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sum = || self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        self.index.as_ref().map_or_else(sum, |index| index.size)
    }

    /// The chunks from the one that holds byte `at` on, with their starts.
    pub(super) fn from(&self, at: u64) -> impl Iterator<Item = (u64, &ChunkRef)> {
        let starts: &[u64] = self.index.as_ref().map_or(&[0], |index| &index.starts);
        let known = starts.partition_point(|start| *start <= at).saturating_sub(1);
        let mut next = starts[known];
        let placed = self.chunks[known * STEP..].iter().map(move |chunk| {
            let start = next;
            next += u64::from(chunk.len);
            (start, chunk)
        });
        placed.skip_while(move |(start, chunk)| start + u64::from(chunk.len) <= at)
    }
}

impl From<Vec<ChunkRef>> for ChunkList {
    fn from(chunks: Vec<ChunkRef>) -> Self {
        let index = (chunks.len() > STEP).then(|| {
            let (mut starts, mut size) = (Vec::with_capacity(chunks.len().div_ceil(STEP)), 0);
            for (number, chunk) in chunks.iter().enumerate() {
                if number % STEP == 0 {
                    starts.push(size);
                }
                size += u64::from(chunk.len);
            }
            Arc::new(Index { starts: starts.into(), size })
        });
        Self { chunks: chunks.into(), index }
    }
}

impl<const N: usize> From<[ChunkRef; N]> for ChunkList {
    fn from(chunks: [ChunkRef; N]) -> Self {
        chunks.to_vec().into()
    }
}

impl FromIterator<ChunkRef> for ChunkList {
    fn from_iter<I: IntoIterator<Item = ChunkRef>>(chunks: I) -> Self {
        chunks.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for ChunkList {
    type Target = [ChunkRef];

    fn deref(&self) -> &[ChunkRef] {
        &self.chunks
    }
}

impl std::fmt::Debug for ChunkList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;
    use crate::model::{ChunkId, PackId};

    #[test]
    fn a_position_is_found_as_by_counting() {
        let (id, pack) = (ChunkId::new([1; 32]), PackId::new([2; 16]));
        let chunk = |n: u32| ChunkRef { id, pack, offset: n, stored: 9, len: n % 7 + 1 };
        for count in [0, 1, 63, 64, 65, 300] {
            let list: ChunkList = (0..count).map(chunk).collect();
            let mut start = 0;
            let placed = list.iter().map(|chunk| {
                start += u64::from(chunk.len);
                (start - u64::from(chunk.len), *chunk)
            });
            let placed: Vec<_> = placed.collect();
            let size = placed.last().map_or(0, |(at, chunk)| at + u64::from(chunk.len));
            assert_eq!(list.size(), size);
            let content = Content::Chunks(list.clone());
            for at in 0..size + 2 {
                let wanted = placed.partition_point(|(s, c)| s + u64::from(c.len) <= at);
                let found = content.chunks_from(at).map(|(start, chunk)| (start, *chunk));
                assert!(found.eq(placed[wanted..].iter().copied()), "byte {at} of {count}");
            }
        }
    }
}
