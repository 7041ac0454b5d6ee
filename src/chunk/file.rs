//! Writing one file's content.

use bytes::{Bytes, BytesMut};

use super::{ChunkError, ChunkRef, Chunker, Content, INLINE_MAX, PackWriter};

/// Turns a stream of bytes into [`Content`], in memory bounded by a few chunks.
pub struct FileWriter {
    writer: PackWriter,
    known: Vec<ChunkRef>,
    chunker: Chunker,
    chunks: Vec<ChunkRef>,
}

impl FileWriter {
    /// A writer of a new file; `base` are the chunks of the version it
    /// replaces, if there is one, which are not stored again.
    #[must_use]
    pub fn new(writer: &PackWriter, base: &[ChunkRef]) -> Self {
        let (known, chunks) = (base.to_vec(), Vec::new());
        Self { writer: writer.clone(), known, chunker: Chunker::new(), chunks }
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
        let mut small = BytesMut::new();
        if self.chunks.is_empty() && self.chunker.pending() <= INLINE_MAX {
            while let Some(rest) = self.chunker.finish() {
                small.extend_from_slice(&rest);
            }
            return Ok(Content::Inline(small.freeze()));
        }
        while let Some(chunk) = self.chunker.finish() {
            self.store(chunk).await?;
        }
        Ok(Content::Chunks(self.chunks.into()))
    }

    async fn store(&mut self, chunk: Bytes) -> Result<(), ChunkError> {
        self.chunks.push(self.writer.append_dedup(chunk, &self.known).await?);
        Ok(())
    }
}
