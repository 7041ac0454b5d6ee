//! What goes on behind volumes that are over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::Branch;

/// All of it.
#[derive(Debug, Default)]
pub struct Work {
    /// How much there is, of each branch and of none in particular.
    under_way: Mutex<HashMap<Option<Branch>, usize>>,
    ended: Notify,
    wanted: Notify,
}

/// Something that goes on until this is dropped.
#[derive(Debug)]
pub struct Working {
    work: Arc<Work>,
    branch: Option<Branch>,
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut under_way = self.work.under_way();
        if let Some(count) = under_way.get_mut(&self.branch) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.branch);
            }
        }
        drop(under_way);
        self.work.ended.notify_waiters();
    }
}

impl Work {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Option<Branch>, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something begins; where it is about a commit to `branch`, volumes of that
    /// wait for its end.
    pub fn begin(self: &Arc<Self>, branch: Option<&Branch>) -> Working {
        let branch = branch.cloned();
        *self.under_way().entry(branch.clone()).or_default() += 1;
        Working { work: Arc::clone(self), branch }
    }

    /// How many things go on.
    pub fn count(&self) -> usize {
        self.under_way().values().sum()
    }

    /// Whether something is to be committed to `branch`.
    pub fn is_on(&self, branch: &Branch) -> bool {
        self.under_way().contains_key(&Some(branch.clone()))
    }

    /// Returns when nothing goes on any more.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Somebody waits: what rests goes on.
    pub fn hurry(&self) {
        self.wanted.notify_waiters();
    }

    /// Rests between two attempts, until somebody waits at most.
    pub async fn rest(&self, pause: Duration) {
        // Which of the two it was makes no difference.
        drop(tokio::time::timeout(pause, self.wanted.notified()).await);
    }
}
