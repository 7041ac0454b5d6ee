//! One mount from attach to unmount: threads that serve the kernel, and one
//! that tells it what to forget.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use fuser::{INodeNo, Notifier};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::device::{self, MountError};
use super::holder::Link;
use super::options::MountOptions;
use super::push::Stop;
use super::standby::{Standby, can_take_over, first_request};
use super::stats::Stats;
use crate::vfs::{Files, Invalidation};

/// How far ahead the kernel may read where it lets itself be told, in KiB.
const READ_AHEAD: u32 = 1024;

/// A mounted directory. Dropping it leaves it mounted and served.
#[derive(Debug)]
pub struct Mounted {
    pub(super) dir: PathBuf,
    pub(super) served: JoinHandle<io::Result<()>>,
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) tell: mpsc::Sender<Invalidation>,
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
        self.served.join().map_err(|_| io::Error::other("the mount's thread panicked"))?
    }
}

/// Passes invalidations on until nobody can send any more or the mount ends.
pub(super) fn forget(mut told: mpsc::Receiver<Invalidation>, notifier: &Notifier) {
    while let Some(what) = told.blocking_recv() {
        let done = match &what {
            Invalidation::Entry { parent, name } => {
                notifier.inval_entry(INodeNo(parent.0), OsStr::new(&**name))
            }
            Invalidation::Content(ino) => notifier.inval_inode(INodeNo(ino.0), 0, 0),
        };
        match done {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => break,
            Err(error) => tracing::debug!(%error, ?what, "the kernel did not forget"),
        }
    }
}
