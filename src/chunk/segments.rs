//! Small frames: they come with the part of the pack around them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::blobs::Inner;
use super::disk::Extent;
use super::fetch::{Flight, Landing, decode_off_thread, launch};
use super::pack::pack_key;
use super::{ChunkError, ChunkRef, lock};
use crate::model::PackId;
use crate::store::waits::{self, WaitFor};

/// The part of a pack fetched around a small frame.
pub(super) const SEGMENT: u32 = 1 << 20;
/// How many segments come at once when the one before was read, too.
const AHEAD: u32 = 4;
/// The same from a store that is not on this machine, where a request costs as
/// much as some MiB: for the first, the second and later touches of a pack.
const AFAR: [u32; 3] = [1, 4, 8];

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

    /// Copies a small frame out of its segments, so that it does not keep them.
    async fn small_frame(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let end = place.offset + place.stored;
        let mut frame = BytesMut::with_capacity(place.stored as usize);
        for number in place.offset / SEGMENT..=(end - 1) / SEGMENT {
            let bytes = self.segment(place, number).await?;
            let start = number * SEGMENT;
            let cut = |at: u32| (at.max(start) - start).min(bytes.len() as u32) as usize;
            frame.extend_from_slice(&bytes[cut(place.offset)..cut(end)]);
        }
        Ok(frame.freeze())
    }

    async fn segment(self: &Arc<Self>, place: &ChunkRef, number: u32) -> Result<Bytes, ChunkError> {
        let extent = segment_extent(place.pack, number);
        let kept = lock(&self.fetcher.segments).get(&extent);
        self.fetcher.lookups.0.count(kept.is_some());
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let (flight, part) = self.join_segments(place, number);
        Ok(waits::on(WaitFor::Content, flight).await?[part].clone())
    }

    /// How many segments are worth a request from `number` on.
    fn worth(&self, pack: PackId, number: u32) -> u32 {
        if self.store.local_path(&pack_key(pack)).is_none() {
            let mut touched = lock(&self.fetcher.touched);
            let count = touched.get_or_insert_mut(pack, || 0);
            *count += 1;
            return AFAR[(*count - 1).min(AFAR.len() - 1)];
        }
        let before = number.checked_sub(1).map(|before| segment_extent(pack, before));
        let follows = before.is_some_and(|before| lock(&self.fetcher.segments).contains(&before));
        if follows { AHEAD } else { 1 }
    }

    /// Joins the flight that fetches a segment, or starts one that fetches it
    /// and some that follow.
    fn join_segments(self: &Arc<Self>, place: &ChunkRef, number: u32) -> (Flight, usize) {
        let count = self.worth(place.pack, number);
        let mut flights = lock(&self.fetcher.flights);
        let first = segment_extent(place.pack, number);
        if let Some(flight) = flights.get(&first) {
            return flight.clone();
        }
        let kept = lock(&self.fetcher.segments);
        let fresh = |extent: &Extent| !flights.contains_key(extent) && !kept.contains(extent);
        let rest = (number + 1..).map(|n| segment_extent(place.pack, n)).take_while(fresh);
        // Not the kept one itself: it may have arrived just now.
        let extents: Vec<Extent> =
            std::iter::once(first).chain(rest.take(count as usize - 1)).collect();
        drop(kept);
        let task = Arc::clone(self).fetch_segments(*place, extents.clone());
        let flight = launch(task);
        for (part, extent) in extents.into_iter().enumerate() {
            flights.insert(extent, (flight.clone(), part));
        }
        (flight, 0)
    }

    async fn fetch_segments(
        self: Arc<Self>,
        place: ChunkRef,
        extents: Vec<Extent>,
    ) -> Result<Arc<[Bytes]>, ChunkError> {
        let _landing = Landing { inner: &self, extents: &extents };
        let mut parts = self.read_disk(&extents).await;
        if parts.first().is_none_or(Option::is_none) {
            let start = u64::from(extents[0].start);
            let span = start..start + u64::from(SEGMENT) * extents.len() as u64;
            let bytes = self.fetch(&place, place.pack, span).await?;
            let cut = |n: usize| bytes.len().min(n * SEGMENT as usize);
            // Each part is a copy, so that one does not keep the others.
            parts = match extents.len() {
                1 => vec![Some(bytes)],
                many => (0..many)
                    .map(|n| Some(Bytes::copy_from_slice(&bytes[cut(n)..cut(n + 1)])))
                    .collect(),
            };
            self.keep_on_disk(&extents, &parts);
        }
        let mut segments = lock(&self.fetcher.segments);
        let parts: Arc<[Bytes]> = parts.into_iter().map(Option::unwrap_or_default).collect();
        for (extent, bytes) in extents.iter().zip(parts.iter()) {
            if !bytes.is_empty() {
                segments.put(*extent, bytes.clone());
            }
        }
        Ok(parts)
    }

    fn drop_segments(&self, place: &ChunkRef) {
        let last = (place.offset + place.stored - 1) / SEGMENT;
        for number in place.offset / SEGMENT..=last {
            let extent = segment_extent(place.pack, number);
            lock(&self.fetcher.segments).remove(&extent);
            if let Some(disk) = &self.fetcher.disk {
                disk.remove(&extent);
            }
        }
    }
}
