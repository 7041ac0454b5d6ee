//! Writing one file's content.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::writer::{Encoding, Known};
use super::{ChunkError, ChunkRef, ChunkSizes, Chunker, Content, INLINE_MAX, PackWriter};

/// How many chunks of one file are encoded at a time.
const PARALLEL: usize = 4;
/// New chunks in a row after which those around a chunk count as new, too:
/// about as many as share a buffer of the chunker's.
const DENSE: usize = 16;

/// Turns a stream of bytes into [`Content`], in memory bounded by a few chunks.
pub struct FileWriter {
    writer: PackWriter,
    known: Known,
    chunker: Chunker,
    encoding: VecDeque<Encoding>,
    chunks: Vec<ChunkRef>,
    /// Chunks that came after the last one that was stored already.
    new_in_a_row: usize,
}

impl FileWriter {
    /// A writer of a new file; `base` are the chunks of the version it
    /// replaces, if there is one, which are not stored again.
    #[must_use]
    pub fn new(writer: &PackWriter, base: &[ChunkRef]) -> Self {
        Self::with_sizes(writer, base, ChunkSizes::FORMAT)
    }

    /// A writer with other chunk sizes, to measure them.
    #[must_use]
    pub fn with_sizes(writer: &PackWriter, base: &[ChunkRef], sizes: ChunkSizes) -> Self {
        Self {
            writer: writer.clone(),
            known: Arc::new(base.iter().map(|place| (place.id, *place)).collect()),
            chunker: Chunker::with_sizes(sizes),
            encoding: VecDeque::new(),
            chunks: Vec::new(),
            new_in_a_row: DENSE,
        }
    }

    /// A writer that continues `base`: what is written goes behind its bytes.
    ///
    /// Reads the last chunk of `base` only.
    pub async fn append_to(writer: &PackWriter, base: &Content) -> Result<Self, ChunkError> {
        let mut file = Self::new(writer, base.chunks());
        match base {
            Content::Inline(bytes) => file.write(bytes.clone()).await?,
            Content::Chunks(chunks) => {
                // The last chunk ends with the file, not where its bytes say.
                if let Some((last, before)) = chunks.split_last() {
                    file.chunks = before.to_vec();
                    file.write(writer.blobs().read(last).await?).await?;
                }
            }
        }
        Ok(file)
    }

    /// Takes the next bytes of the file.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ChunkError> {
        for chunk in self.chunker.push(bytes) {
            self.store(chunk).await?;
        }
        Ok(())
    }

    /// Ends the file. Its content is durable after [`PackWriter::flush`].
    pub async fn finish(mut self) -> Result<Content, ChunkError> {
        let fresh = self.chunks.is_empty() && self.encoding.is_empty();
        if fresh && self.chunker.pending() <= INLINE_MAX {
            // A copy: a slice would keep the whole message it came in alive.
            return Ok(Content::Inline(Bytes::copy_from_slice(&self.chunker.restart())));
        }
        while let Some(chunk) = self.chunker.finish() {
            self.store(chunk).await?;
        }
        while self.land().await? {}
        Ok(Content::Chunks(self.chunks.into()))
    }

    /// Takes the next bytes, or with `None` cuts what is left at the end of the
    /// file. `stop` hears the length of each chunk completed; when it says that
    /// what follows is known, the rest is forgotten, and the answer is `true`.
    pub(super) async fn write_until(
        &mut self,
        bytes: Option<Bytes>,
        mut stop: impl FnMut(u64) -> bool,
    ) -> Result<bool, ChunkError> {
        let mut completed = match bytes {
            Some(bytes) => self.chunker.push(bytes),
            None => std::iter::from_fn(|| self.chunker.finish()).collect(),
        };
        for chunk in completed.drain(..) {
            let len = chunk.len() as u64;
            self.store(chunk).await?;
            if stop(len) {
                self.chunker.restart();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a chunk that is stored already; the file is at a boundary.
    pub(super) async fn reuse(&mut self, place: ChunkRef) -> Result<(), ChunkError> {
        while self.land().await? {}
        self.chunks.push(place);
        Ok(())
    }

    async fn store(&mut self, chunk: Bytes) -> Result<(), ChunkError> {
        if self.encoding.len() >= PARALLEL {
            self.land().await?;
        }
        let alone = self.new_in_a_row < DENSE;
        self.encoding.push_back(self.writer.encode(chunk, &self.known, alone).await?);
        Ok(())
    }

    /// Lays down the chunk that has been encoding longest; tells whether there
    /// was one.
    async fn land(&mut self) -> Result<bool, ChunkError> {
        let Some(encoding) = self.encoding.pop_front() else { return Ok(false) };
        let placed = self.writer.place(encoding).await?;
        self.new_in_a_row = if placed.known { 0 } else { self.new_in_a_row.saturating_add(1) };
        self.chunks.push(placed.place);
        Ok(true)
    }
}
