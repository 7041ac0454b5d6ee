//! What can go wrong with content.

use crate::model::{ChunkId, PackId};
use crate::store::StoreError;

/// A failed read or write of content. Clones share nothing; reads that waited
/// for the same fetch all get the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object that should hold the chunk is gone.
    #[error("chunk {chunk} is lost: its pack {pack} is missing from the store")]
    Missing {
        /// The chunk asked for.
        chunk: ChunkId,
        /// The pack that is not there.
        pack: PackId,
    },
    /// The object holds other bytes than were written. They are never returned.
    #[error("chunk {chunk} is corrupt in pack {pack} at byte {offset}: {reason}")]
    Corrupt {
        /// The chunk asked for.
        chunk: ChunkId,
        /// The pack it lies in.
        pack: PackId,
        /// Where in the pack.
        offset: u32,
        /// What does not match.
        reason: String,
    },
    /// A pack's own index cannot be understood.
    #[error("pack {pack} is corrupt: {reason}")]
    CorruptPack {
        /// The pack.
        pack: PackId,
        /// What does not match.
        reason: String,
    },
    /// Whoever writes a file gave fewer bytes than announced.
    #[error("the new content ended early, at byte {at}")]
    ShortRead {
        /// Where bytes are missing.
        at: u64,
    },
    /// A blob larger than [`super::BLOB_MAX`].
    #[error("a blob of {size} bytes is too large for a pack")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The work was given up because the program is stopping.
    #[error("reading or writing content was interrupted by shutdown")]
    Interrupted,
}
