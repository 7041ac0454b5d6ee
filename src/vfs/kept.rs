//! What is kept of each mount, of which a process may have many.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// What was used last, up to so many; takes memory for those that there are.
pub(super) fn at_most<K: Hash + Eq, V>(count: NonZeroUsize) -> LruCache<K, V> {
    let mut kept = LruCache::unbounded();
    kept.resize(count);
    kept
}
