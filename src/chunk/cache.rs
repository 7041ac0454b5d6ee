//! Bytes kept in memory up to a budget.

use std::hash::Hash;

use bytes::Bytes;
use lru::LruCache;

/// What an entry takes beyond its bytes, roughly.
const OVERHEAD: usize = 128;

/// The most recently used bytes by key, no more than a budget of them.
pub(super) struct ByteLru<K: Hash + Eq> {
    entries: LruCache<K, Bytes>,
    used: usize,
    budget: usize,
}

impl<K: Hash + Eq> ByteLru<K> {
    pub fn new(budget: usize) -> Self {
        Self { entries: LruCache::unbounded(), used: 0, budget }
    }

    pub fn get(&mut self, key: &K) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    /// Keeps `bytes`, dropping what was not used for longest. Bytes beyond the
    /// whole budget are not kept.
    pub fn put(&mut self, key: K, bytes: Bytes) {
        let size = bytes.len() + OVERHEAD;
        if size > self.budget {
            return;
        }
        self.used += size;
        if let Some(old) = self.entries.put(key, bytes) {
            self.used -= old.len() + OVERHEAD;
        }
        while self.used > self.budget {
            match self.entries.pop_lru() {
                Some((_, old)) => self.used -= old.len() + OVERHEAD,
                None => break,
            }
        }
    }

    /// Bytes that count against the budget.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used
    }
}
