//! The Node service: mounting volumes where an orchestrator wants them.
//!
//! Nothing is remembered here between calls. What is mounted is in the
//! kernel's table, what was asked for in the agent's sessions.

mod locks;
mod publish;
pub(crate) mod request;
mod service;
mod stats;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{Agent, Place};
use crate::mount::{Detaching, Kernel, Mounted, Patience};
use crate::refusal::{Refusal, Result};
use locks::Locks;

/// The service.
pub(crate) struct Node {
    agent: Arc<dyn Agent>,
    kernel: Arc<dyn Kernel>,
    detaching: Detaching,
    locks: Locks,
    node_id: String,
    max_volumes: i64,
}

impl Node {
    /// The service of the node that the cluster knows as `node_id`, for at most
    /// `max_volumes`; 0 is no bound.
    pub fn new(
        agent: Arc<dyn Agent>,
        kernel: Arc<dyn Kernel>,
        patience: Patience,
        node_id: String,
        max_volumes: u32,
    ) -> Self {
        let detaching = Detaching::new(Arc::clone(&kernel), patience);
        let max_volumes = i64::from(max_volumes);
        Self { agent, kernel, detaching, locks: Locks::default(), node_id, max_volumes }
    }

    /// What is mounted on a target, the last one on top.
    async fn mounts(&self, target: &Path) -> Result<Vec<Mounted>> {
        let table = self.with_kernel(<dyn Kernel>::table).await?;
        Ok(table.into_iter().filter(|mounted| mounted.target == target).collect())
    }

    /// Has the kernel do something on a thread that may wait.
    async fn with_kernel<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Kernel) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let kernel = Arc::clone(&self.kernel);
        blocking(move || work(&*kernel))
            .await?
            .map_err(|error| Refusal::Internal(error.to_string()))
    }
}

/// Runs what may wait on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::Internal(format!("a thread ended: {error}")))
}

/// A place with its target as the kernel's table has it: without symbolic
/// links. The target itself is not looked at, it may be a mount; where its
/// directory is gone it stays as it is.
async fn resolved(place: Place) -> Result<Place> {
    let Place { volume_id, target } = place;
    let target = blocking(move || real(&target)).await?;
    Ok(Place { volume_id, target })
}

fn real(target: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return target.to_owned();
    };
    parent.canonicalize().map_or_else(|_| target.to_owned(), |parent| parent.join(name))
}
