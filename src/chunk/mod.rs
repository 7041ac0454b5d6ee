//! Content: what files hold, cut into chunks and kept in packs.
//!
//! [`Blobs`] reads verified bytes by [`ChunkRef`]; a [`PackWriter`] stores
//! them, and many of them become one object. [`Content`] is what an entry of a
//! tree carries. Nothing here knows paths, trees or commits.

mod ahead;
mod assemble;
mod blobs;
mod budget;
mod buffers;
mod cache;
mod chunker;
mod codec;
mod content;
mod counts;
mod directory;
mod disk;
mod error;
mod fetch;
mod file;
mod groups;
mod large;
mod list;
mod memory;
mod near;
mod order;
mod pack;
mod parts;
mod presence;
mod reference;
mod segments;
mod upload;
mod warm;
mod whole;
mod writer;

pub use blobs::{BlobConfig, Blobs};
pub use chunker::{ChunkSizes, Chunker};
pub use content::{Content, INLINE_MAX};
pub use counts::CacheStats;
pub use directory::PackReader;
pub use error::ChunkError;
pub use file::FileWriter;
pub use list::ChunkList;
pub use order::Replay;
pub use reference::ChunkRef;
pub use warm::{Pace, WarmStats, Warming};
pub use whole::Whole;
pub use writer::PackWriter;

#[cfg(test)]
mod tests;

/// The largest blob a pack takes, in bytes.
pub const BLOB_MAX: usize = 16 << 20;

/// Blobs up to this many bytes are hashed and packed where they are; handing
/// them to another thread would take longer.
const SMALL: usize = 64 << 10;

/// Takes a lock whose holders keep no invariant across a panic.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the decoders of persisted bytes make of arbitrary input, for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    use bytes::Bytes;

    /// Reads a frame that claims to have `len` plain bytes.
    pub fn frame(frame: &[u8], len: usize) {
        let _ = super::codec::decode(&Bytes::copy_from_slice(frame), len.min(super::BLOB_MAX));
    }

    /// Reads a file that claims to hold the order of reads.
    pub fn order(file: &[u8]) {
        super::order::read_any(file);
    }

    /// Reads the end of a pack.
    pub fn footer(end: &[u8]) {
        let read = super::pack::parse_footer(crate::model::PackId::new([0; 16]), end);
        if let Ok(super::pack::Footer::Whole(index)) = read {
            let _ = (index.len_with_values(), index.values(end).count());
        }
    }
}
