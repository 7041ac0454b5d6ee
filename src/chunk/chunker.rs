//! Cutting content where the content says so.

use bytes::{Buf as _, Bytes, BytesMut};
use fastcdc::v2020::{Normalization, cut, select_masks};

/// Bounds of chunk sizes in bytes; all even.
///
/// Part of the persisted format: other sizes give other boundaries, and equal
/// files would no longer have equal hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No chunk but a file's last is smaller.
    pub min: usize,
    /// What chunks of ordinary data come to on average.
    pub average: usize,
    /// No chunk is larger.
    pub max: usize,
}

impl ChunkSizes {
    /// The sizes of the format.
    pub const FORMAT: Self = Self { min: 256 << 10, average: 1 << 20, max: 4 << 20 };
}

/// Finds chunk boundaries in a stream of bytes.
///
/// Boundaries depend only on the bytes since the last boundary and the one
/// byte after it, never on how the stream was cut into pushes; so a chunker
/// may start afresh at any boundary.
#[derive(Debug)]
pub struct Chunker {
    sizes: ChunkSizes,
    masks: (u64, u64),
    buffer: BytesMut,
}

impl Chunker {
    /// A chunker at the start of a file or at a boundary inside one.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sizes(ChunkSizes::FORMAT)
    }

    /// A chunker with other sizes, to measure them.
    #[must_use]
    pub fn with_sizes(sizes: ChunkSizes) -> Self {
        let masks = select_masks(sizes.average, Normalization::Level1);
        Self { sizes, masks, buffer: BytesMut::new() }
    }

    /// How many bytes wait for their boundary; at most the largest chunk.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Takes more bytes and returns the chunks they complete.
    pub fn push(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let taken = (self.sizes.max - self.buffer.len()).min(bytes.len());
            self.make_room(taken);
            self.buffer.extend_from_slice(&bytes[..taken]);
            bytes.advance(taken);
            if self.buffer.len() == self.sizes.max {
                let end = self.next_cut();
                chunks.push(self.take(end));
            }
        }
        chunks
    }

    /// Chunks handed out share the buffer's memory, so what is pending moves
    /// whenever it ends; memory for several chunks makes that rare, but a small
    /// file must not take so much.
    fn make_room(&mut self, more: usize) {
        if self.buffer.capacity() - self.buffer.len() < more {
            let grown = match self.buffer.len() + more {
                small if small * 4 <= self.sizes.max => 2 * small,
                _ => 4 * self.sizes.max,
            };
            let mut fresh = BytesMut::with_capacity(grown);
            fresh.extend_from_slice(&self.buffer);
            self.buffer = fresh;
        }
    }

    /// The next chunk of what is left at the end of the file; call it until it
    /// returns nothing.
    pub fn finish(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            return None;
        }
        let end = self.next_cut();
        Some(self.take(end))
    }

    /// Hands out what is pending, uncut: the next push starts at a boundary.
    pub fn restart(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    fn next_cut(&self) -> usize {
        let ChunkSizes { min, average, max } = self.sizes;
        let (small, large) = self.masks;
        cut(&self.buffer, min, average, max, small, large, small << 1, large << 1).1
    }

    fn take(&mut self, end: usize) -> Bytes {
        self.buffer.split_to(end).freeze()
    }
}

impl Default for Chunker {
    fn default() -> Self {
        Self::new()
    }
}
