//! Who is working on what: one call per target, and never for longer than the
//! call takes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::refusal::{Refusal, Result};

/// What is taken.
#[derive(Debug, Default)]
pub(super) struct Locks(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    targets: HashSet<PathBuf>,
    /// By volume, how many are publishing it; one that must be alone counts as
    /// [`ALONE`].
    volumes: HashMap<String, usize>,
}

const ALONE: usize = usize::MAX;

/// A target that is taken until this is dropped, which a call that is broken
/// off does as well.
#[derive(Debug)]
#[must_use]
pub(super) struct TargetLock {
    all: Arc<Mutex<Taken>>,
    target: PathBuf,
}

/// A volume that is being published.
#[derive(Debug)]
#[must_use]
pub(super) struct VolumeLock {
    all: Arc<Mutex<Taken>>,
    volume_id: String,
}

impl Locks {
    /// Takes a target; [`Refusal::Pending`] when it is taken.
    pub fn target(&self, target: &Path) -> Result<TargetLock> {
        let mut taken = lock(&self.0);
        if !taken.targets.insert(target.to_owned()) {
            let what = format!("another call is working on {}", target.display());
            return Err(Refusal::Pending(what));
        }
        Ok(TargetLock { all: Arc::clone(&self.0), target: target.to_owned() })
    }

    /// Takes a volume, alone or with others who do not need to be alone.
    pub fn volume(&self, volume_id: &str, alone: bool) -> Result<VolumeLock> {
        let mut taken = lock(&self.0);
        let count = taken.volumes.get(volume_id).copied().unwrap_or(0);
        if count == ALONE || (alone && count > 0) {
            return Err(Refusal::Pending(format!("volume {volume_id} is being published")));
        }
        let count = if alone { ALONE } else { count + 1 };
        taken.volumes.insert(volume_id.to_owned(), count);
        Ok(VolumeLock { all: Arc::clone(&self.0), volume_id: volume_id.to_owned() })
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        lock(&self.all).targets.remove(&self.target);
    }
}

impl Drop for VolumeLock {
    fn drop(&mut self) {
        let mut taken = lock(&self.all);
        match taken.volumes.get_mut(&self.volume_id) {
            Some(count) if *count != ALONE && *count > 1 => *count -= 1,
            Some(_) | None => drop(taken.volumes.remove(&self.volume_id)),
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> std::sync::MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
