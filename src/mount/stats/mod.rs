//! What a mount was asked, how often, and how long the answers took.
//!
//! A request costs two readings of the monotonic clock and four atomic
//! additions.

mod operation;
mod slow;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use operation::Operation;
use slow::SlowLog;
pub use slow::SlowOperations;
pub use snapshot::{Operations, STATS, Snapshot, errno_name};

use crate::model::Histogram;
use crate::vfs::{Files, InodeNo};

/// Error numbers from here on are counted as this one.
const ERRNOS: usize = 134;

/// The counters of one mount.
pub struct Stats {
    began: Instant,
    operations: [Counts; Operation::ALL.len()],
    errors: [AtomicU64; ERRNOS],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    passed_through: AtomicU64,
    slow: SlowLog,
    /// Set before anything is counted.
    files: OnceLock<Arc<Files>>,
}

#[derive(Default)]
struct Counts {
    /// Counted when a request comes: whoever has its answer sees it counted.
    count: AtomicU64,
    errors: AtomicU64,
    latency: Histogram,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            operations: std::array::from_fn(|_| Counts::default()),
            errors: std::array::from_fn(|_| AtomicU64::default()),
            bytes_read: AtomicU64::default(),
            bytes_written: AtomicU64::default(),
            passed_through: AtomicU64::default(),
            slow: SlowLog::new(Duration::ZERO),
            files: OnceLock::new(),
        }
    }
}

impl Stats {
    /// The counters of a mount which logs operations that take `slow` or
    /// longer; none when that is zero.
    #[must_use]
    pub fn logging(slow: Duration) -> Self {
        Self { slow: SlowLog::new(slow), ..Self::default() }
    }

    /// Says what is mounted.
    pub(super) fn set_files(&self, files: &Arc<Files>) {
        // A session serves one mount.
        drop(self.files.set(Arc::clone(files)));
    }

    /// Counts a request that has come; its time ends with what it answers.
    pub(super) fn begin(self: &Arc<Self>, operation: Operation, ino: InodeNo) -> Pending {
        self.operations[operation as usize].count.fetch_add(1, Ordering::Relaxed);
        Pending { stats: Arc::clone(self), operation, ino, began: Instant::now() }
    }

    /// Everything so far.
    #[must_use]
    pub fn read(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let operations = Operation::ALL.iter().zip(&self.operations).filter_map(|(name, of)| {
            let (count, errors) = (read(&of.count), read(&of.errors));
            let read = || Operations { count, errors, latency: of.latency.read() };
            (count > 0).then(|| (name.name(), read()))
        });
        let errors = (0..).zip(&self.errors).map(|(number, count)| (number, read(count)));
        Snapshot {
            uptime: self.began.elapsed().as_secs_f64(),
            operations: operations.collect(),
            errors: errors.filter(|(_, count)| *count > 0).collect::<BTreeMap<i32, u64>>(),
            bytes_read: read(&self.bytes_read),
            bytes_written: read(&self.bytes_written),
            passed_through: read(&self.passed_through),
            slow: self.slow.read(),
            usage: self.files.get().map(|files| files.usage()).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").field("began", &self.began).finish_non_exhaustive()
    }
}

/// A request that was not answered yet; its time ends when it is dropped.
#[derive(Debug)]
pub(super) struct Pending {
    stats: Arc<Stats>,
    operation: Operation,
    ino: InodeNo,
    began: Instant,
}

impl Pending {
    /// Counts bytes that go with the answer.
    pub(super) fn transferred(&self, bytes: usize) {
        let bytes = bytes as u64;
        if self.operation == Operation::Read {
            self.stats.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        } else if self.operation == Operation::Write {
            self.stats.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts an open of a file that the kernel reads by itself.
    pub(super) fn passed_through(&self) {
        self.stats.passed_through.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that is an error.
    pub(super) fn failed(&self, errno: i32) {
        self.stats.operations[self.operation as usize].errors.fetch_add(1, Ordering::Relaxed);
        let number = usize::try_from(errno).unwrap_or(ERRNOS).min(ERRNOS - 1);
        self.stats.errors[number].fetch_add(1, Ordering::Relaxed);
    }

    /// Ends its time.
    pub(super) fn answered(self) {}
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Self { stats, operation, ino, began } = self;
        let took = began.elapsed();
        stats.operations[*operation as usize].latency.add(took);
        let path = || stats.files.get()?.path_of(*ino);
        stats.slow.ended(*operation, took, path);
    }
}
