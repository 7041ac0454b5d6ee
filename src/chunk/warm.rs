//! Fetching into the cache directory what will be read later.
//!
//! What is kept is what reads look for: segments around small frames, large
//! frames by themselves. What lies close together in a pack comes by one
//! request.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::blobs::Inner;
use super::disk::{DiskCache, Extent};
use super::fetch::{Fetcher, LARGE, frame_extent};
use super::groups::{outboard, values_len};
use super::segments::{numbers, segment_extent};
use super::{Blobs, ChunkError, ChunkRef, lock};
use crate::model::PackId;

/// How much of a pack one request fetches.
const RUN: u64 = 8 << 20;

/// What is fetched in vain rather than by another request.
const GAP: u64 = 512 << 10;

/// How many requests are made at a time.
const TOGETHER: usize = 4;

/// How long to stay out of the way of readers at a time, and how often.
const YIELD: Duration = Duration::from_millis(5);
const YIELDS: u32 = 200;

/// How much haste there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Somebody waits for it.
    Full,
    /// Reads of others go first.
    Background,
}

/// Warming under way, of however many places after each other: what it wants of
/// the cache directory. What others have put there makes room for it.
#[derive(Debug)]
pub struct Warming {
    pace: Pace,
    claimed: Mutex<Claimed>,
}

/// What was fetched or found: no more of it than fits into the cache directory.
#[derive(Debug, Default)]
struct Claimed {
    extents: HashSet<Extent>,
    bytes: u64,
}

impl Claimed {
    fn add(&mut self, extents: impl Iterator<Item = Extent>) {
        for extent in extents {
            let new = self.extents.insert(extent);
            self.bytes += if new { u64::from(extent.len) } else { 0 };
        }
    }
}

impl Warming {
    /// Warming that wants nothing yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, claimed: Mutex::default() }
    }

    /// Claims what `run` fetches, unless all would be more than `budget` then.
    fn claim(&self, run: &Run, budget: u64) -> bool {
        let mut claimed = lock(&self.claimed);
        let extents = run.parts.iter().map(|(extent, _)| *extent);
        let new = extents.clone().filter(|extent| !claimed.extents.contains(extent));
        let more: u64 = new.map(|extent| u64::from(extent.len)).sum();
        let fits = claimed.bytes.saturating_add(more) <= budget;
        if fits {
            claimed.add(extents);
        }
        fits
    }
}

/// What was done to warm a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmStats {
    /// Requests to the object store.
    pub requests: u64,
    /// Bytes that came.
    pub fetched: u64,
    /// Bytes that were there.
    pub there: u64,
    /// Whether there is more than the cache may hold.
    pub full: bool,
}

impl std::ops::AddAssign for WarmStats {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.fetched += other.fetched;
        self.there += other.there;
        self.full |= other.full;
    }
}

/// Parts of a pack that come by one request, with a chunk in each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub pack: PackId,
    pub span: Range<u64>,
    pub parts: Vec<(Extent, ChunkRef)>,
}

impl Blobs {
    /// Sees to it that `places` are in the cache directory; without one nothing
    /// is done. Ends early, with [`WarmStats::full`], when `warming` would want
    /// more than its budget: one part of it would take the place of another.
    ///
    /// Holds a few requests' bytes in memory, however many places there are.
    pub async fn warm(
        &self,
        places: &[ChunkRef],
        warming: &Warming,
    ) -> Result<WarmStats, ChunkError> {
        let Some(disk) = self.inner.fetcher.disk.clone() else { return Ok(WarmStats::default()) };
        let wanted = extents(places);
        let look = move || missing(&disk, wanted);
        let found = tokio::task::spawn_blocking(look).await;
        let (missing, there) = found.map_err(|_| ChunkError::Interrupted)?;
        let bytes = there.iter().map(|extent| u64::from(extent.len)).sum();
        lock(&warming.claimed).add(there.into_iter());
        let together = match warming.pace {
            Pace::Full => TOGETHER,
            Pace::Background => 1,
        };
        let fetches = stream::iter(runs(missing)).map(|run| {
            let inner = Arc::clone(&self.inner);
            async move { inner.warm_run(run, warming).await }
        });
        let start = WarmStats { there: bytes, ..WarmStats::default() };
        let stats = fetches.buffer_unordered(together).try_fold(start, |mut sum, run| {
            sum += run;
            std::future::ready(Ok(sum))
        });
        stats.await
    }

    /// Waits until what was fetched so far is in the cache directory, as far as
    /// it was to be kept there.
    pub async fn settle(&self) {
        // An error would mean that nothing is kept any more.
        let Fetcher { keeping, keeping_kib, .. } = &self.inner.fetcher;
        drop(keeping.acquire_many(*keeping_kib).await);
    }
}

/// What reads of `places` look for, in the order it lies in packs.
fn extents(places: &[ChunkRef]) -> Vec<(Extent, ChunkRef)> {
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        if place.stored >= LARGE {
            found.push((frame_extent(place), *place));
            continue;
        }
        for number in numbers(place) {
            let segment = segment_extent(place.pack, number);
            if found.last().is_none_or(|(last, _)| *last != segment) {
                found.push((segment, *place));
            }
        }
    }
    let order = |extent: &Extent| (extent.pack, extent.start, extent.len);
    found.sort_unstable_by_key(|(extent, _)| order(extent));
    found.dedup_by_key(|(extent, _)| *extent);
    found
}

/// Those that are not in the cache directory, and those that are.
fn missing(
    disk: &DiskCache,
    mut wanted: Vec<(Extent, ChunkRef)>,
) -> (Vec<(Extent, ChunkRef)>, Vec<Extent>) {
    let mut there = Vec::new();
    wanted.retain(|(extent, _)| {
        let found = disk.contains(extent);
        there.extend(found.then_some(*extent));
        !found
    });
    (wanted, there)
}

/// Puts neighbours together.
pub(super) fn runs(parts: Vec<(Extent, ChunkRef)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (extent, place) in parts {
        let start = u64::from(extent.start);
        let end = start + u64::from(extent.len);
        if let Some(run) = runs.last_mut()
            && run.pack == extent.pack
            && start <= run.span.end + GAP
            && end.max(run.span.end) - run.span.start <= RUN
        {
            run.span.end = run.span.end.max(end);
            run.parts.push((extent, place));
            continue;
        }
        let parts = vec![(extent, place)];
        runs.push(Run { pack: extent.pack, span: start..end, parts });
    }
    runs
}

impl Inner {
    async fn warm_run(&self, run: Run, warming: &Warming) -> Result<WarmStats, ChunkError> {
        let Some(disk) = self.fetcher.disk.clone() else { return Ok(WarmStats::default()) };
        if !warming.claim(&run, disk.budget()) {
            return Ok(WarmStats { full: true, ..WarmStats::default() });
        }
        let Run { pack, span, parts } = run;
        if warming.pace == Pace::Background {
            self.let_readers_go_first().await;
        }
        let [(_, place), ..] = &parts[..] else { return Ok(WarmStats::default()) };
        let bytes = self.fetch(place, pack, span.clone()).await?;
        let fetched = bytes.len() as u64;
        let keep = move || {
            for (extent, place) in parts {
                let part = cut(&bytes, &span, &extent);
                if !part.is_empty() {
                    disk.put(&extent, &part, &values_of(&extent, &place, &part));
                }
            }
        };
        tokio::task::spawn_blocking(keep).await.map_err(|_| ChunkError::Interrupted)?;
        Ok(WarmStats { requests: 1, fetched, there: 0, full: false })
    }

    /// Waits while something is being fetched for a reader, but not for ever.
    async fn let_readers_go_first(&self) {
        for _ in 0..YIELDS {
            if !self.fetcher.is_fetching() {
                return;
            }
            tokio::time::sleep(YIELD).await;
        }
    }
}

/// The chaining values of a large chunk, out of its frame; none for a segment.
fn values_of(extent: &Extent, place: &ChunkRef, frame: &[u8]) -> Bytes {
    match *extent == frame_extent(place) && values_len(place) > 0 {
        // Behind the codec byte; whoever uses them compares them with the id.
        true => outboard(&frame[1..]).1,
        false => Bytes::new(),
    }
}

/// The part of the bytes of `span` that `extent` covers: less where the pack
/// ends.
fn cut(bytes: &Bytes, span: &Range<u64>, extent: &Extent) -> Bytes {
    let at = |place: u64| ((place - span.start) as usize).min(bytes.len());
    let start = u64::from(extent.start);
    bytes.slice(at(start)..at(start + u64::from(extent.len)))
}

#[cfg(test)]
mod tests;
