//! How many bytes all writers together may hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::upload::Filling;
use super::{BLOB_MAX, ChunkError, lock};

/// Permits are for so many bytes each.
const UNIT: usize = 1 << 10;
/// Writers take at least so many bytes at a time.
const STEP: usize = 256 << 10;
/// How long a writer waits before it looks for idle packs again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The room writers share.
///
/// A writer that finds none closes its own pack, and then the largest ones of
/// others until enough is on its way out; so nobody waits for an idle writer.
pub(super) struct Room {
    permits: Arc<Semaphore>,
    /// Bytes in packs that are being uploaded.
    leaving: Arc<AtomicUsize>,
    /// Bytes that writers wait for.
    wanted: AtomicUsize,
    filling: Mutex<Vec<Weak<Filling>>>,
}

/// Room taken; given back when dropped.
pub(super) struct Taken {
    permit: OwnedSemaphorePermit,
}

/// Room that is given back soon.
pub(super) struct Leaving {
    _permit: OwnedSemaphorePermit,
    size: usize,
    leaving: Arc<AtomicUsize>,
}

impl Taken {
    pub fn size(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    pub fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.leaving.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        let permits = bytes.max(2 * BLOB_MAX) / UNIT;
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            leaving: Arc::default(),
            wanted: AtomicUsize::new(0),
            filling: Mutex::default(),
        }
    }

    /// Makes a writer known, so that its pack can be closed for others.
    pub fn register(&self, writer: &Arc<Filling>) {
        let mut filling = lock(&self.filling);
        filling.retain(|other| other.strong_count() > 0);
        filling.push(Arc::downgrade(writer));
    }

    /// Marks room as on its way out.
    pub fn leave(&self, taken: Taken) -> Leaving {
        let size = taken.size();
        self.leaving.fetch_add(size, Ordering::Relaxed);
        Leaving { _permit: taken.permit, size, leaving: Arc::clone(&self.leaving) }
    }

    /// Takes room for `bytes` or a little more.
    pub async fn take(&self, bytes: usize, writer: &Arc<Filling>) -> Result<Taken, ChunkError> {
        let count = (bytes.max(STEP).div_ceil(UNIT)) as u32;
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = permits.clone().try_acquire_many_owned(count) {
            return Ok(Taken { permit });
        }
        writer.close();
        let _waiting = Waiting::new(&self.wanted, count as usize * UNIT);
        let acquire = permits.acquire_many_owned(count);
        tokio::pin!(acquire);
        loop {
            self.relieve();
            match tokio::time::timeout(PATIENCE, &mut acquire).await {
                Ok(permit) => {
                    let permit = permit.map_err(|_| ChunkError::Interrupted)?;
                    return Ok(Taken { permit });
                }
                Err(_) => continue,
            }
        }
    }

    /// Closes the largest packs until what leaves covers what is wanted.
    fn relieve(&self) {
        let missing = || {
            let wanted = self.wanted.load(Ordering::Relaxed);
            wanted.saturating_sub(self.leaving.load(Ordering::Relaxed))
        };
        if missing() == 0 {
            return;
        }
        let mut open: Vec<_> = lock(&self.filling).iter().filter_map(Weak::upgrade).collect();
        open.sort_by_key(|writer| std::cmp::Reverse(writer.held()));
        for writer in open {
            if missing() == 0 {
                break;
            }
            writer.close();
        }
    }
}

struct Waiting<'a> {
    wanted: &'a AtomicUsize,
    size: usize,
}

impl<'a> Waiting<'a> {
    fn new(wanted: &'a AtomicUsize, size: usize) -> Self {
        wanted.fetch_add(size, Ordering::Relaxed);
        Self { wanted, size }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wanted.fetch_sub(self.size, Ordering::Relaxed);
    }
}
