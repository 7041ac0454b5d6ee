//! The store of blobs: one per process, shared by all readers and writers.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::Semaphore;

use super::budget::Room;
use super::disk::DiskCache;
use super::fetch::Fetcher;
use super::order::Replay;
use super::pack::{Footer, PackBuilder, TRAILER_LEN, pack_key, parse_footer};
use super::presence::Presence;
use super::whole::Compared;
use super::{CacheStats, ChunkError, ChunkRef, PackWriter, lock};
use crate::model::{ChunkId, Clock, PackId};
use crate::store::{Store, StoreError};

/// Bytes kept in memory by [`Blobs::afresh`].
const AFRESH: usize = 16 << 20;

/// Budgets and sizes of a [`Blobs`].
#[derive(Debug, Clone)]
pub struct BlobConfig {
    /// Bytes of read content kept in memory.
    pub memory: usize,
    /// Bytes of packs being filled or uploaded, all writers together; at least
    /// twice [`super::BLOB_MAX`] is taken.
    pub write_buffer: usize,
    /// Bytes at which a pack is closed.
    pub pack_size: usize,
    /// How many chunks are remembered to be stored only once.
    pub index_entries: usize,
    /// Where what was fetched is kept across restarts, and how many bytes.
    pub disk: Option<(PathBuf, u64)>,
    /// Whether reads in the order of earlier ones are foreseen.
    pub replay: Replay,
}

impl Default for BlobConfig {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            write_buffer: 96 << 20,
            pack_size: 32 << 20,
            index_entries: 128 << 10,
            disk: None,
            replay: Replay::Off,
        }
    }
}

/// Reads and writes blobs; a cheap clone. Use it inside a tokio runtime.
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
    /// Chunks known to be durable, by content.
    index: Mutex<LruCache<ChunkId, ChunkRef>>,
    /// How many bytes writers may hold.
    pub room: Room,
    /// How many large chunks are hashed and compressed at a time.
    pub cpu: Arc<Semaphore>,
    pub fetcher: Fetcher,
    /// Files in the cache directory that are what they should be.
    pub compared: Compared,
    pub presence: Arc<Presence>,
}

impl Inner {
    /// Where a chunk is known to be durable.
    pub fn find(&self, id: &ChunkId) -> Option<ChunkRef> {
        lock(&self.index).get(id).copied()
    }

    /// Remembers where durable chunks are.
    pub fn remember<'r>(&self, places: impl IntoIterator<Item = &'r ChunkRef>) {
        let mut index = lock(&self.index);
        for place in places {
            index.put(place.id, *place);
        }
    }

    /// Forgets the chunks of packs that are gone.
    pub fn forget(&self, gone: &HashSet<PackId>) {
        let mut index = lock(&self.index);
        let lost: Vec<ChunkId> =
            index.iter().filter(|(_, p)| gone.contains(&p.pack)).map(|(id, _)| *id).collect();
        for id in lost {
            index.pop(&id);
        }
    }
}

impl Blobs {
    /// A store of blobs in `store`.
    ///
    /// A cache directory that cannot be used is logged and done without.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, config: BlobConfig) -> Self {
        Self::with_presence(store, clock, config, Arc::new(Presence::new()))
    }

    /// The same store, read past every cache of this one: for checking what is
    /// really there. What it finds missing or damaged is known here, too.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let Inner { store, clock, presence, .. } = &*self.inner;
        let config = BlobConfig { memory: AFRESH, index_entries: 1, ..BlobConfig::default() };
        Self::with_presence(store.clone(), Arc::clone(clock), config, Arc::clone(presence))
    }

    fn with_presence(
        store: Store,
        clock: Arc<dyn Clock>,
        config: BlobConfig,
        presence: Arc<Presence>,
    ) -> Self {
        let entries = NonZeroUsize::new(config.index_entries).unwrap_or(NonZeroUsize::MIN);
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let disk = config.disk.as_ref().and_then(|(dir, budget)| {
            let opened = DiskCache::open(dir, *budget, Arc::clone(&clock));
            let log = |error: &std::io::Error| {
                tracing::warn!(dir = %dir.display(), %error, "no cache: cannot use its directory");
            };
            opened.inspect_err(log).ok()
        });
        let far = store.local_path("").is_none();
        let replay = if far { &config.replay } else { &Replay::Off };
        let inner = Inner {
            fetcher: Fetcher::new(config.memory, disk, replay, Arc::clone(&clock)),
            room: Room::new(config.write_buffer),
            cpu: Arc::new(Semaphore::new(cores + 1)),
            index: Mutex::new(LruCache::new(entries)),
            live: Mutex::default(),
            compared: Compared::default(),
            presence,
            store,
            clock,
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// What the caches were asked so far, and what they hold.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.fetcher.stats()
    }

    /// Where what was fetched is kept across restarts.
    #[must_use]
    pub fn cache_directory(&self) -> Option<&std::path::Path> {
        self.inner.fetcher.disk.as_ref().map(|disk| disk.dir())
    }

    /// A writer of new blobs. Several may work at once.
    #[must_use]
    pub fn writer(&self) -> PackWriter {
        PackWriter::new(self.clone())
    }

    /// The plain bytes of a chunk, verified against its id.
    ///
    /// Small chunks bring their neighbours in the pack with them into the
    /// cache; readers of one place wait for one fetch.
    pub async fn read(&self, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        match self.live_frame(place) {
            Some(frame) => super::fetch::decode(place, &frame),
            None => self.inner.read(place).await,
        }
    }

    /// Bytes `part` of the plain bytes of a chunk, verified; of a large one
    /// seen before not the rest is read again.
    pub async fn read_some(
        &self,
        place: &ChunkRef,
        part: std::ops::Range<usize>,
    ) -> Result<Bytes, ChunkError> {
        match self.live_frame(place) {
            Some(frame) => Ok(super::fetch::decode(place, &frame)?.slice(part)),
            None => self.inner.read_some(place, part).await,
        }
    }

    /// How many bytes may be fetched now ahead of readers: what was and has not
    /// been read yet takes up at most half of the memory.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.inner.room_ahead()
    }

    /// Begins to fetch what will be read soon.
    pub fn prefetch(&self, places: &[ChunkRef]) {
        let durable = places.iter().filter(|place| self.live_frame(place).is_none());
        self.inner.prefetch(&durable.copied().collect::<Vec<_>>());
    }

    /// [`Blobs::read`] of many, in order; neighbours in a pack are fetched
    /// together. Holds all of them in memory.
    pub async fn read_many(&self, places: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let mut out = Vec::with_capacity(places.len());
        for group in super::large::groups(places, super::large::RUN) {
            out.extend(self.read_group(&places[group]).await?);
        }
        Ok(out)
    }

    /// Reads chunks that lie one behind the other in one pack by one request.
    pub(super) async fn read_group(&self, places: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        match places {
            [one] => Ok(vec![self.read(one).await?]),
            many if many.iter().any(|place| self.live_frame(place).is_some()) => {
                let mut out = Vec::with_capacity(many.len());
                for place in many {
                    out.push(self.read(place).await?);
                }
                Ok(out)
            }
            many => self.inner.read_run(many).await,
        }
    }

    fn live_frame(&self, place: &ChunkRef) -> Option<Bytes> {
        let pack = lock(&self.inner.live).get(&place.pack).cloned()?;
        lock(&pack).frame(place)
    }

    /// Whether a pack is in the store.
    pub async fn has_pack(&self, pack: PackId) -> Result<bool, StoreError> {
        match self.inner.store.head(&pack_key(pack)).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a pack says it holds, in the order it lies there.
    pub async fn pack_index(&self, pack: PackId) -> Result<Vec<ChunkRef>, ChunkError> {
        let key = pack_key(pack);
        let mut wanted = 64 << 10;
        loop {
            let end = match self.inner.store.get_last(&key, wanted).await {
                Ok(end) => end,
                Err(StoreError::NotFound { .. }) => {
                    let reason = "it is missing from the store".to_owned();
                    return Err(ChunkError::CorruptPack { pack, reason });
                }
                Err(error) => return Err(error.into()),
            };
            match parse_footer(pack, &end)? {
                Footer::Whole(index) => return Ok(index.places),
                Footer::Longer(needed) if (end.len() as u64) < wanted => {
                    let reason = format!("its index should have {} bytes", needed - TRAILER_LEN);
                    return Err(ChunkError::CorruptPack { pack, reason });
                }
                Footer::Longer(needed) => wanted = needed as u64,
            }
        }
    }

    /// Remembers what a pack holds, so that it is not stored again.
    pub async fn learn_pack(&self, pack: PackId) -> Result<(), ChunkError> {
        let places = self.pack_index(pack).await?;
        self.inner.remember(&places);
        Ok(())
    }

    /// Every pack in the store with its size and time, in no particular order.
    pub async fn packs(&self) -> Result<Vec<(PackId, crate::store::ObjectInfo)>, ChunkError> {
        let found = self.inner.store.list_sorted("packs").await?;
        let named = found.into_iter().filter_map(|info| {
            let pack = info.key.rsplit('/').next()?.parse().ok()?;
            Some((pack, info))
        });
        Ok(named.collect())
    }

    /// Learns the `count` packs written last; see [`Blobs::learn_pack`].
    pub async fn learn_recent(&self, count: usize) -> Result<(), ChunkError> {
        let mut packs = self.packs().await?;
        packs.sort_by_key(|(_, info)| std::cmp::Reverse(info.modified));
        // The newest last, so that it is remembered longest.
        for (pack, _) in packs.into_iter().take(count).rev() {
            self.learn_pack(pack).await?;
        }
        Ok(())
    }

    /// Forgets chunks of packs that are about to be removed, so that nothing
    /// new refers to them.
    pub fn forget_packs(&self, gone: &HashSet<PackId>) {
        self.inner.forget(gone);
    }

    /// Whether new content may refer to a place: its pack is there, and no
    /// reading of it failed. Asks the store once a minute for each pack.
    pub async fn holds(&self, place: &ChunkRef) -> Result<bool, ChunkError> {
        self.inner.holds(place).await
    }
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({})", self.inner.store)
    }
}
