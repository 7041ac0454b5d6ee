//! Writing blobs into packs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::codec::{self, Frame};
use super::groups::outboard;
use super::upload::{Filling, Laid};
use super::{BLOB_MAX, Blobs, ChunkError, ChunkRef, SMALL};
use crate::model::ChunkId;

/// Stores blobs, many to an object; clones write into the same packs.
///
/// What was appended can be read at once through the same [`Blobs`], and is
/// durable once [`PackWriter::flush`] returned. A writer dropped before that
/// leaves at most objects that nobody refers to. After a failed upload every
/// call fails with its error.
#[derive(Clone)]
pub struct PackWriter {
    blobs: Blobs,
    filling: Arc<Filling>,
}

/// A blob hashed and, unless it is stored already, ready to be laid down.
pub(super) enum Encoded {
    Known { place: ChunkRef, plain: Bytes },
    New { id: ChunkId, len: usize, frame: Frame },
}

/// A blob being encoded.
pub(super) enum Encoding {
    Done(Encoded),
    Running(JoinHandle<Encoded>),
}

/// A blob that has its place.
pub(super) struct Placed {
    pub place: ChunkRef,
    /// Whether it was stored already.
    pub known: bool,
}

/// Chunks likely to come again, by content.
pub(super) type Known = Arc<HashMap<ChunkId, ChunkRef>>;

impl PackWriter {
    pub(super) fn new(blobs: Blobs) -> Self {
        let filling = Filling::new(Arc::clone(&blobs.inner));
        Self { blobs, filling }
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
        let known = Arc::new(known.iter().map(|place| (place.id, *place)).collect());
        let encoding = self.encode(plain, &known, false).await?;
        Ok(self.place(encoding).await?.place)
    }

    /// Starts encoding a blob; returns at once for a large one, unless all
    /// processors are busy with others. One that is `alone` in a larger buffer
    /// is copied out of it rather than keep all of it while it waits.
    pub(super) async fn encode(
        &self,
        plain: Bytes,
        known: &Known,
        alone: bool,
    ) -> Result<Encoding, ChunkError> {
        if plain.len() > BLOB_MAX {
            return Err(ChunkError::TooLarge { size: plain.len() });
        }
        if plain.len() <= SMALL {
            return Ok(Encoding::Done(self.encode_here(plain, known, alone)));
        }
        let permit = Arc::clone(&self.blobs.inner.cpu).acquire_owned().await;
        let (writer, known) = (self.clone(), Arc::clone(known));
        Ok(Encoding::Running(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            writer.encode_here(plain, &known, alone)
        })))
    }

    fn encode_here(&self, plain: Bytes, known: &Known, alone: bool) -> Encoded {
        let ((id, values), len) = (outboard(&plain), plain.len());
        let found = known.get(&id).copied();
        let found = found.or_else(|| self.filling.find(&id));
        match found.or_else(|| self.blobs.inner.find(&id)) {
            Some(place) => Encoded::Known { place, plain },
            None => {
                let frame = Frame { values, ..codec::encode(plain, alone) };
                Encoded::New { id, len, frame }
            }
        }
    }

    /// Lays an encoded blob into the open pack, waiting for room. One whose
    /// pack was lost is stored anew.
    pub(super) async fn place(&self, encoding: Encoding) -> Result<Placed, ChunkError> {
        let encoded = match encoding {
            Encoding::Done(encoded) => encoded,
            Encoding::Running(task) => task.await.map_err(|_| ChunkError::Interrupted)?,
        };
        let (id, len, frame) = match encoded {
            Encoded::Known { place, .. } if self.blobs.inner.holds(&place).await? => {
                return Ok(Placed { place, known: true });
            }
            Encoded::Known { place, plain } => {
                let encode = move || codec::encode(plain, true);
                let frame = tokio::task::spawn_blocking(encode).await;
                (place.id, place.len as usize, frame.map_err(|_| ChunkError::Interrupted)?)
            }
            Encoded::New { id, len, frame } => (id, len, frame),
        };
        let place = self.lay(id, len, frame).await?;
        Ok(Placed { place, known: false })
    }

    async fn lay(&self, id: ChunkId, len: usize, mut frame: Frame) -> Result<ChunkRef, ChunkError> {
        loop {
            match self.filling.lay(id, len, frame)? {
                Laid::Placed(place) => return Ok(place),
                Laid::NoRoom(missing, back) => {
                    frame = back;
                    let room = self.blobs.inner.room.take(missing, &self.filling).await?;
                    self.filling.give(room);
                }
            }
        }
    }

    /// Returns when everything appended so far is durable.
    pub async fn flush(&self) -> Result<(), ChunkError> {
        self.filling.close();
        self.filling.settle().await
    }
}

impl std::fmt::Debug for PackWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackWriter({})", self.blobs.store())
    }
}
