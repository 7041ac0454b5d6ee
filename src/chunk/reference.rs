//! Where a chunk is.

use super::BLOB_MAX;
use crate::model::{ChunkId, PackId};

/// A chunk by content and by place: all a reader needs.
///
/// Two references to one chunk may differ in place; compare [`ChunkRef::id`]
/// for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// BLAKE3 of the plain bytes.
    pub id: ChunkId,
    /// The pack that holds it.
    pub pack: PackId,
    /// Where its frame starts in the pack, in bytes.
    pub offset: u32,
    /// How long its frame is, codec byte included.
    pub stored: u32,
    /// How many plain bytes it has.
    pub len: u32,
}

impl ChunkRef {
    /// A reference that somebody else made, unless no pack could hold it.
    #[must_use]
    pub fn checked(id: ChunkId, pack: PackId, span: (u32, u32), len: u32) -> Option<Self> {
        let (offset, stored) = span;
        // The codec byte and the bytes themselves at most; nothing comes of none.
        let sound = (stored >= 2 || (stored, len) == (1, 0))
            && offset.checked_add(stored).is_some()
            && len as usize <= BLOB_MAX
            && stored - 1 <= len;
        sound.then_some(Self { id, pack, offset, stored, len })
    }

    /// The bytes of the pack that the frame covers.
    #[must_use]
    pub fn span(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.offset);
        start..start + u64::from(self.stored)
    }
}

/// The id of a chunk with these bytes.
#[must_use]
pub(super) fn chunk_id(plain: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(plain).as_bytes())
}
