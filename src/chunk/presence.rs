//! Which places of the store new content may refer to.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use lru::LruCache;

use super::blobs::Inner;
use super::pack::pack_key;
use super::{ChunkError, ChunkRef, lock};
use crate::model::{PackId, Timestamp};
use crate::store::StoreError;

/// How long what the store said of a pack counts, in nanoseconds.
const FRESH: i64 = 60 * 1_000_000_000;
/// Packs remembered.
const PACKS: NonZeroUsize = NonZeroUsize::new(16 << 10).unwrap();
/// Damaged places remembered.
const DAMAGED: NonZeroUsize = NonZeroUsize::new(64 << 10).unwrap();

/// What is known of packs, whether by asking or by reading.
///
/// Content that is stored already is not stored again, so it must be there:
/// else putting what was lost would not bring it back.
pub(super) struct Presence {
    packs: Mutex<LruCache<PackId, Seen>>,
    damaged: Mutex<LruCache<(PackId, u32), ()>>,
}

/// What the store said of a pack.
#[derive(Clone, Copy)]
struct Seen {
    at: Timestamp,
    /// Its size; `None` when it was missing.
    size: Option<u64>,
}

impl Presence {
    pub fn new() -> Self {
        Self {
            packs: Mutex::new(LruCache::new(PACKS)),
            damaged: Mutex::new(LruCache::new(DAMAGED)),
        }
    }

    /// Records that a pack has so many bytes, or is missing.
    pub fn saw(&self, pack: PackId, at: Timestamp, size: Option<u64>) {
        lock(&self.packs).put(pack, Seen { at, size });
    }

    /// What was seen of a pack lately.
    fn fresh(&self, pack: PackId, now: Timestamp) -> Option<Seen> {
        let seen = lock(&self.packs).get(&pack).copied()?;
        (now.as_nanos().saturating_sub(seen.at.as_nanos()) < FRESH).then_some(seen)
    }
}

impl Inner {
    /// Whether new content may refer to a place: its pack is there and long
    /// enough, and reading it has not failed. Asks the store once a minute for
    /// each pack, not for each place.
    pub async fn holds(&self, place: &ChunkRef) -> Result<bool, ChunkError> {
        if lock(&self.presence.damaged).contains(&(place.pack, place.offset)) {
            return Ok(false);
        }
        let now = self.clock.now();
        let size = match self.presence.fresh(place.pack, now) {
            Some(seen) => seen.size,
            None if lock(&self.live).contains_key(&place.pack) => return Ok(true),
            None => self.look(place.pack, now).await?,
        };
        Ok(size.is_some_and(|size| place.span().end <= size))
    }

    /// Asks the store for the size of a pack.
    async fn look(&self, pack: PackId, now: Timestamp) -> Result<Option<u64>, ChunkError> {
        match self.store.head(&pack_key(pack)).await {
            Ok(size) => {
                self.presence.saw(pack, now, Some(size));
                Ok(Some(size))
            }
            Err(StoreError::NotFound { .. }) => {
                self.lose(pack);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lose(&self, pack: PackId) {
        self.presence.saw(pack, self.clock.now(), None);
        self.forget(&[pack].into());
    }

    /// Learns from a read that failed what must not be referred to.
    pub fn distrust(&self, error: &ChunkError) {
        match error {
            ChunkError::Missing { pack, .. } => self.lose(*pack),
            ChunkError::Corrupt { pack, offset, .. } => {
                lock(&self.presence.damaged).put((*pack, *offset), ());
            }
            ChunkError::Store(_)
            | ChunkError::CorruptPack { .. }
            | ChunkError::ShortRead { .. }
            | ChunkError::TooLarge { .. }
            | ChunkError::Interrupted => {}
        }
    }
}
