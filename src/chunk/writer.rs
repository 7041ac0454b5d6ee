//! Writing blobs into packs.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::pack::{PackBuilder, pack_key};
use super::reference::chunk_id;
use super::{BLOB_MAX, Blobs, ChunkError, ChunkRef, codec};

/// Stores blobs, many to an object; clones write into the same packs.
///
/// What was appended can be read at once through the same [`Blobs`], and is
/// durable once [`PackWriter::flush`] returned. A writer dropped before that
/// leaves at most objects that nobody refers to.
#[derive(Clone)]
pub struct PackWriter {
    blobs: Blobs,
    open: Arc<Mutex<Option<Arc<Mutex<PackBuilder>>>>>,
}

impl PackWriter {
    pub(super) fn new(blobs: Blobs) -> Self {
        Self { blobs, open: Arc::default() }
    }

    /// Where the blobs go.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Stores a blob, or finds that it is stored already.
    pub async fn append(&self, plain: Bytes) -> Result<ChunkRef, ChunkError> {
        self.append_dedup(plain, &[]).await
    }

    /// Like [`PackWriter::append`]; `known` are chunks likely to be the same,
    /// such as those of the previous version.
    pub async fn append_dedup(
        &self,
        plain: Bytes,
        known: &[ChunkRef],
    ) -> Result<ChunkRef, ChunkError> {
        if plain.len() > BLOB_MAX {
            return Err(ChunkError::TooLarge { size: plain.len() });
        }
        let id = chunk_id(&plain);
        if let Some(place) = known.iter().find(|place| place.id == id) {
            return Ok(*place);
        }
        let inner = &self.blobs.inner;
        if let Some(place) = inner.index.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(*place);
        }
        let len = plain.len();
        let frame = codec::encode(plain);
        let (place, full) = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let pack = open.get_or_insert_with(|| {
                let id = inner.clock.pack_id();
                let pack = Arc::new(Mutex::new(PackBuilder::new(id)));
                let mut live = inner.live.lock().unwrap_or_else(PoisonError::into_inner);
                live.insert(id, Arc::clone(&pack));
                pack
            });
            let mut builder = pack.lock().unwrap_or_else(PoisonError::into_inner);
            let place = builder.add(id, len, frame);
            (place, builder.len() >= inner.config.pack_size)
        };
        if full {
            self.flush().await?;
        }
        Ok(place)
    }

    /// Returns when everything appended so far is durable.
    pub async fn flush(&self) -> Result<(), ChunkError> {
        let taken = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pack) = taken else { return Ok(()) };
        let (id, (parts, refs)) = {
            let mut builder = pack.lock().unwrap_or_else(PoisonError::into_inner);
            (builder.id(), builder.seal())
        };
        let inner = &self.blobs.inner;
        let put = inner.store.put_parts(&pack_key(id), &parts).await;
        inner.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        put?;
        let mut index = inner.index.lock().unwrap_or_else(PoisonError::into_inner);
        for place in refs {
            index.put(place.id, place);
        }
        Ok(())
    }
}
