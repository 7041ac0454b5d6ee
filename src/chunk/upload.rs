//! A writer's pack being filled, and those on their way to the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::blobs::Inner;
use super::budget::{Leaving, Taken};
use super::codec::Frame;
use super::pack::{PackBuilder, pack_key};
use super::{ChunkError, ChunkRef, lock};
use crate::model::{ChunkId, PackId};

/// What the clones of one writer share.
pub(super) struct Filling {
    inner: Arc<Inner>,
    state: Mutex<State>,
    /// Told whenever an upload ends.
    ended: Notify,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Mutex<PackBuilder>>>,
    /// Room taken for the open pack.
    taken: Option<Taken>,
    /// Chunks in packs that are not durable yet.
    pending: HashMap<ChunkId, ChunkRef>,
    uploads: Vec<AbortHandle>,
    /// How many uploads have not ended.
    running: usize,
    failed: Option<ChunkError>,
}

/// What came of laying a frame into the open pack.
pub(super) enum Laid {
    /// It is there.
    Placed(ChunkRef),
    /// So many more bytes of room are needed first; the frame comes back.
    NoRoom(usize, Frame),
}

impl Filling {
    pub fn new(inner: Arc<Inner>) -> Arc<Self> {
        let filling = Arc::new(Self { inner, state: Mutex::default(), ended: Notify::new() });
        filling.inner.room.register(&filling);
        filling
    }

    /// Where this writer put a chunk that may not be durable yet.
    pub fn find(&self, id: &ChunkId) -> Option<ChunkRef> {
        lock(&self.state).pending.get(id).copied()
    }

    /// Bytes of room the open pack holds.
    pub fn held(&self) -> usize {
        lock(&self.state).taken.as_ref().map_or(0, Taken::size)
    }

    /// Adds room for the open pack.
    pub fn give(&self, room: Taken) {
        let mut state = lock(&self.state);
        match &mut state.taken {
            Some(taken) => taken.merge(room),
            none => *none = Some(room),
        }
    }

    /// Lays a frame into the open pack; opens and closes packs as needed.
    ///
    /// Fails with what an upload failed with: the writer is of no use then.
    pub fn lay(
        self: &Arc<Self>,
        id: ChunkId,
        len: usize,
        frame: Frame,
    ) -> Result<Laid, ChunkError> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if let Some(place) = state.pending.get(&id) {
            return Ok(Laid::Placed(*place));
        }
        let used = state.open.as_ref().map_or(0, |pack| lock(pack).len());
        let room = state.taken.as_ref().map_or(0, Taken::size);
        let needed = used + frame.stored();
        if needed > room {
            return Ok(Laid::NoRoom(needed - room, frame));
        }
        let pack = Arc::clone(state.open.get_or_insert_with(|| self.open_pack()));
        let (place, full) = {
            let mut builder = lock(&pack);
            let place = builder.add(id, len, frame);
            (place, builder.len() >= self.inner.config.pack_size)
        };
        state.pending.insert(id, place);
        if full {
            self.close_pack(&mut state);
        }
        Ok(Laid::Placed(place))
    }

    fn open_pack(&self) -> Arc<Mutex<PackBuilder>> {
        let id = self.inner.clock.pack_id();
        let pack = Arc::new(Mutex::new(PackBuilder::new(id)));
        lock(&self.inner.live).insert(id, Arc::clone(&pack));
        pack
    }

    /// Sends the open pack on its way, full or not.
    pub fn close(self: &Arc<Self>) {
        self.close_pack(&mut lock(&self.state));
    }

    fn close_pack(self: &Arc<Self>, state: &mut State) {
        let Some(pack) = state.open.take() else {
            // Room taken by an append that was given up.
            state.taken = None;
            return;
        };
        let (id, (parts, places)) = {
            let mut builder = lock(&pack);
            (builder.id(), builder.seal())
        };
        let upload = Upload {
            inner: Arc::clone(&self.inner),
            writer: Arc::downgrade(self),
            id,
            places,
            outcome: Err(ChunkError::Interrupted),
            _room: state.taken.take().map(|taken| self.inner.room.leave(taken)),
        };
        state.running += 1;
        state.uploads.retain(|upload| !upload.is_finished());
        state.uploads.push(tokio::spawn(upload.run(parts)).abort_handle());
    }

    /// Returns when no upload runs; fails with what one failed with.
    pub async fn settle(&self) -> Result<(), ChunkError> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let state = lock(&self.state);
                match &state.failed {
                    Some(error) => return Err(error.clone()),
                    None if state.running == 0 => return Ok(()),
                    None => {}
                }
            }
            ended.await;
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.uploads.iter().for_each(AbortHandle::abort);
        if let Some(pack) = state.open.take() {
            let id = lock(&pack).id();
            lock(&self.inner.live).remove(&id);
        }
    }
}

/// A pack on its way to the store; its end is recorded on drop, so that it is
/// when the task is aborted, too.
struct Upload {
    inner: Arc<Inner>,
    writer: Weak<Filling>,
    id: PackId,
    places: Vec<ChunkRef>,
    outcome: Result<(), ChunkError>,
    _room: Option<Leaving>,
}

impl Upload {
    async fn run(mut self, parts: Vec<Bytes>) {
        let put = self.inner.store.put_parts(&pack_key(self.id), &parts).await;
        self.outcome = put.map_err(ChunkError::from);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.outcome.is_ok() {
            let end = self.places.iter().map(|place| place.span().end).max();
            self.inner.presence.saw(self.id, self.inner.clock.now(), end);
            self.inner.remember(&self.places);
        }
        lock(&self.inner.live).remove(&self.id);
        let Some(writer) = self.writer.upgrade() else { return };
        let mut state = lock(&writer.state);
        state.running -= 1;
        for place in &self.places {
            state.pending.remove(&place.id);
        }
        if let Err(error) = &self.outcome {
            state.failed.get_or_insert_with(|| error.clone());
        }
        drop(state);
        writer.ended.notify_waiters();
    }
}
