//! Small frames: they come with the part of the pack around them.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::ahead::alone;
use super::blobs::Inner;
use super::disk::Extent;
use super::fetch::{Flight, Landing, decode_off_thread, frame_extent, launch};
use super::large::Ahead;
use super::order::Unit;
use super::pack::pack_key;
use super::{ChunkError, ChunkRef, lock};
use crate::model::PackId;
use crate::store::waits::{self, WaitFor};

/// The part of a pack fetched around a small frame.
pub(super) const SEGMENT: u32 = 1 << 20;
/// How many come by one request from a store that is not on this machine, where
/// a request costs as much as some MiB: for the first, the second and later
/// touches of a pack. A pack whose small chunks are read in any order is soon
/// here whole.
const AFAR: [u32; 3] = [1, 8, 16];
/// One request brings at most such a share of what fits into memory.
const SHARE: usize = 8;

pub(super) fn segment_extent(pack: PackId, number: u32) -> Extent {
    Extent { pack, start: number * SEGMENT, len: SEGMENT }
}

impl Inner {
    pub(super) async fn read_small(
        self: &Arc<Self>,
        place: &ChunkRef,
    ) -> Result<Bytes, ChunkError> {
        if let Some(frame) = self.local_frame(place).await
            && let Ok(plain) = decode_off_thread(place, frame).await
        {
            return Ok(plain);
        }
        let frame = self.small_frame(place).await?;
        match decode_off_thread(place, frame).await {
            Err(ChunkError::Corrupt { .. }) => {
                // Damage on the way or in a cache: the store has the last word.
                self.drop_segments(place);
                let frame = self.fetch(place, place.pack, place.span()).await?;
                decode_off_thread(place, frame).await
            }
            outcome => outcome,
        }
    }

    /// A small frame, out of the nearest place that has it.
    async fn small_frame(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let kept = self.kept_frame(place);
        self.fetcher.lookups.0.count(kept.is_some());
        if let Some(frame) = kept {
            return Ok(frame);
        }
        if let Some(frame) = self.disk_frame(place).await {
            self.fetcher.lookups.1.count(true);
            self.touched_small_on_disk(place);
            return Ok(frame);
        }
        if let Some(frame) = self.frame_ahead(place).await {
            return Ok(frame);
        }
        let far = self.store.local_path(&pack_key(place.pack)).is_none();
        let futile = far && self.fetcher.disk.is_none() && lock(&self.fetcher.memory).is_futile();
        if futile {
            let frame = self.fetch(place, place.pack, place.span()).await?;
            self.touched(alone(place));
            return Ok(frame);
        }
        let mut segments = Vec::with_capacity(1);
        for number in numbers(place) {
            segments.push(self.segment(place, number).await?);
        }
        Ok(cut(place, &segments))
    }

    /// A small frame that was fetched alone ahead of its readers.
    async fn frame_ahead(self: &Arc<Self>, place: &ChunkRef) -> Option<Bytes> {
        self.fetcher.order.as_ref()?;
        let extent = frame_extent(place);
        let under_way = lock(&self.fetcher.flights).get(&extent).cloned();
        let kept = match under_way {
            Some((flight, part)) => {
                let bytes = waits::on(WaitFor::Content, flight).await.ok()?[part].clone();
                Some((bytes, lock(&self.fetcher.memory).arrived(&extent)))
            }
            None => lock(&self.fetcher.memory).read_segment(&extent),
        };
        let (bytes, first) = kept?;
        if first {
            self.touched(alone(place));
        }
        Some(bytes)
    }

    /// A segment for a reader, who has come to it then.
    async fn segment(self: &Arc<Self>, place: &ChunkRef, number: u32) -> Result<Bytes, ChunkError> {
        let extent = segment_extent(place.pack, number);
        let bytes = match self.find_segment(place, number).await {
            // What was begun for nobody in particular is begun anew.
            Err(ChunkError::Interrupted) => self.find_segment(place, number).await?,
            found => found?,
        };
        let first = lock(&self.fetcher.memory).arrived(&extent);
        if first {
            self.touched(Unit::Segment(extent));
        }
        Ok(bytes)
    }

    async fn find_segment(
        self: &Arc<Self>,
        place: &ChunkRef,
        number: u32,
    ) -> Result<Bytes, ChunkError> {
        let extent = segment_extent(place.pack, number);
        let kept = lock(&self.fetcher.memory).segment(&extent);
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        // Whoever fetches it has looked on disk.
        let under_way = lock(&self.fetcher.flights).contains_key(&extent);
        if !under_way && let Some(bytes) = self.read_disk(&[extent]).await.pop().flatten() {
            // Another process has put it there.
            lock(&self.fetcher.memory).put_segment(extent, bytes.clone());
            return Ok(bytes);
        }
        let (flight, part) = match self.join_segments(place, number) {
            Joined::Kept(bytes) => return Ok(bytes),
            Joined::Flight(flight, part) => (flight, part),
        };
        Ok(waits::on(WaitFor::Content, flight).await?[part].clone())
    }

    /// A frame whose segments are in memory.
    fn kept_frame(self: &Arc<Self>, place: &ChunkRef) -> Option<Bytes> {
        let mut memory = lock(&self.fetcher.memory);
        let mut first = false;
        let segment = |number| {
            let (bytes, unread) = memory.read_segment(&segment_extent(place.pack, number))?;
            first |= unread;
            Some(bytes)
        };
        let segments: Option<Vec<Bytes>> = numbers(place).map(segment).collect();
        drop(memory);
        let segments = segments?;
        if first {
            let extents = numbers(place).map(|number| segment_extent(place.pack, number));
            extents.for_each(|extent| self.touched(Unit::Segment(extent)));
        }
        Some(cut(place, &segments))
    }

    /// Which segments one request brings when `number` is wanted.
    fn window(&self, pack: PackId, number: u32) -> Range<u32> {
        if self.store.local_path(&pack_key(pack)).is_some() {
            return number..number + 1;
        }
        let touches = {
            let mut touched = lock(&self.fetcher.touched);
            let count = touched.get_or_insert_mut(pack, || 0);
            *count += 1;
            *count
        };
        let most = lock(&self.fetcher.memory).budget() / SHARE / SEGMENT as usize;
        let count = AFAR[touches.min(AFAR.len()) - 1].min(most.max(1) as u32);
        let first = number / count * count;
        first..first + count
    }

    /// Joins the flight that fetches a segment, or starts one that fetches it
    /// and those around it that are not here.
    fn join_segments(self: &Arc<Self>, place: &ChunkRef, number: u32) -> Joined {
        let wanted = segment_extent(place.pack, number);
        let mut flights = lock(&self.fetcher.flights);
        if let Some((flight, part)) = flights.get(&wanted) {
            return Joined::Flight(flight.clone(), *part);
        }
        // What has arrived just now is in memory before its flight ends.
        if let Some(bytes) = lock(&self.fetcher.memory).segment(&wanted) {
            return Joined::Kept(bytes);
        }
        let window = self.window(place.pack, number);
        let memory = lock(&self.fetcher.memory);
        let extent = |number: u32| segment_extent(place.pack, number);
        let disk = self.fetcher.disk.as_ref();
        let fresh = |n: &u32| {
            let extent = extent(*n);
            let kept = memory.has_segment(&extent) || disk.is_some_and(|disk| disk.knows(&extent));
            !kept && !flights.contains_key(&extent)
        };
        let first = (window.start..number).rev().take_while(fresh).last().unwrap_or(number);
        let last = (number + 1..window.end).take_while(fresh).last().unwrap_or(number);
        drop(memory);
        let extents: Vec<Extent> = (first..=last).map(extent).collect();
        let flight = launch(Arc::clone(self).fetch_segments(*place, extents.clone(), false));
        for (part, extent) in extents.into_iter().enumerate() {
            flights.insert(extent, (flight.clone(), part));
        }
        Joined::Flight(flight, (number - first) as usize)
    }

    /// Fetches parts that lie one behind the other and are of one size, but for
    /// the last one.
    pub(super) async fn fetch_segments(
        self: Arc<Self>,
        place: ChunkRef,
        extents: Vec<Extent>,
        ahead: bool,
    ) -> Result<Arc<[Bytes]>, ChunkError> {
        let _landing = Landing { inner: &self, extents: &extents };
        let (start, size) = (u64::from(extents[0].start), extents[0].len as usize);
        let span = start..start + (size * extents.len()) as u64;
        let under_way = if ahead { (span.end - span.start) as usize } else { 0 };
        let _ahead = Ahead::begin(&self, under_way);
        let bytes = self.fetch(&place, place.pack, span).await?;
        let cut = |n: usize| bytes.len().min(n * size);
        // Each part is a copy, so that one does not keep the others.
        let parts: Arc<[Bytes]> = match extents.len() {
            1 => [bytes].into(),
            many => (0..many).map(|n| Bytes::copy_from_slice(&bytes[cut(n)..cut(n + 1)])).collect(),
        };
        let kept: Vec<_> = parts.iter().cloned().map(Some).collect();
        self.keep_on_disk(&extents, &kept);
        let mut memory = lock(&self.fetcher.memory);
        for (extent, bytes) in extents.iter().zip(parts.iter()) {
            match (bytes.is_empty(), ahead) {
                (true, _) => {}
                (false, true) => memory.put_segment_ahead(*extent, bytes.clone()),
                (false, false) => memory.put_segment(*extent, bytes.clone()),
            }
        }
        drop(memory);
        Ok(parts)
    }

    fn drop_segments(&self, place: &ChunkRef) {
        lock(&self.fetcher.memory).remove_segment(&frame_extent(place));
        for number in numbers(place) {
            let extent = segment_extent(place.pack, number);
            lock(&self.fetcher.memory).remove_segment(&extent);
            self.drop_cached(&extent);
        }
    }
}

/// A segment, or where it comes from: the flight, and which part of it.
enum Joined {
    Kept(Bytes),
    Flight(Flight, usize),
}

/// The segments that a frame lies in.
pub(super) fn numbers(place: &ChunkRef) -> RangeInclusive<u32> {
    let last = place.offset.saturating_add(place.stored.max(1) - 1);
    place.offset / SEGMENT..=last / SEGMENT
}

/// Copies a frame out of its segments, so that it does not keep them; shorter
/// where they end earlier.
fn cut(place: &ChunkRef, segments: &[Bytes]) -> Bytes {
    let end = place.offset + place.stored;
    let mut frame = BytesMut::with_capacity(place.stored as usize);
    for (number, bytes) in numbers(place).zip(segments) {
        let start = number * SEGMENT;
        let cut = |at: u32| (at.max(start) - start).min(bytes.len() as u32) as usize;
        frame.extend_from_slice(&bytes[cut(place.offset)..cut(end)]);
    }
    frame.freeze()
}
