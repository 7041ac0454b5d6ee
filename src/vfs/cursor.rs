//! Where a listing goes on: kernels pass a number, trees resume after a name.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::InodeNo;

/// How many positions are kept, of all directories together.
const KEPT: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("is not zero");

/// The names behind the cookies handed out last.
///
/// A cookie is a position, counted from 1. Resuming after a name and not at a
/// position keeps a listing whole while entries come and go; a cookie that has
/// been dropped here is counted out again from the start.
#[derive(Debug)]
pub(super) struct Cursors(Mutex<LruCache<(InodeNo, u64), Arc<str>>>);

impl Default for Cursors {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Cursors {
    pub(super) fn put(&self, dir: InodeNo, cookie: u64, name: Arc<str>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.put((dir, cookie), name);
    }

    pub(super) fn get(&self, dir: InodeNo, cookie: u64) -> Option<Arc<str>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&(dir, cookie)).cloned()
    }
}
