//! Getting frames out of the store: caches, single flight, neighbours.
//!
//! A small frame comes with the aligned *segment* of the pack around it, a
//! large one alone. Segments are kept as stored and decoded on use, so that a
//! first touch costs one request and only what is used is ever verified.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, TryFutureExt as _};
use lru::LruCache;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::blobs::Inner;
use super::counts::{CacheStats, Lookups};
use super::disk::{DiskCache, Extent};
use super::memory::Memory;
use super::order::{self, Order, Replay};
use super::pack::pack_key;
use super::parts::Parts;
use super::reference::chunk_id;
use super::{ChunkError, ChunkRef, SMALL, codec, lock};
use crate::model::{ChunkId, Clock, PackId};
use crate::store::StoreError;

/// How many packs' touches are remembered.
const TOUCHED: NonZeroUsize = NonZeroUsize::new(1024).expect("is not zero");
/// Frames from here on are fetched by themselves.
pub(super) const LARGE: u32 = 256 << 10;
/// How many bytes are being fetched at a time, all readers together: so many
/// where there is memory for them.
const IN_FLIGHT: usize = 48 << 20;
const IN_FLIGHT_LEAST: usize = 24 << 20;
/// How many fetched bytes wait at a time to be written to the disk cache: so
/// many, or half of it where there is little memory. What comes when there is
/// no room is not kept.
const KEEPING: usize = 32 << 20;

pub(super) type Flight = Shared<BoxFuture<'static, Result<Arc<[Bytes]>, ChunkError>>>;

/// Caches of fetched parts, and fetches under way.
pub(super) struct Fetcher {
    /// Segments, and large chunks by the place of their frame.
    pub(super) memory: Mutex<Memory>,
    /// What was read in which order; `None` where nothing is fetched from afar.
    pub(super) order: Option<Order>,
    /// Bytes that are on their way ahead of readers.
    pub(super) ahead: AtomicUsize,
    pub(super) disk: Option<Arc<DiskCache>>,
    pub(super) parts: Parts,
    /// How often segments of a pack were fetched.
    pub(super) touched: Mutex<LruCache<PackId, usize>>,
    /// Who wants an extent takes the given part of the flight's result.
    pub(super) flights: Mutex<HashMap<Extent, (Flight, usize)>>,
    pub(super) window: Arc<Semaphore>,
    /// How many bytes are being fetched at a time.
    in_flight: usize,
    /// Room for what waits for the disk, in KiB.
    pub(super) keeping: Arc<Semaphore>,
    /// All of that room.
    pub(super) keeping_kib: u32,
    /// Looks into memory, and into the cache directory.
    pub(super) lookups: (Lookups, Lookups),
}

impl Fetcher {
    /// Caches of `memory` bytes, those for the order of reads included.
    pub fn new(
        memory: usize,
        disk: Option<DiskCache>,
        replay: &Replay,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let in_flight = (memory / 4).clamp(IN_FLIGHT_LEAST, IN_FLIGHT);
        let keeping_kib = ((memory / 8).clamp(KEEPING / 2, KEEPING) >> 10) as u32;
        let notes = memory / order::SHARE;
        let order = Order::open(replay, notes, in_flight / 2, clock);
        let notes = if order.is_some() { notes } else { 0 };
        Self {
            memory: Mutex::new(Memory::new(memory - memory / 16 - notes)),
            order,
            ahead: AtomicUsize::new(0),
            parts: Parts::new(memory / 16),
            disk: disk.map(Arc::new),
            touched: Mutex::new(LruCache::new(TOUCHED)),
            flights: Mutex::default(),
            window: Arc::new(Semaphore::new(in_flight >> 10)),
            in_flight,
            keeping: Arc::new(Semaphore::new(keeping_kib as usize)),
            keeping_kib,
            lookups: Default::default(),
        }
    }

    /// Whether something is being fetched for a reader.
    pub fn is_fetching(&self) -> bool {
        !lock(&self.flights).is_empty()
    }

    /// Hits, misses and bytes so far.
    pub fn stats(&self) -> CacheStats {
        let ((memory_hits, memory_misses), (disk_hits, disk_misses)) =
            (self.lookups.0.read(), self.lookups.1.read());
        let memory_bytes = lock(&self.memory).used() as u64;
        let disk = self.disk.as_ref();
        let ahead = self.order.as_ref().map(Order::outcomes).unwrap_or_default();
        CacheStats {
            memory_hits,
            memory_misses,
            memory_bytes,
            disk_hits,
            disk_misses,
            disk_bytes: disk.map_or(0, |disk| disk.used()),
            disk_budget: disk.map_or(0, |disk| disk.budget()),
            ahead_fetched: ahead.fetched,
            ahead_used: ahead.used,
            ahead_wasted: ahead.wasted,
        }
    }
}

pub(super) fn frame_extent(place: &ChunkRef) -> Extent {
    Extent { pack: place.pack, start: place.offset, len: place.stored }
}

/// The plain bytes of a frame, verified.
pub(super) fn decode(place: &ChunkRef, frame: &Bytes) -> Result<Bytes, ChunkError> {
    decode_with(place, frame, chunk_id)
}

/// [`decode`], with `id` to make the id of plain bytes.
pub(super) fn decode_with(
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
/// [`decode`], on another thread when that is worth it.
pub(super) async fn decode_off_thread(place: &ChunkRef, frame: Bytes) -> Result<Bytes, ChunkError> {
    if place.len as usize <= SMALL {
        return decode(place, &frame);
    }
    let place = *place;
    match tokio::task::spawn_blocking(move || decode(&place, &frame)).await {
        Ok(plain) => plain,
        Err(_) => Err(ChunkError::Interrupted),
    }
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

    /// Waits until so many more bytes may be on their way.
    pub(super) async fn room_on_the_way(
        &self,
        bytes: usize,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        let kib = (bytes >> 10).clamp(1, self.fetcher.in_flight >> 10) as u32;
        self.fetcher.window.acquire_many(kib).await
    }

    /// Bytes `span` of a pack from the store, fewer where it ends earlier;
    /// `place` is what they are wanted for.
    pub(super) async fn fetch(
        &self,
        place: &ChunkRef,
        pack: PackId,
        span: Range<u64>,
    ) -> Result<Bytes, ChunkError> {
        let window = self.room_on_the_way((span.end - span.start) as usize).await;
        let key = pack_key(pack);
        let error = match self.store.get_range(&key, span).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        // Nothing is on its way any more, however long the store takes to say why.
        drop(window);
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

    pub(super) async fn read_disk(&self, extents: &[Extent]) -> Vec<Option<Bytes>> {
        let Some(disk) = self.fetcher.disk.clone() else { return vec![None; extents.len()] };
        let wanted = extents.to_vec();
        let read = move || wanted.iter().map(|extent| disk.get(extent)).collect();
        let found: Vec<Option<Bytes>> =
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| vec![None; extents.len()]);
        found.iter().for_each(|part| self.fetcher.lookups.1.count(part.is_some()));
        found
    }

    /// Keeps fetched segments on disk, in the background.
    pub(super) fn keep_on_disk(&self, extents: &[Extent], parts: &[Option<Bytes>]) {
        let kept = extents.iter().zip(parts);
        self.keep(kept.filter_map(|(e, part)| Some((*e, part.clone()?, Bytes::new()))).collect());
    }

    /// Keeps bytes on disk with their chaining values, in the background; not
    /// when the disk is behind already.
    pub(super) fn keep(&self, mut kept: Vec<(Extent, Bytes, Bytes)>) {
        let Some(disk) = self.fetcher.disk.clone() else { return };
        kept.retain(|(_, bytes, _)| !bytes.is_empty());
        let bytes: usize = kept.iter().map(|(_, bytes, _)| bytes.len()).sum();
        let room = Arc::clone(&self.fetcher.keeping);
        let Ok(room) = room.try_acquire_many_owned((bytes.div_ceil(1 << 10)) as u32) else {
            return;
        };
        drop(tokio::task::spawn_blocking(move || {
            let _room = room;
            kept.iter().for_each(|(extent, bytes, values)| disk.put(extent, bytes, values));
        }));
    }
}

/// Runs a fetch as a task of its own: it goes on when the first reader leaves.
pub(super) fn launch<F>(fetch: F) -> Flight
where
    F: Future<Output = Result<Arc<[Bytes]>, ChunkError>> + Send + 'static,
{
    let task = tokio::spawn(fetch);
    task.unwrap_or_else(|_| Err(ChunkError::Interrupted)).boxed().shared()
}

/// Ends a flight, however it ends: whoever comes later starts a new one.
pub(super) struct Landing<'a> {
    pub inner: &'a Inner,
    pub extents: &'a [Extent],
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.inner.fetcher.flights);
        for extent in self.extents {
            flights.remove(extent);
        }
    }
}
