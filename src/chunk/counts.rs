//! How often fetched parts were found in the caches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that go up as parts are looked for.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Lookups {
    /// Counts a look that found what it wanted, or not.
    pub fn count(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits and misses so far.
    pub fn read(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// Caches of content since they were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Parts of packs that were in memory when they were wanted.
    pub memory_hits: u64,
    /// Parts that were not; who joins a fetch under way counts here.
    pub memory_misses: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Parts not in memory that were in the cache directory.
    pub disk_hits: u64,
    /// Parts that were not; nothing counts here without a cache directory.
    pub disk_misses: u64,
    /// Bytes in the cache directory, as far as this process knows.
    pub disk_bytes: u64,
    /// How many may be kept there.
    pub disk_budget: u64,
    /// Parts fetched because an earlier reader wanted them next.
    pub ahead_fetched: u64,
    /// Those of them that were read then.
    pub ahead_used: u64,
    /// Those that readers passed by.
    pub ahead_wasted: u64,
}
