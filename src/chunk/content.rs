//! What a file holds.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::buffers::Buffer;
use super::{Blobs, ChunkError, ChunkList, ChunkRef};
use crate::model::{ContentHash, PackId};

/// Files up to this many bytes are kept inside the tree.
pub const INLINE_MAX: usize = 4 << 10;

/// How many groups of chunks are fetched at a time for one stream.
const READ_AHEAD: usize = 3;

/// Up to so many chunks a range is read without a task for each.
const FEW: usize = 4;

/// What a file holds; a cheap clone.
///
/// The form is canonical: up to [`INLINE_MAX`] bytes are inline, more are the
/// chunks a [`super::Chunker`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Inline(Bytes),
    /// Where the bytes are, in order.
    Chunks(ChunkList),
}

impl Content {
    /// The content of an empty file.
    #[must_use]
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }

    /// How many bytes the file has.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunks(chunks) => chunks.size(),
        }
    }

    /// The hash of the bytes, whatever the places: equal for equal files.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        static LIST: LazyLock<blake3::Hasher> =
            LazyLock::new(|| blake3::Hasher::new_derive_key("pfs chunk list v1"));
        match self {
            Self::Inline(bytes) => ContentHash::new(*blake3::hash(bytes).as_bytes()),
            Self::Chunks(chunks) => match &chunks[..] {
                [] => ContentHash::new(*blake3::hash(b"").as_bytes()),
                [one] => ContentHash::new(*one.id.as_bytes()),
                many => {
                    let mut hasher = LIST.clone();
                    for chunk in many {
                        hasher.update(chunk.id.as_bytes()).update(&chunk.len.to_le_bytes());
                    }
                    ContentHash::new(*hasher.finalize().as_bytes())
                }
            },
        }
    }

    /// The chunks, none when the bytes are inline.
    #[must_use]
    pub fn chunks(&self) -> &[ChunkRef] {
        match self {
            Self::Inline(_) => &[],
            Self::Chunks(chunks) => chunks,
        }
    }

    /// The packs the bytes are in, in order, without immediate repeats.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        let mut last = None;
        self.chunks().iter().map(|c| c.pack).filter(move |p| last.replace(*p) != Some(*p))
    }

    /// The chunks that `range` touches, in order, each with the part wanted of
    /// it; none when the bytes are inline.
    #[must_use]
    pub fn pieces(&self, range: Range<u64>) -> Vec<(ChunkRef, Range<usize>)> {
        let wanted = |&(start, chunk): &(u64, &ChunkRef)| {
            let (from, to) = (range.start.max(start), range.end.min(start + u64::from(chunk.len)));
            (from < to).then(|| (*chunk, (from - start) as usize..(to - start) as usize))
        };
        let touched = self.chunks_from(range.start).take_while(|(start, _)| *start < range.end);
        touched.filter_map(|chunk| wanted(&chunk)).collect()
    }

    /// The chunks from the one that holds byte `at` on, each with where it
    /// starts; none when the bytes are inline. Does not depend on how many
    /// come before.
    pub fn chunks_from(&self, at: u64) -> impl Iterator<Item = (u64, &ChunkRef)> {
        let list = match self {
            Self::Inline(_) => None,
            Self::Chunks(list) => Some(list.from(at)),
        };
        list.into_iter().flatten()
    }

    /// Bytes `range` of the file; what lies beyond its end is left out.
    ///
    /// Holds the whole range in memory: meant for what a kernel or a caller
    /// asks at once. [`Content::stream`] is for the rest.
    pub async fn read_range(&self, blobs: &Blobs, range: Range<u64>) -> Result<Bytes, ChunkError> {
        let pieces = self.pieces(range.clone());
        let mut pieces: Vec<Bytes> = match &pieces[..] {
            [(chunk, part)] => return blobs.read_some(chunk, part.clone()).await,
            few if (2..=FEW).contains(&few.len()) => {
                let read = few
                    .iter()
                    .cloned()
                    .map(|(chunk, part)| async move { blobs.read_some(&chunk, part).await });
                futures::future::try_join_all(read).await?
            }
            _ => self.stream(blobs, range).try_collect().await?,
        };
        if pieces.len() == 1 {
            return Ok(pieces.remove(0));
        }
        let mut out = Buffer::new(pieces.iter().map(Bytes::len).sum());
        let mut rest = &mut out[..];
        for piece in &pieces {
            let (part, behind) = rest.split_at_mut(piece.len());
            part.copy_from_slice(piece);
            rest = behind;
        }
        Ok(Bytes::from_owner(out))
    }

    /// Bytes `range` of the file in order, in pieces of a chunk at most; what
    /// lies beyond its end is left out.
    ///
    /// Reads ahead a few MiB.
    #[must_use]
    pub fn stream(
        &self,
        blobs: &Blobs,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, ChunkError>> {
        match self {
            Self::Inline(bytes) => {
                let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let piece = bytes.slice(cut(range.start).min(cut(range.end))..cut(range.end));
                let pieces = (!piece.is_empty()).then_some(Ok(piece));
                futures::stream::iter(pieces).boxed()
            }
            Self::Chunks(_) => {
                let blobs = blobs.clone();
                let (places, parts): (Vec<_>, Vec<_>) = self.pieces(range).into_iter().unzip();
                let groups = super::large::groups(&places, super::large::RUN);
                let group = move |group: Range<usize>| {
                    let (blobs, places) = (blobs.clone(), places[group.clone()].to_vec());
                    let parts = parts[group].to_vec();
                    // A task of its own: bytes are verified while the reader
                    // is busy with those before.
                    let read = AbortOnDropHandle::new(tokio::spawn(async move {
                        blobs.read_group(&places).await
                    }));
                    async move {
                        let plain = read.await.map_err(|_| ChunkError::Interrupted)??;
                        let pieces = plain.into_iter().zip(parts);
                        let cut = pieces.map(|(bytes, part)| Ok(bytes.slice(part)));
                        Ok::<_, ChunkError>(futures::stream::iter(cut.collect::<Vec<_>>()))
                    }
                };
                let read = futures::stream::iter(groups).map(group);
                read.buffered(READ_AHEAD).try_flatten().boxed()
            }
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::empty()
    }
}
