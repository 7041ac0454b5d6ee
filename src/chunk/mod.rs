//! Content: what files hold, cut into chunks and kept in packs.
//!
//! [`Blobs`] reads verified bytes by [`ChunkRef`]; a [`PackWriter`] stores
//! them, and many of them become one object. [`Content`] is what an entry of a
//! tree carries. Nothing here knows paths, trees or commits.

mod blobs;
mod chunker;
mod codec;
mod content;
mod error;
mod file;
mod pack;
mod reference;
mod writer;

pub use blobs::{BlobConfig, Blobs};
pub use chunker::{ChunkSizes, Chunker};
pub use content::{Content, INLINE_MAX};
pub use error::ChunkError;
pub use file::FileWriter;
pub use reference::ChunkRef;
pub use writer::PackWriter;

/// The largest blob a pack takes, in bytes.
pub const BLOB_MAX: usize = 16 << 20;
