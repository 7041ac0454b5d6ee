//! Large frames: each by itself, or those that lie one behind the other by one
//! request.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::ahead::alone;
use super::blobs::Inner;
use super::buffers::Buffer;
use super::disk::Extent;
use super::fetch::{LARGE, Landing, decode_with, frame_extent, launch};
use super::groups::outboard;
use super::pack::pack_key;
use super::{ChunkError, ChunkRef, lock};
use crate::store::waits::{self, WaitFor};

/// How much of a pack one request fetches for neighbouring large chunks.
pub(super) const RUN: u32 = 4 << 20;
/// The same ahead of a reader, who does not wait for it.
pub(super) const RUN_AHEAD: u32 = 12 << 20;

/// Cuts a list of chunks into runs of up to `most` bytes that one request each
/// can fetch.
pub(super) fn groups(places: &[ChunkRef], most: u32) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(group) = groups.last_mut() {
            let (first, last) = (&places[group.start], &places[at - 1]);
            let adjoining = last.pack == place.pack && last.offset + last.stored == place.offset;
            let large = last.stored >= LARGE && place.stored >= LARGE;
            if adjoining && large && place.offset + place.stored - first.offset <= most {
                group.end = at + 1;
                continue;
            }
        }
        groups.push(at..at + 1);
    }
    groups
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

impl Inner {
    /// Bytes `part` of a chunk in a durable pack.
    pub async fn read_some(
        self: &Arc<Self>,
        place: &ChunkRef,
        part: Range<usize>,
    ) -> Result<Bytes, ChunkError> {
        if place.stored >= LARGE {
            let kept = lock(&self.fetcher.memory).read_chunk(&frame_extent(place));
            if let Some((plain, first)) = kept {
                if first {
                    self.touched(alone(place));
                }
                self.finish(place, &part);
                return Ok(plain.slice(part));
            }
            if let Some(bytes) = self.read_part(place, &part).await {
                self.touched_on_disk(alone(place));
                return Ok(bytes);
            }
        }
        let plain = self.read(place).await?;
        self.finish(place, &part);
        Ok(plain.slice(part))
    }

    /// Lets go of a chunk that was read to its end: the kernel caches a pack of
    /// this machine, and the memory is of use for the next chunk at once.
    fn finish(&self, place: &ChunkRef, part: &Range<usize>) {
        if part.end == place.len as usize && self.local_pack(place.pack).is_some() {
            lock(&self.fetcher.memory).finish(&frame_extent(place));
        }
    }

    pub(super) async fn read_large(
        self: &Arc<Self>,
        place: &ChunkRef,
    ) -> Result<Bytes, ChunkError> {
        let extent = frame_extent(place);
        let found = lock(&self.fetcher.memory).read_chunk(&extent);
        self.fetcher.lookups.0.count(found.is_some());
        if let Some((plain, first)) = found {
            if first {
                self.touched(alone(place));
            }
            return Ok(plain);
        }
        let (flight, part) = {
            let mut flights = lock(&self.fetcher.flights);
            match flights.get(&extent) {
                Some(under_way) => under_way.clone(),
                None => {
                    let flight = launch(Arc::clone(self).fetch_large(*place));
                    flights.insert(extent, (flight.clone(), 0));
                    (flight, 0)
                }
            }
        };
        let plain = waits::on(WaitFor::Content, flight).await?[part].clone();
        // It counts as read now.
        let kept = lock(&self.fetcher.memory).read_chunk(&extent);
        if kept.is_none_or(|(_, first)| first) {
            self.touched(alone(place));
        }
        Ok(plain)
    }

    async fn fetch_large(self: Arc<Self>, place: ChunkRef) -> Result<Arc<[Bytes]>, ChunkError> {
        let extents = [frame_extent(&place)];
        let _landing = Landing { inner: &self, extents: &extents };
        let here = match self.fetcher.disk {
            Some(_) => self.cached_chunk(&place).await,
            None => self.local_run(&[place]).await.and_then(|mut plain| plain.pop()),
        };
        let plain = match here {
            Some(plain) => plain,
            None => self.fetch_one(&place, &extents).await?,
        };
        lock(&self.fetcher.memory).put_run([(extents[0], plain.clone())]);
        Ok([plain].into())
    }

    async fn fetch_one(
        self: &Arc<Self>,
        place: &ChunkRef,
        extents: &[Extent; 1],
    ) -> Result<Bytes, ChunkError> {
        let plain = match self.read_disk(extents).await.pop().flatten() {
            Some(frame) => self.decode_cached(place, frame).await,
            None => self.fetch_frame(place).await,
        };
        match plain {
            Err(ChunkError::Corrupt { .. }) => self.fetch_frame(place).await,
            outcome => outcome,
        }
    }

    async fn decode_cached(&self, place: &ChunkRef, frame: Bytes) -> Result<Bytes, ChunkError> {
        let known = !self.fetcher.parts.known(place).is_empty();
        let plain = self.decode_one(place, frame).await?;
        if !known {
            self.complete_on_disk(place);
        }
        Ok(plain)
    }

    /// Sees to it that the chaining values of a chunk are with it in the cache
    /// directory.
    fn complete_on_disk(&self, place: &ChunkRef) {
        let (values, extent) = (self.fetcher.parts.known(place), frame_extent(place));
        if let Some(disk) = self.fetcher.disk.clone()
            && !values.is_empty()
        {
            drop(tokio::task::spawn_blocking(move || disk.add_values(&extent, &values)));
        }
    }

    /// A large chunk out of the cache directory; `None` where it is not known to
    /// be there, and when it is damaged.
    async fn cached_chunk(&self, place: &ChunkRef) -> Option<Bytes> {
        let file = self.cached(frame_extent(place))?;
        let complete = self.fetcher.parts.may_lie_in(place, &file);
        let plain = self.read_frames(file, 0, &[*place]).await?.pop()?;
        self.fetcher.lookups.1.count(true);
        if !complete {
            self.complete_on_disk(place);
        }
        Some(plain)
    }

    /// Large chunks that lie one behind the other in a pack on this machine.
    async fn local_run(&self, run: &[ChunkRef]) -> Option<Vec<Bytes>> {
        let first = run.first()?;
        self.read_frames(self.local_pack(first.pack)?, first.span().start, run).await
    }

    /// Frames that lie one behind the other from `at` of a file: read, verified
    /// and noted at one go. `None` where that fails; the way through the store
    /// says why.
    async fn read_frames(&self, file: Arc<File>, at: u64, run: &[ChunkRef]) -> Option<Vec<Bytes>> {
        let (first, last) = (*run.first()?, run.last()?);
        let len = usize::try_from(last.span().end.checked_sub(first.span().start)?).ok()?;
        let _room = self.room_on_the_way(len).await;
        let run = run.to_vec();
        let read = move || {
            let mut bytes = Buffer::new(len);
            file.read_exact_at(&mut bytes, at).ok()?;
            let bytes = Bytes::from_owner(bytes);
            let decode = |place: ChunkRef| {
                let start = place.offset.checked_sub(first.offset)? as usize;
                let end = start + place.stored as usize;
                let frame = (end <= len).then(|| bytes.slice(start..end))?;
                Some((place, decode_large(&place, &frame).ok()?))
            };
            run.into_iter().map(decode).collect::<Option<Vec<_>>>()
        };
        let decoded = tokio::task::spawn_blocking(read).await.ok()??;
        let learn = |(place, (plain, values)): (ChunkRef, (Bytes, Bytes))| {
            self.fetcher.parts.learn(&place, &values);
            plain
        };
        Some(decoded.into_iter().map(learn).collect())
    }

    /// Decodes large chunks on another thread and notes what parts of them can
    /// be compared with.
    async fn decode_all(
        &self,
        frames: Vec<(ChunkRef, Bytes)>,
    ) -> Result<Vec<Result<Bytes, ChunkError>>, ChunkError> {
        let decode = move || {
            let decode = |(place, frame): (ChunkRef, Bytes)| (place, decode_large(&place, &frame));
            frames.into_iter().map(decode).collect::<Vec<_>>()
        };
        let decoded = tokio::task::spawn_blocking(decode).await;
        let known = decoded.map_err(|_| ChunkError::Interrupted)?.into_iter();
        let learn = |(place, decoded): (ChunkRef, Result<(Bytes, Bytes), ChunkError>)| {
            let (plain, values) = decoded?;
            self.fetcher.parts.learn(&place, &values);
            Ok(plain)
        };
        Ok(known.map(learn).collect())
    }

    async fn decode_one(&self, place: &ChunkRef, frame: Bytes) -> Result<Bytes, ChunkError> {
        let decoded = self.decode_all(vec![(*place, frame)]).await?.pop();
        decoded.unwrap_or(Err(ChunkError::Interrupted))
    }

    async fn fetch_frame(self: &Arc<Self>, place: &ChunkRef) -> Result<Bytes, ChunkError> {
        self.drop_cached(&frame_extent(place));
        let frame = self.fetch(place, place.pack, place.span()).await?;
        let plain = self.decode_one(place, frame.clone()).await?;
        self.keep(vec![self.with_values(place, frame)]);
        Ok(plain)
    }

    /// A frame that was verified, with what belongs to it in the cache directory.
    fn with_values(&self, place: &ChunkRef, frame: Bytes) -> (Extent, Bytes, Bytes) {
        (frame_extent(place), frame, self.fetcher.parts.known(place))
    }

    /// Begins to fetch chunks that will be read soon; those that lie one behind
    /// the other by one request.
    pub fn prefetch(self: &Arc<Self>, places: &[ChunkRef]) {
        for group in groups(places, RUN_AHEAD) {
            let run = &places[group];
            // On this machine a request costs nothing, and runs a copy.
            let far = self.store.local_path(&pack_key(run[0].pack)).is_none();
            match far && run.len() > 1 {
                true => self.prefetch_run(run),
                false => run.iter().for_each(|place| self.prefetch_one(*place)),
            }
        }
    }

    fn prefetch_one(self: &Arc<Self>, place: ChunkRef) {
        if place.stored < LARGE {
            let inner = Arc::clone(self);
            // Whoever asks for it later hears what went wrong.
            drop(tokio::spawn(async move { drop(inner.read(&place).await) }));
            return;
        }
        let extent = frame_extent(&place);
        let mut flights = lock(&self.fetcher.flights);
        if flights.contains_key(&extent) || lock(&self.fetcher.memory).has_chunk(&extent) {
            return;
        }
        let ahead = Ahead::begin(self, place.len as usize);
        let fetch = Arc::clone(self).fetch_large(place);
        let flight = launch(async move {
            let _ahead = ahead;
            fetch.await
        });
        flights.insert(extent, (flight, 0));
    }

    fn prefetch_run(self: &Arc<Self>, run: &[ChunkRef]) {
        let mut flights = lock(&self.fetcher.flights);
        let kept = lock(&self.fetcher.memory);
        let fresh = |place: &&ChunkRef| {
            let extent = frame_extent(place);
            !flights.contains_key(&extent) && !kept.has_chunk(&extent)
        };
        let run: Vec<ChunkRef> =
            run.iter().skip_while(|p| !fresh(p)).take_while(fresh).copied().collect();
        drop(kept);
        if run.is_empty() {
            return;
        }
        let ahead = Ahead::begin(self, run.iter().map(|place| place.len as usize).sum());
        let flight = launch(Arc::clone(self).fetch_ahead(run.clone(), ahead));
        for (part, place) in run.iter().enumerate() {
            flights.insert(frame_extent(place), (flight.clone(), part));
        }
    }

    async fn fetch_ahead(
        self: Arc<Self>,
        run: Vec<ChunkRef>,
        _ahead: Ahead,
    ) -> Result<Arc<[Bytes]>, ChunkError> {
        let extents: Vec<Extent> = run.iter().map(frame_extent).collect();
        let _landing = Landing { inner: &self, extents: &extents };
        let plain = self.fetch_run(&run).await?;
        lock(&self.fetcher.memory).put_run(extents.iter().copied().zip(plain.iter().cloned()));
        Ok(plain.into())
    }

    /// Reads large chunks that lie one behind the other. They are not kept in
    /// memory: whoever reads many in a row rarely reads them again.
    pub async fn read_run(self: &Arc<Self>, run: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let plain = waits::on(WaitFor::Content, self.fetch_run(run)).await;
        let plain = plain.inspect_err(|error| self.distrust(error))?;
        self.remember(run);
        Ok(plain)
    }

    async fn fetch_run(self: &Arc<Self>, run: &[ChunkRef]) -> Result<Vec<Bytes>, ChunkError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
        if self.fetcher.disk.is_none()
            && let Some(plain) = self.local_run(run).await
        {
            return Ok(plain);
        }
        let extents: Vec<Extent> = run.iter().map(frame_extent).collect();
        let mut frames = self.read_disk(&extents).await;
        let fetched = frames.iter().any(Option::is_none);
        if fetched {
            let base = first.span().start;
            let bytes = self.fetch(first, first.pack, base..last.span().end).await?;
            let cut = |at: u64| bytes.len().min((at - base) as usize);
            frames = run
                .iter()
                .map(|p| Some(bytes.slice(cut(p.span().start)..cut(p.span().end))))
                .collect();
        }
        let frames: Vec<Bytes> = frames.into_iter().map(Option::unwrap_or_default).collect();
        let framed = run.iter().copied().zip(frames.iter().cloned());
        let decoded = self.decode_all(framed.collect()).await?;
        if fetched {
            let sound = run.iter().zip(frames).zip(&decoded).filter(|(_, plain)| plain.is_ok());
            self.keep(sound.map(|((place, frame), _)| self.with_values(place, frame)).collect());
        }
        let mut plain = Vec::with_capacity(run.len());
        for (place, decoded) in run.iter().zip(decoded) {
            plain.push(match decoded {
                Err(ChunkError::Corrupt { .. }) => self.fetch_frame(place).await?,
                outcome => outcome?,
            });
        }
        Ok(plain)
    }
}

/// Bytes on their way ahead of readers; counted until they are there.
pub(super) struct Ahead {
    inner: Arc<Inner>,
    bytes: usize,
}

impl Ahead {
    pub fn begin(inner: &Arc<Inner>, bytes: usize) -> Self {
        inner.fetcher.ahead.fetch_add(bytes, Ordering::Relaxed);
        Self { inner: Arc::clone(inner), bytes }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.inner.fetcher.ahead.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
