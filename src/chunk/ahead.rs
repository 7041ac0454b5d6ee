//! Fetching what the order of an earlier reader says will be read soon.

use std::sync::Arc;

use super::blobs::Inner;
use super::disk::Extent;
use super::fetch::{LARGE, frame_extent, launch};
use super::large::RUN_AHEAD;
use super::order::{Plan, Unit};
use super::segments::{SEGMENT, numbers, segment_extent};
use super::{Blobs, ChunkError, ChunkRef, lock};
use crate::model::ChunkId;

/// How much one request brings.
const RUN: u32 = 8 << 20;
/// What a fetch counts as at least of what may be on its way ahead of readers,
/// in KiB: so that there are not too many requests at a time.
const LEAST: u32 = 512;

impl Blobs {
    /// Puts what was noted of the order of reads into the cache directory; does
    /// nothing where there is none. It is done now and then by itself.
    pub async fn keep_order(&self) {
        let inner = Arc::clone(&self.inner);
        let save = move || inner.fetcher.order.as_ref().map(super::order::Order::save);
        drop(tokio::task::spawn_blocking(save).await);
    }
}

impl Inner {
    /// Notes the first read of a part since it came, and begins to fetch what
    /// is to follow.
    pub(super) fn touched(self: &Arc<Self>, unit: Unit) {
        let Some(order) = &self.fetcher.order else { return };
        let room = self.room_ahead();
        let plan = order.touch(&unit, room, &|unit: &Unit| self.is_here(unit));
        if order.is_due() {
            let inner = Arc::clone(self);
            let save = move || inner.fetcher.order.as_ref().map(super::order::Order::save);
            drop(tokio::task::spawn_blocking(save));
        }
        let Some(Plan { cursor, units }) = plan else { return };
        for run in runs(units) {
            drop(tokio::spawn(Arc::clone(self).fetch_planned(cursor, run)));
        }
    }

    /// Notes a read of a small frame in the cache directory.
    pub(super) fn touched_small_on_disk(self: &Arc<Self>, place: &ChunkRef) {
        if self.fetcher.order.is_some() {
            let segments = numbers(place).map(|number| segment_extent(place.pack, number));
            segments.for_each(|segment| self.touched_on_disk(Unit::Segment(segment)));
        }
    }

    /// Notes a read of a part in the cache directory.
    pub(super) fn touched_on_disk(self: &Arc<Self>, unit: Unit) {
        if self.fetcher.order.as_ref().is_some_and(|order| order.is_first(&unit)) {
            self.touched(unit);
        }
    }

    /// How many bytes may be fetched now ahead of readers.
    pub(super) fn room_ahead(&self) -> u64 {
        let under_way = self.fetcher.ahead.load(std::sync::atomic::Ordering::Relaxed);
        lock(&self.fetcher.memory).ahead().saturating_sub(under_way) as u64
    }

    fn is_here(&self, unit: &Unit) -> bool {
        let extent = unit.extent();
        if lock(&self.fetcher.flights).contains_key(&extent) {
            return true;
        }
        let memory = lock(&self.fetcher.memory);
        let kept = match unit {
            Unit::Segment(_) => memory.has_segment(&extent),
            Unit::Alone(Extent { pack, start, .. }) => {
                let around = segment_extent(*pack, start / SEGMENT);
                memory.has_segment(&extent) || memory.has_segment(&around)
            }
            Unit::Large(_) => memory.has_chunk(&extent),
        };
        drop(memory);
        kept || self.fetcher.disk.as_ref().is_some_and(|disk| disk.knows(&extent))
    }

    /// Fetches parts that one request can bring, when there is room for them on
    /// the way and they are still wanted.
    async fn fetch_planned(self: Arc<Self>, cursor: u64, run: Vec<Unit>) {
        let Some(order) = &self.fetcher.order else { return };
        let kib = run.iter().map(|unit| unit.extent().len >> 10).sum::<u32>().max(LEAST);
        let Ok(_room) = order.lane.acquire_many(kib).await else { return };
        let fresh = |unit: &&Unit| !self.is_here(unit);
        let run: Vec<Unit> =
            run.iter().skip_while(|unit| !fresh(unit)).take_while(fresh).copied().collect();
        if run.is_empty() || !order.fetching(cursor, &run) {
            return;
        }
        let large = run.iter().filter_map(|unit| match unit {
            Unit::Large(place) => Some(*place),
            Unit::Segment(_) | Unit::Alone(_) => None,
        });
        let large: Vec<ChunkRef> = large.collect();
        let flight = match large.first() {
            Some(first) => {
                self.prefetch(&large);
                let flights = lock(&self.fetcher.flights);
                flights.get(&frame_extent(first)).map(|(flight, _)| flight.clone())
            }
            None => self.begin_ahead(run.iter().map(Unit::extent).collect()),
        };
        if let Some(flight) = flight {
            // Whoever asks for it later hears what went wrong.
            drop(flight.await);
        }
    }

    /// Begins to fetch segments, or a frame alone, that lie one behind the other.
    fn begin_ahead(self: &Arc<Self>, extents: Vec<Extent>) -> Option<super::fetch::Flight> {
        let mut flights = lock(&self.fetcher.flights);
        if extents.iter().any(|extent| flights.contains_key(extent)) {
            return None;
        }
        let first = *extents.first()?;
        // Nobody knows yet which of its chunks will be wanted.
        let id = ChunkId::new([0; 32]);
        let place = ChunkRef { id, pack: first.pack, offset: first.start, stored: 1, len: 1 };
        let fetch = Arc::clone(self).fetch_segments(place, extents.clone(), true);
        // So whoever waits for it asks again, and hears what is wrong then.
        let flight = launch(async move { fetch.await.map_err(|_| ChunkError::Interrupted) });
        for (part, extent) in extents.into_iter().enumerate() {
            flights.insert(extent, (flight.clone(), part));
        }
        Some(flight)
    }
}

/// Puts neighbours together that one request can bring; those that are wanted
/// first come first.
fn runs(units: Vec<Unit>) -> Vec<Vec<Unit>> {
    let mut units: Vec<(usize, Unit)> = units.into_iter().enumerate().collect();
    units.sort_by_key(|(_, unit)| {
        let Extent { pack, start, .. } = unit.extent();
        (matches!(unit, Unit::Alone(_)), pack, start)
    });
    let mut runs: Vec<(usize, Vec<Unit>)> = Vec::new();
    for (at, unit) in units {
        if let Some((first, run)) = runs.last_mut()
            && let [begin, ..] = run[..]
            && let Some(last) = run.last()
            && adjoin((&begin, last), &unit)
        {
            *first = at.min(*first);
            run.push(unit);
            continue;
        }
        runs.push((at, vec![unit]));
    }
    runs.sort_by_key(|(at, _)| *at);
    runs.into_iter().map(|(_, run)| run).collect()
}

fn adjoin((first, last): (&Unit, &Unit), unit: &Unit) -> bool {
    let most = match (last, unit) {
        (Unit::Segment(_), Unit::Segment(_)) => RUN,
        (Unit::Large(_), Unit::Large(_)) => RUN_AHEAD,
        _ => return false,
    };
    let (first, last, extent) = (first.extent(), last.extent(), unit.extent());
    let follows = last.pack == extent.pack && last.start + last.len == extent.start;
    follows && extent.start + extent.len - first.start <= most
}

/// How a chunk is fetched that is read by itself.
pub(super) fn alone(place: &ChunkRef) -> Unit {
    match place.stored >= LARGE {
        true => Unit::Large(*place),
        false => Unit::Alone(frame_extent(place)),
    }
}
