//! How long something took, counted without locks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations below 2^10 ns share four buckets; from there on each power of two
/// has four, so that a bucket is at most a quarter wider than its neighbour.
const FIRST_POWER: u32 = 10;
/// Durations from here on, about 69 s, share the last bucket.
const LAST_POWER: u32 = 36;
const BUCKETS: usize = ((LAST_POWER - FIRST_POWER) as usize + 1) * 4 + 1;

/// Counts of durations by size. Adding costs a few atomic operations.
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    total: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::default()),
            total: AtomicU64::default(),
            max: AtomicU64::default(),
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    if power < FIRST_POWER {
        return (nanos >> (FIRST_POWER - 2)) as usize;
    }
    if power >= LAST_POWER {
        return BUCKETS - 1;
    }
    let quarter = (nanos >> (power - 2)) & 3;
    (power - FIRST_POWER + 1) as usize * 4 + quarter as usize
}

/// The first duration, in nanoseconds, that is too long for a bucket.
fn bound(bucket: usize) -> u64 {
    if bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let (row, quarter) = ((bucket / 4) as u32, (bucket % 4) as u64);
    match row {
        0 => (quarter + 1) << (FIRST_POWER - 2),
        _ => (quarter + 5) << (FIRST_POWER + row - 3),
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.read().fmt(f)
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(nanos, Ordering::Relaxed);
        if self.max.load(Ordering::Relaxed) < nanos {
            self.max.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Latency {
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let counted = counts.enumerate().filter(|(_, count)| *count > 0);
        let buckets: Buckets = counted.map(|(at, count)| (bound(at), count)).collect();
        Latency {
            total_ns: self.total.load(Ordering::Relaxed),
            max_ns: self.max.load(Ordering::Relaxed),
            buckets,
        }
    }
}

/// Counts by the bound, in nanoseconds, that durations stay below.
pub type Buckets = BTreeMap<u64, u64>;

/// What a histogram held at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// The sum of all durations, in nanoseconds.
    pub total_ns: u64,
    /// The longest one, in nanoseconds.
    pub max_ns: u64,
    /// How many there were, by size.
    pub buckets: Buckets,
}

impl Latency {
    /// A duration, in nanoseconds, that the share `part` of all stays below:
    /// at most a quarter too long.
    #[must_use]
    pub fn percentile(&self, part: f64) -> u64 {
        let all: u64 = self.buckets.values().sum();
        // Counts stay far below 2^52.
        let wanted = ((all as f64) * part).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in &self.buckets {
            seen += count;
            if seen >= wanted.max(1) {
                return (*bound).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// What was added since `before`, an earlier reading. The longest one of
    /// that time is known as the bound of its bucket only.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |bound: &u64| before.buckets.get(bound).copied().unwrap_or(0);
        let new = self.buckets.iter().map(|(at, count)| (*at, count.saturating_sub(earlier(at))));
        let buckets: Buckets = new.filter(|(_, count)| *count > 0).collect();
        let longest = buckets.keys().next_back().copied().unwrap_or(0);
        Self {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            max_ns: longest.min(self.max_ns),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests;
