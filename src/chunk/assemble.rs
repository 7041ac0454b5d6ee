//! New content from old: appending, joining, writing in the middle.
//!
//! The result has the chunks that writing it anew would give. Chunks whose
//! bytes, and the byte after them, did not change are taken over unread; from
//! a changed place on, chunks are cut until a boundary meets an old one.

use std::future::Future;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::future::Either;

use super::{
    ChunkError, ChunkRef, ChunkSizes, Chunker, Content, FileWriter, INLINE_MAX, PackWriter,
};

/// How much is read at a time where chunks are cut anew.
const PIECE: u64 = 1 << 20;

/// A chunk that can be taken over, and where it starts in the result.
type Reusable = (u64, ChunkRef);

impl Content {
    /// The bytes of `first` followed by those of `second`.
    ///
    /// Reads the last chunk of `first` and, where boundaries shift, the first
    /// few of `second`. Durable after [`PackWriter::flush`].
    pub async fn concat(
        writer: &PackWriter,
        first: &Self,
        second: &Self,
    ) -> Result<Self, ChunkError> {
        concat_with(ChunkSizes::FORMAT, writer, first, second).await
    }

    /// This content cut or grown to `len` bytes and with the ranges `dirty`
    /// written anew.
    ///
    /// `dirty` is sorted, without overlaps and inside `len`; `read` is asked
    /// for their bytes, in order, in pieces, possibly more than once. What
    /// neither `dirty` nor this content covers is zero. Reads and stores only
    /// what changed, up to the next common boundary, and of long runs of zeros
    /// outside of `dirty` one chunk. Durable after [`PackWriter::flush`].
    pub async fn splice<F, Fut, E>(
        &self,
        writer: &PackWriter,
        dirty: &[Range<u64>],
        len: u64,
        read: F,
    ) -> Result<Self, E>
    where
        F: FnMut(Range<u64>) -> Fut,
        Fut: Future<Output = Result<Bytes, E>>,
        E: From<ChunkError>,
    {
        splice_with(ChunkSizes::FORMAT, writer, self, dirty, len, read).await
    }
}

fn placed(content: &Content, start: u64) -> impl Iterator<Item = Reusable> + '_ {
    content.chunks().iter().scan(start, |at, chunk| {
        let start = *at;
        *at += u64::from(chunk.len);
        Some((start, *chunk))
    })
}

pub(super) async fn concat_with(
    sizes: ChunkSizes,
    writer: &PackWriter,
    first: &Content,
    second: &Content,
) -> Result<Content, ChunkError> {
    let (middle, len) = (first.size(), first.size() + second.size());
    match (middle, len - middle) {
        (0, _) => return Ok(second.clone()),
        (_, 0) => return Ok(first.clone()),
        _ => {}
    }
    // The last chunk of the first ends with the file, not where its bytes say.
    let kept = first.chunks().len().saturating_sub(1);
    let reusable = placed(first, 0).take(kept).chain(placed(second, middle)).collect();
    // Owned: a future that borrows from a closure is not `Send` for the compiler.
    let sources = (writer.blobs().clone(), first.clone(), second.clone());
    let read = move |range: Range<u64>| {
        let (blobs, first, second) = sources.clone();
        async move {
            match range.start < middle {
                true => first.read_range(&blobs, range.start..range.end.min(middle)).await,
                false => second.read_range(&blobs, range.start - middle..range.end - middle).await,
            }
        }
    };
    let known = Known { reusable, holes: Vec::new() };
    assemble(sizes, writer, known, len, read).await
}

pub(super) async fn splice_with<F, Fut, E>(
    sizes: ChunkSizes,
    writer: &PackWriter,
    base: &Content,
    dirty: &[Range<u64>],
    len: u64,
    mut read: F,
) -> Result<Content, E>
where
    F: FnMut(Range<u64>) -> Fut,
    Fut: Future<Output = Result<Bytes, E>>,
    E: From<ChunkError>,
{
    let old = base.size();
    let unchanged = |&(start, chunk): &Reusable| {
        let end = start + u64::from(chunk.len);
        let first = dirty.partition_point(|range| range.end <= start);
        // A boundary depends on the byte after it as well.
        let touched = dirty.get(first).is_some_and(|range| range.start <= end);
        !touched && (end < old.min(len) || (end == old && old == len))
    };
    let reusable = placed(base, 0).filter(unchanged).collect();
    let known = Known { reusable, holes: holes(dirty, old.min(len)..len) };
    // Owned, as in `concat_with`.
    let (blobs, base, dirty) = (writer.blobs().clone(), base.clone(), dirty.to_vec());
    let source = move |range: Range<u64>| {
        let first = dirty.partition_point(|dirty| dirty.end <= range.start);
        let next = dirty.get(first).cloned().unwrap_or(len..len);
        if next.start <= range.start {
            return Either::Left(read(range.start..range.end.min(next.end)));
        }
        let range = range.start..range.end.min(next.start);
        let (blobs, base) = (blobs.clone(), base.clone());
        Either::Right(async move {
            match range.start < old {
                true => Ok(base.read_range(&blobs, range.start..range.end.min(old)).await?),
                false => Ok(BytesMut::zeroed((range.end - range.start) as usize).freeze()),
            }
        })
    };
    assemble(sizes, writer, known, len, source).await
}

/// The parts of `range` that `dirty`, in order, leaves out.
fn holes(dirty: &[Range<u64>], range: Range<u64>) -> Vec<Range<u64>> {
    let mut at = range.start;
    let mut holes = Vec::new();
    for next in dirty.iter().chain(std::iter::once(&(range.end..range.end))) {
        if at < next.start {
            holes.push(at..next.start);
        }
        at = at.max(next.end);
    }
    holes
}

/// What is known of the result without reading it.
struct Known {
    /// In order of their start.
    reusable: Vec<Reusable>,
    /// Where it is zero, in order.
    holes: Vec<Range<u64>>,
}

/// Chunks of zeros, which are all the same: with enough zeros ahead the next
/// boundary is always as far away.
struct Zeros {
    holes: Vec<Range<u64>>,
    /// From how many zeros on that holds.
    enough: u64,
    chunk: Option<ChunkRef>,
}

impl Zeros {
    /// Whether a chunk of zeros starts at the boundary `at`.
    fn start_at(&self, at: u64) -> bool {
        let next = self.holes.get(self.holes.partition_point(|hole| hole.end <= at));
        next.is_some_and(|hole| hole.start <= at && hole.end - at >= self.enough)
    }

    /// That chunk, stored once.
    async fn chunk(
        &mut self,
        sizes: ChunkSizes,
        writer: &PackWriter,
        known: &[ChunkRef],
    ) -> Result<ChunkRef, ChunkError> {
        if let Some(chunk) = self.chunk {
            return Ok(chunk);
        }
        let cut = Chunker::with_sizes(sizes).push(BytesMut::zeroed(sizes.max).freeze());
        let first = cut.into_iter().next().unwrap_or_default();
        let chunk = writer.append_dedup(first, known).await?;
        self.chunk = Some(chunk);
        Ok(chunk)
    }
}

/// Content of `len` bytes from `read`, which returns at least one byte of the
/// range it is asked for, and none beyond.
async fn assemble<F, E>(
    sizes: ChunkSizes,
    writer: &PackWriter,
    known: Known,
    len: u64,
    mut read: F,
) -> Result<Content, E>
where
    F: AsyncFnMut(Range<u64>) -> Result<Bytes, E>,
    E: From<ChunkError>,
{
    let mut next = async |from: u64| {
        let range = from..len.min(from + PIECE);
        let mut bytes = read(range.clone()).await?;
        bytes.truncate((range.end - range.start) as usize);
        match bytes.is_empty() {
            true => Err(E::from(ChunkError::ShortRead { at: from })),
            false => Ok(bytes),
        }
    };
    if len <= INLINE_MAX as u64 {
        let mut small = BytesMut::new();
        while (small.len() as u64) < len {
            small.extend_from_slice(&next(small.len() as u64).await?);
        }
        return Ok(Content::Inline(small.freeze()));
    }
    let Known { reusable, holes } = known;
    let known: Vec<ChunkRef> = reusable.iter().map(|(_, chunk)| *chunk).collect();
    let mut zeros = Zeros { holes, enough: sizes.max as u64, chunk: None };
    let mut file = FileWriter::with_sizes(writer, &known, sizes);
    let mut reusable = reusable.into_iter().peekable();
    let mut at = 0;
    while at < len {
        while reusable.next_if(|(start, _)| *start < at).is_some() {}
        if let Some((_, chunk)) = reusable.next_if(|(start, _)| *start == at) {
            file.reuse(chunk).await?;
            at += u64::from(chunk.len);
            continue;
        }
        if zeros.start_at(at) {
            let chunk = zeros.chunk(sizes, writer, &known).await?;
            file.reuse(chunk).await?;
            at += u64::from(chunk.len);
            continue;
        }
        let mut fed = at;
        let mut met = |size: u64| {
            at += size;
            while reusable.next_if(|(start, _)| *start < at).is_some() {}
            reusable.peek().is_some_and(|(start, _)| *start == at) || zeros.start_at(at)
        };
        let mut joined = false;
        while fed < len && !joined {
            let bytes = next(fed).await?;
            fed += bytes.len() as u64;
            joined = file.write_until(Some(bytes), &mut met).await?;
        }
        if !joined {
            file.write_until(None, &mut met).await?;
        }
    }
    Ok(file.finish().await?)
}
