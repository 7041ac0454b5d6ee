//! One mount from attach to unmount: threads that serve the kernel, and one
//! that tells it what to forget.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fuser::{Config, INodeNo, Notifier, Session, SessionACL};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::adapter::Adapter;
use super::device::{self, MountError};
use super::options::MountOptions;
use super::push::{Stop, pushes};
use super::stats::Stats;
use crate::vfs::{Files, Invalidation, WAITING};

/// How far ahead the kernel may read where it lets itself be told, in KiB.
const READ_AHEAD: u32 = 1024;

/// A mounted directory. Dropping it leaves it mounted and served.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
    served: JoinHandle<io::Result<()>>,
    ended: oneshot::Receiver<()>,
    tell: mpsc::Sender<Invalidation>,
    pushing: Stop,
    stats: Arc<Stats>,
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
        let dir = dir
            .canonicalize()
            .map_err(|source| MountError::Directory { dir: dir.to_owned(), source })?;
        let writable = files.is_writable();
        let device = device::attach(&dir, options, writable)?;
        let stats = Arc::new(Stats::of(Arc::clone(files), options.slow));
        let (pushes, pushing) = pushes();
        let adapter = Adapter {
            files: Arc::clone(files),
            runtime: runtime.clone(),
            options: Arc::new(options.clone()),
            pushes: Arc::new(pushes),
            writable,
            direct: false,
            stats: Arc::clone(&stats),
        };
        let session = match start(device, adapter) {
            Ok(session) => session,
            Err(error) => {
                // Nobody would ever answer at this directory.
                let _ = device::unmount(&dir);
                return Err(error.into());
            }
        };
        let (tell, told) = mpsc::channel(WAITING);
        let notifier = session.notifier();
        // Never from a thread that serves: the kernel may hold what it needs.
        thread::Builder::new().name("pfs-forget".into()).spawn(move || forget(told, &notifier))?;
        // From before the first request: nothing that moves is missed.
        runtime.spawn(files.follow(tell.clone()));
        let stop = pushing.stop();
        if let (true, Some(number)) = (options.push, device::number(&dir)) {
            pushing.start(&dir, number, files, &session.notifier(), runtime)?;
        }
        let (end, ended) = oneshot::channel();
        let served = thread::Builder::new().name("pfs-mount".into()).spawn(move || {
            let result = session.run();
            // Nobody need be waiting.
            let _ = end.send(());
            result
        })?;
        device::set_read_ahead(&dir, READ_AHEAD);
        Ok(Self { dir, served, ended, tell, pushing: stop, stats })
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

fn start(device: std::os::fd::OwnedFd, adapter: Adapter) -> io::Result<Session<Adapter>> {
    let mut config = Config::default();
    config.n_threads = Some(adapter.options.threads.max(1));
    // The kernel itself keeps others out unless they are allowed in.
    Session::from_fd(adapter, device, SessionACL::All, config)
}

/// Passes invalidations on until nobody can send any more or the mount ends.
fn forget(mut told: mpsc::Receiver<Invalidation>, notifier: &Notifier) {
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
