//! What waits to be pushed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::vfs::Push;

/// How many pushes may wait; what comes when there is no room is left out.
const WAITING: usize = 256;

/// What programs have asked for comes before what they may ask for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    first: VecDeque<Push>,
    last: VecDeque<Push>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a program has asked for; answers it when there is no room.
    pub(super) fn add(&self, push: Push) -> Option<Push> {
        self.add_to(|pending| &mut pending.first, push)
    }

    /// Adds what comes after all that programs have asked for.
    pub(super) fn add_last(&self, push: Push) -> Option<Push> {
        self.add_to(|pending| &mut pending.last, push)
    }

    fn add_to(&self, which: fn(&mut Pending) -> &mut VecDeque<Push>, push: Push) -> Option<Push> {
        let mut pending = self.lock();
        if pending.closed || which(&mut pending).len() == WAITING {
            return Some(push);
        }
        which(&mut pending).push_back(push);
        self.changed.notify_one();
        None
    }

    /// Waits for the next; `None` when there will be none.
    pub(super) fn next(&self) -> Option<Push> {
        let mut pending = self.lock();
        loop {
            if pending.closed {
                return None;
            }
            let first = pending.first.pop_front();
            if let Some(push) = first.or_else(|| pending.last.pop_front()) {
                return Some(push);
            }
            pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends it, with all that waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
