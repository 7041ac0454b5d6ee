//! Where the threads of a session wait before they serve the kernel.
//!
//! A thread that is killed while the kernel copies a request into memory that
//! it has not touched yet takes the request with it. So each first gets a
//! request of our own, makes its buffer present, and waits here.

use std::io;
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{INodeNo, ReplyStatfs, Request};

/// The largest request, in bytes.
pub(super) const REQUEST: u32 = 1 << 20;

/// What a request takes besides the bytes to write.
const AROUND: usize = 16 << 10;

/// What the requests take that write nothing, and that somebody waits for.
const READING: usize = 64 << 10;

const PAGE: usize = 4096;

/// How long threads may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The inode that the requests of our own are about; no table has it.
const INODE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Gate {
    /// How many bytes the requests take that are to be served.
    request: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    open: bool,
}

impl Gate {
    /// For requests that write up to so many bytes at once, or nothing.
    pub(super) fn new(write: Option<u32>) -> Self {
        let request = write.map_or(READING, |write| write as usize + AROUND);
        Self { request, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a statfs of `ino` is one that [`Gate::request`] makes.
    pub(super) fn is_asked(ino: INodeNo) -> bool {
        ino.0 == INODE
    }

    /// Answers such a request once its buffer is present; returns when the
    /// gate is open.
    pub(super) fn wait(&self, request: &Request, reply: ReplyStatfs) {
        make_present(request, self.request);
        reply.statfs(0, 0, 0, 0, 0, 0, 0, 0);
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while !state.open {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `threads` of them wait.
    pub(super) fn await_threads(&self, threads: usize) -> io::Result<()> {
        let absent = |state: &mut State| state.waiting < threads;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, absent);
        match waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            true => Err(io::Error::other("the mount's threads did not start")),
            false => Ok(()),
        }
    }

    /// Lets all go on.
    pub(super) fn open(&self) {
        self.lock().open = true;
        self.changed.notify_all();
    }

    /// A request as the kernel writes it: a statfs of an inode that it cannot
    /// know.
    pub(super) fn request() -> Vec<u8> {
        const STATFS: u32 = 17;
        const HEADER: u32 = 40;
        let mut bytes = Vec::with_capacity(HEADER as usize);
        bytes.extend(HEADER.to_ne_bytes());
        bytes.extend(STATFS.to_ne_bytes());
        bytes.extend(1_u64.to_ne_bytes());
        bytes.extend(INODE.to_ne_bytes());
        bytes.resize(HEADER as usize, 0);
        bytes
    }
}

/// Makes the memory present that requests of this thread are read into: a
/// request's header is what its buffer begins with.
fn make_present(request: &Request, length: usize) {
    let start = ptr::from_ref(request).addr() & !(PAGE - 1);
    // SAFETY: making pages present changes nothing that a program can see;
    // where there are none the call fails.
    let done = unsafe {
        libc::madvise(ptr::without_provenance_mut(start), length, libc::MADV_POPULATE_WRITE)
    };
    if done != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "a buffer is not present yet");
    }
}
