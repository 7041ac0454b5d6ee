//! Getting frames out of the store: caches, single flight, neighbours.
//!
//! A small frame comes with the aligned *segment* of the pack around it, a
//! large one alone. Segments are kept as stored and decoded on use, so that a
//! first touch costs one request and only what is used is ever verified.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, TryFutureExt as _};
use lru::LruCache;
use tokio::sync::Semaphore;

use super::blobs::Inner;
use super::cache::ByteLru;
use super::counts::{CacheStats, Lookups};
use super::disk::{DiskCache, Extent};
use super::pack::pack_key;
use super::parts::{Parts, outboard};
use super::reference::chunk_id;
use super::{ChunkError, ChunkRef, SMALL, codec, lock};
use crate::model::{ChunkId, PackId};
use crate::store::StoreError;

/// The part of a pack fetched around a small frame.
const SEGMENT: u32 = 1 << 20;
/// How many segments come at once when the one before was read, too.
const AHEAD: u32 = 4;
/// The same from a store that is not on this machine, where a request costs as
/// much as some MiB: for the first, the second and later touches of a pack.
const AFAR: [u32; 3] = [1, 4, 8];
/// How many packs' touches are remembered.
const TOUCHED: NonZeroUsize = NonZeroUsize::new(1024).expect("is not zero");
/// Frames from here on are fetched by themselves.
const LARGE: u32 = 256 << 10;
/// How much of a pack one request fetches for neighbouring large chunks.
const RUN: u32 = 4 << 20;
/// How many bytes are being fetched at a time, all readers together.
const IN_FLIGHT: usize = 48 << 20;
/// How many fetched bytes wait at a time to be written to the disk cache; what
/// comes when there is no room is not kept.
const KEEPING: usize = 16 << 20;

type Flight = Shared<BoxFuture<'static, Result<Arc<[Bytes]>, ChunkError>>>;

/// Caches of fetched parts, and fetches under way.
pub(super) struct Fetcher {
    /// Segments as they are stored.
    segments: Mutex<ByteLru<Extent>>,
    /// Large chunks, decoded; by the place of their frame.
    chunks: Mutex<ByteLru<Extent>>,
    pub(super) disk: Option<Arc<DiskCache>>,
    pub(super) parts: Parts,
    /// How often segments of a pack were fetched.
    touched: Mutex<LruCache<PackId, usize>>,
    /// Who wants an extent takes the given part of the flight's result.
    flights: Mutex<HashMap<Extent, (Flight, usize)>>,
    window: Arc<Semaphore>,
    /// Room for what waits for the disk, in KiB.
    pub(super) keeping: Arc<Semaphore>,
    /// Looks into memory, and into the cache directory.
    lookups: (Lookups, Lookups),
}

impl Fetcher {
    pub fn new(memory: usize, disk: Option<DiskCache>) -> Self {
        Self {
            segments: Mutex::new(ByteLru::new(memory / 2 - memory / 32)),
            chunks: Mutex::new(ByteLru::new(memory / 2 - memory / 32)),
            parts: Parts::new(memory / 16),
            disk: disk.map(Arc::new),
            touched: Mutex::new(LruCache::new(TOUCHED)),
            flights: Mutex::default(),
            window: Arc::new(Semaphore::new(IN_FLIGHT >> 10)),
            keeping: Arc::new(Semaphore::new(KEEPING >> 10)),
            lookups: Default::default(),
        }
    }

    /// Hits, misses and bytes so far.
    pub fn stats(&self) -> CacheStats {
        let ((memory_hits, memory_misses), (disk_hits, disk_misses)) =
            (self.lookups.0.read(), self.lookups.1.read());
        let memory_bytes = (lock(&self.segments).used() + lock(&self.chunks).used()) as u64;
        let disk_bytes = self.disk.as_ref().map_or(0, |disk| disk.used());
        CacheStats { memory_hits, memory_misses, memory_bytes, disk_hits, disk_misses, disk_bytes }
    }
}

pub(super) fn frame_extent(place: &ChunkRef) -> Extent {
    Extent { pack: place.pack, start: place.offset, len: place.stored }
}

fn segment_extent(pack: PackId, number: u32) -> Extent {
    Extent { pack, start: number * SEGMENT, len: SEGMENT }
}

/// The plain bytes of a frame, verified.
pub(super) fn decode(place: &ChunkRef, frame: &Bytes) -> Result<Bytes, ChunkError> {
    decode_with(place, frame, chunk_id)
}

/// [`decode`], with `id` to make the id of plain bytes.
fn decode_with(
    place: &ChunkRef,
    frame: &Bytes,
    id: impl FnOnce(&[u8]) -> ChunkId,
) -> Result<Bytes, ChunkError> {
    let corrupt = |reason: String| ChunkError::Corrupt {
        chunk: place.id,
        pack: place.pack,
        offset: place.offset,
        reason,
    };
    if frame.len() != place.stored as usize {
        return Err(corrupt(format!("expected {} bytes, found {}", place.stored, frame.len())));
    }
    let plain = codec::decode(frame, place.len as usize).map_err(corrupt)?;
    match id(&plain) == place.id {
        true => Ok(plain),
        false => Err(corrupt("its bytes do not match its hash".to_owned())),
    }
}

/// [`decode`] of a large chunk, and the chaining values of its groups.
fn decode_large(place: &ChunkRef, frame: &Bytes) -> Result<(Bytes, Bytes), ChunkError> {
    let mut values = Bytes::new();
    let plain = decode_with(place, frame, |plain| {
        let (id, found) = outboard(plain);
        values = found;
        id
    })?;
    Ok((plain, values))
}

/// [`decode`], on another thread when that is worth it.
async fn decode_off_thread(place: &ChunkRef, frame: Bytes) -> Result<Bytes, ChunkError> {
    if place.len as usize <= SMALL {
        return decode(place, &frame);
    }
    let place = *place;
    match tokio::task::spawn_blocking(move || decode(&place, &frame)).await {
        Ok(plain) => plain,
        Err(_) => Err(ChunkError::Interrupted),
    }
}

/// Cuts a list of chunks into runs that one request each can fetch.
pub(super) fn groups(places: &[ChunkRef]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(group) = groups.last_mut() {
            let (first, last) = (&places[group.start], &places[at - 1]);
            let adjoining = last.pack == place.pack && last.offset + last.stored == place.offset;
            let large = last.stored >= LARGE && place.stored >= LARGE;
            if adjoining && large && place.offset + place.stored - first.offset <= RUN {
                group.end = at + 1;
                continue;
            }
        }
        groups.push(at..at + 1);
    }
    groups
}

impl Inner {
    /// The plain bytes of a chunk in a durable pack.
    pub async fn read(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let plain = match place.stored >= LARGE {
            true => self.read_large(place).await,
            false => self.read_small(place).await,
        };
        let plain = plain.inspect_err(|error| self.distrust(error))?;
        self.remember([place]);
        Ok(plain)
    }

    async fn read_small(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
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
        Ok(flight.await?[part].clone())
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

    /// Bytes `part` of a chunk in a durable pack.
    pub async fn read_some(
        self: &Arc<Self>,
        place: &ChunkRef,
        part: Range<usize>,
    ) -> Result<Bytes, ChunkError> {
        if place.stored >= LARGE {
            let kept = lock(&self.fetcher.chunks).get(&frame_extent(place));
            if let Some(plain) = kept {
                return Ok(plain.slice(part));
            }
            if let Some(bytes) = self.read_part(place, &part).await {
                return Ok(bytes);
            }
        }
        Ok(self.read(place).await?.slice(part))
    }

    async fn read_large(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let extent = frame_extent(place);
        let found = lock(&self.fetcher.chunks).get(&extent);
        self.fetcher.lookups.0.count(found.is_some());
        if let Some(plain) = found {
            return Ok(plain);
        }
        let flight = {
            let mut flights = lock(&self.fetcher.flights);
            match flights.get(&extent) {
                Some((flight, _)) => flight.clone(),
                None => {
                    let flight = launch(Arc::clone(self).fetch_large(*place));
                    flights.insert(extent, (flight.clone(), 0));
                    flight
                }
            }
        };
        Ok(flight.await?[0].clone())
    }

    async fn fetch_large(self: Arc<Self>, place: ChunkRef) -> Result<Arc<[Bytes]>, ChunkError> {
        let extents = [frame_extent(&place)];
        let _landing = Landing { inner: &self, extents: &extents };
        let cached = self.read_disk(&extents).await.pop().flatten();
        let plain = match cached {
            Some(frame) => self.decode_large(&place, frame).await,
            None => self.fetch_frame(&place).await,
        };
        let plain = match plain {
            Err(ChunkError::Corrupt { .. }) => self.fetch_frame(&place).await?,
            outcome => outcome?,
        };
        lock(&self.fetcher.chunks).put(extents[0], plain.clone());
        Ok([plain].into())
    }

    /// Decodes a large chunk on another thread and notes what parts of it can
    /// be compared with.
    async fn decode_large(&self, place: &ChunkRef, frame: Bytes) -> Result<Bytes, ChunkError> {
        let it = *place;
        let decoded = tokio::task::spawn_blocking(move || decode_large(&it, &frame)).await;
        let (plain, values) = decoded.map_err(|_| ChunkError::Interrupted)??;
        self.fetcher.parts.learn(place, values);
        Ok(plain)
    }

    async fn fetch_frame(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let frame = self.fetch(place, place.pack, place.span()).await?;
        let plain = self.decode_large(place, frame.clone()).await?;
        self.keep_on_disk(&[frame_extent(place)], &[Some(frame)]);
        Ok(plain)
    }

    /// Begins to fetch chunks that will be read soon; those that lie one behind
    /// the other by one request.
    pub fn prefetch(self: &Arc<Self>, places: &[ChunkRef]) {
        for group in groups(places) {
            let run = &places[group];
            // On this machine a request costs nothing, and runs a copy.
            let far = self.store.local_path(&pack_key(run[0].pack)).is_none();
            match far && run.len() > 1 {
                true => self.prefetch_run(run),
                false => run.iter().for_each(|place| {
                    let (inner, place) = (Arc::clone(self), *place);
                    // Whoever asks for it later hears what went wrong.
                    drop(tokio::spawn(async move { drop(inner.read(&place).await) }));
                }),
            }
        }
    }

    fn prefetch_run(self: &Arc<Self>, run: &[ChunkRef]) {
        let mut flights = lock(&self.fetcher.flights);
        let kept = lock(&self.fetcher.chunks);
        let fresh = |place: &&ChunkRef| {
            let extent = frame_extent(place);
            !flights.contains_key(&extent) && !kept.contains(&extent)
        };
        let run: Vec<ChunkRef> =
            run.iter().skip_while(|p| !fresh(p)).take_while(fresh).copied().collect();
        drop(kept);
        if run.is_empty() {
            return;
        }
        let flight = launch(Arc::clone(self).fetch_ahead(run.clone()));
        for (part, place) in run.iter().enumerate() {
            flights.insert(frame_extent(place), (flight.clone(), part));
        }
    }

    async fn fetch_ahead(self: Arc<Self>, run: Vec<ChunkRef>) -> Result<Arc<[Bytes]>, ChunkError> {
        let extents: Vec<Extent> = run.iter().map(frame_extent).collect();
        let _landing = Landing { inner: &self, extents: &extents };
        let plain = self.fetch_run(&run).await?;
        // Copies, so that one does not keep the others.
        let plain: Arc<[Bytes]> = plain.iter().map(|plain| Bytes::copy_from_slice(plain)).collect();
        let mut chunks = lock(&self.fetcher.chunks);
        for (extent, plain) in extents.iter().zip(plain.iter()) {
            chunks.put(*extent, plain.clone());
        }
        Ok(Arc::clone(&plain))
    }

    /// Reads large chunks that lie one behind the other. They are not kept in
    /// memory: whoever reads many in a row rarely reads them again.
    pub async fn read_run(self: &Arc<Self>, run: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let plain = self.fetch_run(run).await.inspect_err(|error| self.distrust(error))?;
        self.remember(run);
        Ok(plain)
    }

    async fn fetch_run(self: &Arc<Self>, run: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
        let extents: Vec<Extent> = run.iter().map(frame_extent).collect();
        let mut frames = self.read_disk(&extents).await;
        if frames.iter().any(Option::is_none) {
            let base = first.span().start;
            let bytes = self.fetch(first, first.pack, base..last.span().end).await?;
            let cut = |at: u64| bytes.len().min((at - base) as usize);
            frames = run
                .iter()
                .map(|p| Some(bytes.slice(cut(p.span().start)..cut(p.span().end))))
                .collect();
            self.keep_on_disk(&extents, &frames);
        }
        let decoded = run.iter().zip(frames).map(|(place, frame)| async move {
            match self.decode_large(place, frame.unwrap_or_default()).await {
                Err(ChunkError::Corrupt { .. }) => self.fetch_frame(place).await,
                outcome => outcome,
            }
        });
        futures::future::try_join_all(decoded).await
    }

    /// Bytes `span` of a pack from the store, fewer where it ends earlier;
    /// `place` is what they are wanted for.
    async fn fetch(
        &self,
        place: &ChunkRef,
        pack: PackId,
        span: Range<u64>,
    ) -> Result<Bytes, ChunkError> {
        let kib = (((span.end - span.start) >> 10) as u32).min((IN_FLIGHT >> 10) as u32);
        let _window = self.fetcher.window.acquire_many(kib.max(1)).await;
        let key = pack_key(pack);
        let error = match self.store.get_range(&key, span).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        match (&error, self.store.head(&key).await) {
            (StoreError::NotFound { .. }, _) => Err(ChunkError::Missing { chunk: place.id, pack }),
            // Stores answer a read beyond the end in ways of their own.
            (_, Ok(size)) if size < place.span().end => Err(ChunkError::Corrupt {
                chunk: place.id,
                pack,
                offset: place.offset,
                reason: format!("the pack ends at byte {size}"),
            }),
            (_, Ok(_) | Err(_)) => Err(error.into()),
        }
    }

    async fn read_disk(&self, extents: &[Extent]) -> Vec<Option<Bytes>> {
        let Some(disk) = self.fetcher.disk.clone() else { return vec![None; extents.len()] };
        let wanted = extents.to_vec();
        let read = move || wanted.iter().map(|extent| disk.get(extent)).collect();
        let found: Vec<Option<Bytes>> =
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| vec![None; extents.len()]);
        found.iter().for_each(|part| self.fetcher.lookups.1.count(part.is_some()));
        found
    }

    /// Keeps fetched bytes on disk, in the background; not when the disk is
    /// behind already.
    fn keep_on_disk(&self, extents: &[Extent], parts: &[Option<Bytes>]) {
        let Some(disk) = self.fetcher.disk.clone() else { return };
        let kept: Vec<_> = extents
            .iter()
            .zip(parts)
            .filter_map(|(extent, part)| Some((*extent, part.clone()?)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect();
        let bytes: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
        let room = Arc::clone(&self.fetcher.keeping);
        let Ok(room) = room.try_acquire_many_owned((bytes.div_ceil(1 << 10)) as u32) else {
            return;
        };
        drop(tokio::task::spawn_blocking(move || {
            let _room = room;
            kept.iter().for_each(|(extent, bytes)| disk.put(extent, bytes));
        }));
    }
}

/// Runs a fetch as a task of its own: it goes on when the first reader leaves.
fn launch<F>(fetch: F) -> Flight
where
    F: Future<Output = Result<Arc<[Bytes]>, ChunkError>> + Send + 'static,
{
    let task = tokio::spawn(fetch);
    task.unwrap_or_else(|_| Err(ChunkError::Interrupted)).boxed().shared()
}

/// Ends a flight, however it ends: whoever comes later starts a new one.
struct Landing<'a> {
    inner: &'a Inner,
    extents: &'a [Extent],
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.inner.fetcher.flights);
        for extent in self.extents {
            flights.remove(extent);
        }
    }
}
