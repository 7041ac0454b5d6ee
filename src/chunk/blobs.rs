//! The store of blobs: one per process, shared by all readers and writers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::pack::{PackBuilder, pack_key};
use super::reference::chunk_id;
use super::{ChunkError, ChunkRef, PackWriter, codec};
use crate::model::{ChunkId, Clock, PackId};
use crate::store::{Store, StoreError};

/// Budgets and sizes of a [`Blobs`].
#[derive(Debug, Clone)]
pub struct BlobConfig {
    /// Bytes of read content kept in memory.
    pub memory: usize,
    /// Bytes of packs being filled or uploaded, all writers together.
    pub write_buffer: usize,
    /// Bytes at which a pack is closed.
    pub pack_size: usize,
    /// How many chunks are remembered to be stored only once.
    pub index_entries: usize,
    /// Where what was fetched is kept across restarts, and how many bytes.
    pub disk: Option<(PathBuf, u64)>,
}

impl Default for BlobConfig {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            write_buffer: 96 << 20,
            pack_size: 32 << 20,
            index_entries: 128 << 10,
            disk: None,
        }
    }
}

/// Reads and writes blobs; a cheap clone.
#[derive(Clone)]
pub struct Blobs {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub config: BlobConfig,
    /// Packs that are not durable yet: readable all the same.
    pub live: Mutex<HashMap<PackId, Arc<Mutex<PackBuilder>>>>,
    pub index: Mutex<lru::LruCache<ChunkId, ChunkRef>>,
    pub room: Arc<Semaphore>,
}

impl Blobs {
    /// A store of blobs in `store`.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, config: BlobConfig) -> Self {
        let entries = std::num::NonZeroUsize::new(config.index_entries)
            .unwrap_or(std::num::NonZeroUsize::MIN);
        let room = Arc::new(Semaphore::new(config.write_buffer >> 10));
        let index = Mutex::new(lru::LruCache::new(entries));
        let live = Mutex::default();
        Self { inner: Arc::new(Inner { store, clock, config, live, index, room }) }
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// A writer of new blobs. Several may work at once.
    #[must_use]
    pub fn writer(&self) -> PackWriter {
        PackWriter::new(self.clone())
    }

    /// The plain bytes of a chunk, verified against its id.
    pub async fn read(&self, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        let frame = match self.live_frame(place) {
            Some(frame) => frame,
            None => self.fetch(place).await?,
        };
        decode(place, &frame)
    }

    /// [`Blobs::read`] of many, in order.
    pub async fn read_many(&self, places: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let mut out = Vec::with_capacity(places.len());
        for place in places {
            out.push(self.read(place).await?);
        }
        Ok(out)
    }

    fn live_frame(&self, place: &ChunkRef) -> Option<Bytes> {
        let live = self.inner.live.lock().unwrap_or_else(PoisonError::into_inner);
        let pack = Arc::clone(live.get(&place.pack)?);
        drop(live);
        pack.lock().unwrap_or_else(PoisonError::into_inner).frame(place)
    }

    async fn fetch(&self, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        match self.inner.store.get_range(&pack_key(place.pack), place.span()).await {
            Ok(frame) => Ok(frame),
            Err(StoreError::NotFound { .. }) => {
                Err(ChunkError::Missing { chunk: place.id, pack: place.pack })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn decode(place: &ChunkRef, frame: &Bytes) -> Result<Bytes, ChunkError> {
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
    match chunk_id(&plain) == place.id {
        true => Ok(plain),
        false => Err(corrupt("its bytes do not match its hash".to_owned())),
    }
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({})", self.inner.store)
    }
}
