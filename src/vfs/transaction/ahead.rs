//! Work done beside requests, so that none waits for it: files made before they
//! are needed, and data sent to the disk before a sync asks for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use super::staged::Staging;

/// After so many new files more are expected.
const MANY: u64 = 16;

/// How many files are made ahead.
const AHEAD: u64 = 64;

/// Bytes written to a file until they are sent to the disk.
const BEHIND: u64 = 8 << 20;

/// Empty staged files under numbers that are used next.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    made: Mutex<BTreeMap<u64, Arc<File>>>,
    used: AtomicU64,
    busy: AtomicBool,
}

impl Ahead {
    /// The file `number`, if it was made ahead; makes others where many are
    /// used.
    pub(super) fn take(&self, staging: &Arc<Staging>, number: u64) -> Option<Arc<File>> {
        let (taken, next) = {
            let mut made = self.lock();
            let taken = made.remove(&number);
            // Numbers only grow.
            *made = made.split_off(&number);
            let last = made.last_key_value().map_or(number, |(last, _)| *last);
            (taken, number.max(last) + 1)
        };
        let few = next < number + AHEAD / 2;
        let many = self.used.fetch_add(1, Ordering::Relaxed) >= MANY;
        if few && many && !self.busy.swap(true, Ordering::AcqRel) {
            match Handle::try_current() {
                Ok(runtime) => {
                    let staging = Arc::clone(staging);
                    let numbers = next..number + AHEAD;
                    drop(runtime.spawn_blocking(move || staging.make_ahead(numbers)));
                }
                Err(_) => self.busy.store(false, Ordering::Release),
            }
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<File>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staging {
    fn make_ahead(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            // One that is there was left over, or is in use already.
            if let Ok(file) = self.create_new(number) {
                self.ahead().lock().insert(number, Arc::new(file));
            }
        }
        self.ahead().busy.store(false, Ordering::Release);
    }
}

/// What a file has been written since its data was last sent to the disk.
///
/// The disk then works while the program goes on, and a sync at the end finds
/// little left to wait for.
#[derive(Debug, Default)]
pub(super) struct Behind {
    bytes: AtomicU64,
    busy: Arc<AtomicBool>,
}

impl Behind {
    /// Notes `count` bytes more; answers whether it is time to send them.
    pub(super) fn wrote(&self, count: u64) -> bool {
        self.bytes.fetch_add(count, Ordering::Relaxed) + count >= BEHIND
    }

    /// Sends what was written to `file`.
    pub(super) fn send(&self, file: Arc<File>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.bytes.store(0, Ordering::Relaxed);
        let busy = Arc::clone(&self.busy);
        drop(runtime.spawn_blocking(move || {
            // SAFETY: the descriptor is open as long as `file` lives; the call
            // touches no memory. It is a hint: what fails fails at the sync.
            unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
            busy.store(false, Ordering::Release);
        }));
    }
}
