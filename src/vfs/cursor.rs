//! Where a listing goes on: kernels pass a number, trees resume after a name.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::InodeNo;
use super::kept::at_most;
use super::types::Listed;

/// How many positions are kept, of all directories together.
const KEPT: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("is not zero");

/// Every so many positions one is kept.
const EVERY: u64 = 32;

/// The names behind the cookies handed out last.
///
/// A cookie is a position, counted from 1. Resuming after a name and not at a
/// position keeps a listing whole while entries come and go; a cookie that has
/// been dropped here is counted out again from the start.
#[derive(Debug)]
pub(super) struct Cursors(Mutex<LruCache<(InodeNo, u64), Arc<str>>>);

impl Default for Cursors {
    fn default() -> Self {
        Self(Mutex::new(at_most(KEPT)))
    }
}

impl Cursors {
    /// Remembers where a listing of these entries, which a kernel has taken, may
    /// go on: after the last, and at every so many for a program that goes back
    /// to one of them.
    pub(super) fn put_some(&self, dir: InodeNo, entries: &[Listed]) {
        let last = entries.last().map(|last| last.cookie);
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Listed { name, cookie, .. } in entries {
            if cookie % EVERY == 0 || Some(*cookie) == last {
                names.put((dir, *cookie), Arc::clone(name));
            }
        }
    }

    /// The nearest remembered position at `cookie` or shortly before it.
    pub(super) fn before(&self, dir: InodeNo, cookie: u64) -> Option<(u64, Arc<str>)> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (cookie / EVERY * EVERY).max(1);
        (first..=cookie).rev().find_map(|at| Some((at, Arc::clone(names.get(&(dir, at))?))))
    }
}
