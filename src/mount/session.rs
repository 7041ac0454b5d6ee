//! One mount from attach to unmount: threads that serve the kernel, and one
//! that tells it what to forget.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fuser::Notifier;
use nix::poll::{PollFd, PollFlags, poll};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::device::{self, MountError};
use super::holder::Link;
use super::options::MountOptions;
use super::push::Stop;
use super::standby::{Standby, can_take_over, first_request};
use super::stats::Stats;
use crate::vfs::{Files, InodeNo, Invalidation};

/// How far ahead the kernel may read where it lets itself be told, in KiB.
const READ_AHEAD: u32 = 1024;

/// How long the kernel may take to ask for something, in milliseconds.
const FIRST_REQUEST: u16 = 5000;

/// A mounted directory. Dropping it leaves it mounted and served.
#[derive(Debug)]
pub struct Mounted {
    pub(super) dir: PathBuf,
    pub(super) served: JoinHandle<io::Result<()>>,
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) tell: mpsc::Sender<Invalidation>,
    /// Set when there is nobody left to be told.
    pub(super) over: Arc<AtomicBool>,
    pub(super) pushing: Stop,
    pub(super) stats: Arc<Stats>,
}

impl Mounted {
    /// Mounts `files` on `dir` and serves it with threads of its own; `runtime`
    /// does what those would have to wait for. Ready when it returns.
    pub fn new(
        dir: &Path,
        files: &Arc<Files>,
        options: &MountOptions,
        runtime: &Handle,
    ) -> Result<Self, MountError> {
        Self::held(dir, files, (options, None), runtime)
    }

    /// The same, with what a successor needs in the hands of a holder.
    pub fn held(
        dir: &Path,
        files: &Arc<Files>,
        (options, holder): (&MountOptions, Option<&Link>),
        runtime: &Handle,
    ) -> Result<Self, MountError> {
        let dir = dir
            .canonicalize()
            .map_err(|source| MountError::Directory { dir: dir.to_owned(), source })?;
        let writable = files.is_writable();
        let device = device::attach(&dir, options, writable)?;
        let begin = || {
            let init = first_request(&device)?;
            let memory = files.memory().filter(|_| can_take_over(&init));
            let held = holder.zip(memory);
            let mut options = options.clone();
            // Nobody would see to what waits for a server that was killed.
            options.push &= holder.is_some() == held.is_some();
            let standby = Standby::new(&init, &options, writable, runtime)?;
            // Before anything was shown that a successor would have to know.
            if let Some((holder, memory)) = held {
                holder.hold(&init, standby.answer(), [device.as_fd(), memory.as_fd()])?;
            }
            standby.serve(dir.clone(), files, &device)
        };
        let mounted = begin().inspect_err(|_| {
            // Nobody would ever answer at this directory.
            drop(device::unmount(&dir));
        })?;
        device::set_read_ahead(&dir, READ_AHEAD);
        Ok(mounted)
    }

    /// Serves `files` over `device`, a connection that somebody else has mounted
    /// at `dir` and of which nothing was read. `hold` hears what a successor
    /// needs, the kernel's first request and the answer, before anybody else is
    /// answered.
    pub fn attached(
        (dir, files): (&Path, &Arc<Files>),
        options: &MountOptions,
        device: &OwnedFd,
        runtime: &Handle,
        hold: impl FnOnce(&[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        // Somebody may say that it is mounted which is not.
        let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if matches!(poll(&mut fds, FIRST_REQUEST), Ok(0)) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel asks for nothing"));
        }
        let init = first_request(device)?;
        if !can_take_over(&init) {
            tracing::debug!("the kernel sends nothing again to a successor");
        }
        let standby = Standby::new(&init, options, files.is_writable(), runtime)?;
        hold(&init, standby.answer())?;
        standby.serve(dir.to_owned(), files, device)
    }

    /// The mount point.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where to say what the kernel must forget.
    #[must_use]
    pub fn invalidations(&self) -> mpsc::Sender<Invalidation> {
        self.tell.clone()
    }

    /// The counters of what it is asked.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Has nothing pushed any more: nobody is left who would see to what waits
    /// for this process when it is killed.
    pub fn stop_pushing(&self) {
        self.pushing.for_good();
    }

    /// Unmounts; fails with [`MountError::Busy`] while a program uses it.
    pub fn unmount(&self) -> Result<(), MountError> {
        self.pushing.set(true);
        let unmounted = device::unmount(&self.dir);
        self.pushing.set(unmounted.is_ok());
        unmounted
    }

    /// Waits until the directory is no longer mounted, whoever unmounted it.
    pub async fn ended(&mut self) {
        // An error means that the thread is gone, and the mount with it.
        drop((&mut self.ended).await);
    }

    /// Waits for the threads after [`Mounted::ended`].
    pub fn join(self) -> io::Result<()> {
        self.over.store(true, Ordering::Release);
        // Whatever it is about, it wakes the one who tells; a queue that is full
        // does so, too.
        drop(self.tell.try_send(Invalidation::Content(InodeNo::ROOT)));
        self.served.join().map_err(|_| io::Error::other("the mount's thread panicked"))?
    }
}

/// Passes invalidations on until nobody can send any more or the mount ends.
pub(super) fn forget(
    mut told: mpsc::Receiver<Invalidation>,
    notifier: &Notifier,
    over: &AtomicBool,
) {
    while let Some(what) = told.blocking_recv() {
        if over.load(Ordering::Acquire) {
            break;
        }
        let done = match &what {
            Invalidation::Entry { parent, name } => {
                notifier.inval_entry(fuser::INodeNo(parent.0), OsStr::new(&**name))
            }
            Invalidation::Content(ino) => notifier.inval_inode(fuser::INodeNo(ino.0), 0, 0),
        };
        match done {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => break,
            Err(error) => tracing::debug!(%error, ?what, "the kernel did not forget"),
        }
    }
}
