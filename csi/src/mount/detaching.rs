//! Detaching mounts without ever waiting for a file system's server.
//!
//! umount2(2) with MNT_DETACH takes a mount out of the table at once, but may
//! then wait until what was written has reached its server. So it has a thread
//! of its own; who asked waits for a while, goes away, and may come back. When
//! too long is over, the kernel's connection is aborted, which ends all waiting.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::watch;

use super::{Kernel, Mounted};
use crate::refusal::{Refusal, Result};

/// How long one call waits, and how long a file system's server may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// One call.
    pub call: Duration,
    /// All calls together, before the connection is aborted.
    pub server: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // Kubelet gives a call two minutes.
        Self { call: Duration::from_secs(20), server: Duration::from_secs(60) }
    }
}

/// The mounts that are being detached.
pub(crate) struct Detaching {
    kernel: Arc<dyn Kernel>,
    patience: Patience,
    running: Mutex<HashMap<PathBuf, Running>>,
}

/// A thread that detaches what was on one path.
#[derive(Clone)]
struct Running {
    since: Instant,
    connections: Vec<u32>,
    /// What came of it, once it is over.
    outcome: watch::Receiver<Option<Result<(), String>>>,
}

impl Detaching {
    /// Detaches by way of `kernel`.
    pub fn new(kernel: Arc<dyn Kernel>, patience: Patience) -> Self {
        Self { kernel, patience, running: Mutex::default() }
    }

    /// Detaches everything that is mounted on `target`, `mounts`, and waits for
    /// detaching begun earlier; [`Refusal::Pending`] when that takes too long.
    pub async fn detach(&self, target: &Path, mounts: &[Mounted]) -> Result<()> {
        let Some(mut running) = self.begin(target, mounts)? else { return Ok(()) };
        let finished = running.outcome.wait_for(Option::is_some);
        let finished = tokio::time::timeout(self.patience.call, finished).await;
        let outcome = match finished.map(|outcome| outcome.map(|outcome| outcome.clone())) {
            Ok(outcome) => outcome.ok().flatten(),
            Err(_) => return Err(self.overdue(target, &running)),
        };
        self.forget(target);
        let broken = || Err(format!("detaching {} broke off", target.display()));
        outcome.unwrap_or_else(broken).map_err(Refusal::Internal)
    }

    /// The thread that works on `target`: the one there is, or a new one when
    /// there is something to do.
    fn begin(&self, target: &Path, mounts: &[Mounted]) -> Result<Option<Running>> {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(target) {
            // What ended while nobody waited says nothing of what is there now.
            Some(running) if mounts.is_empty() || running.outcome.borrow().is_none() => {
                return Ok(Some(running.clone()));
            }
            None if mounts.is_empty() => return Ok(None),
            Some(_) | None => {}
        }
        let (sender, outcome) = watch::channel(None);
        let connections = mounts.iter().filter_map(Mounted::connection).collect();
        let running = Running { since: Instant::now(), connections, outcome };
        let (kernel, path, times) = (Arc::clone(&self.kernel), target.to_owned(), mounts.len());
        let work = move || {
            let done = (0..times).try_for_each(|_| detach(&*kernel, &path));
            sender.send_replace(Some(done.map_err(|error| {
                format!("cannot detach the mount at {}: {error}", path.display())
            })));
        };
        let spawned = std::thread::Builder::new().name("detach".to_owned()).spawn(work);
        spawned.map_err(|error| Refusal::Internal(format!("no thread to detach with: {error}")))?;
        all.insert(target.to_owned(), running.clone());
        Ok(Some(running))
    }

    /// Says that it takes long; ends the waiting when it takes too long.
    fn overdue(&self, target: &Path, running: &Running) -> Refusal {
        if running.since.elapsed() >= self.patience.server {
            for connection in &running.connections {
                match self.kernel.abort(*connection) {
                    Ok(()) => tracing::warn!(connection, ?target, "a silent mount is aborted"),
                    Err(error) => tracing::debug!(connection, %error, "cannot abort"),
                }
            }
        }
        Refusal::Pending(format!("the mount at {} is still being detached", target.display()))
    }

    fn forget(&self, target: &Path) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }
}

/// Detaches one mount; one that is gone already is detached.
fn detach(kernel: &dyn Kernel, target: &Path) -> io::Result<()> {
    match kernel.detach(target) {
        Err(error) if is_gone(&error) => Ok(()),
        done => done,
    }
}

fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EINVAL | Errno::ENOENT))
}
