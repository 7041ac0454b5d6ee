//! What was written to a branch before a volume of it begins.
//!
//! A step of a workflow begins when the pod of the step before has ended. What
//! that one has written is perhaps still to be sealed, when its kubelet has not
//! come to unpublish it, or is being committed, by this agent or that of another
//! node. A volume of the same branch waits for it.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use pfs_daemonset::{Pods, Refusal};

use super::refuse;
use super::shared::Shared;
use super::writing;
use crate::cli::mount::{Stage, Unfinished};
use crate::model::Branch;

#[cfg(test)]
mod tests;

/// How soon it is looked again, and how late at most.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// How many pods are asked about at once, and how long that may take.
const ASKED: usize = 16;
const ASKING: Duration = Duration::from_secs(2);

/// What a volume waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Earlier {
    /// Which, for people.
    what: String,
    /// Whether it is decided that it is committed.
    is_decided: bool,
}

/// Returns when what was written to `branch` by pods that have ended is there.
///
/// After the time that `shared` allows, a commit that is still under way is a
/// refusal for now. A pod that has ended and whose volume stays is not waited for
/// any longer: nobody knows whether anything will be committed.
pub async fn wait(shared: &Shared, branch: &Branch, pods: &dyn Pods) -> Result<(), Refusal> {
    if shared.wait.is_zero() {
        return Ok(());
    }
    let mut last = None;
    let waited = tokio::time::timeout(shared.wait, ended(shared, branch, pods, &mut last));
    if let Ok(done) = waited.await {
        return done;
    }
    match last {
        Some(Earlier { what, is_decided: false }) => {
            tracing::warn!(%branch, what, "not waited for any longer");
            Ok(())
        }
        Some(Earlier { what, is_decided: true }) => Err(Refusal::unavailable(format!(
            "{what}, and not done after {:?}: it is waited for again with the next attempt; 'pfs \
             list transaction --mounts' shows why, 'pfs delete transaction ID' gives it up",
            shared.wait
        ))),
        None => Err(Refusal::unavailable(format!(
            "the server has not said within {:?} what is being committed to {branch}",
            shared.wait
        ))),
    }
}

async fn ended(
    shared: &Shared,
    branch: &Branch,
    pods: &dyn Pods,
    last: &mut Option<Earlier>,
) -> Result<(), Refusal> {
    let mut pause = AGAIN;
    loop {
        match look(shared, branch, pods).await? {
            None => return Ok(()),
            found => *last = found,
        }
        shared.work.hurry();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_AT_MOST);
    }
}

/// Something to wait for, if there is any.
async fn look(
    shared: &Shared,
    branch: &Branch,
    pods: &dyn Pods,
) -> Result<Option<Earlier>, Refusal> {
    if shared.work.is_on(branch) {
        let what = format!("what was written to {branch} on this node is being committed");
        return Ok(Some(Earlier { what, is_decided: true }));
    }
    let unfinished = shared.source.unfinished(branch).await;
    let unfinished = unfinished.map_err(|status| refuse::status(&branch.to_string(), &status))?;
    Ok(first(unfinished, branch, pods).await)
}

/// What of `unfinished` is to be waited for: a decided one before others.
async fn first(unfinished: Vec<Unfinished>, branch: &Branch, pods: &dyn Pods) -> Option<Earlier> {
    let mut looked = stream::iter(unfinished)
        .map(|one| async move {
            let Unfinished { id, owner, stage } = one;
            let is_decided = match (stage, has_ended(pods, &owner).await) {
                (Stage::Sealing, _) | (Stage::Sealed, Some(true) | None) => true,
                (Stage::Open, Some(true)) => false,
                // A pod that runs, and commits now and then; somebody who writes.
                (Stage::Sealed, Some(false)) | (Stage::Open, Some(false) | None) => return None,
            };
            let doing = if is_decided { "is being committed" } else { "is to be sealed" };
            let what = format!("transaction {id} of {owner} {doing} to {branch}");
            Some(Earlier { what, is_decided })
        })
        .buffer_unordered(ASKED);
    let mut found = None;
    while let Some(looked) = looked.next().await {
        match looked {
            Some(Earlier { is_decided: true, .. }) => return looked,
            Some(_) => found = looked,
            None => {}
        }
    }
    found
}

/// Whether the pod that `owner` names has ended, if it names one and somebody
/// knows.
async fn has_ended(pods: &dyn Pods, owner: &str) -> Option<bool> {
    let (namespace, name) = writing::pod_of(owner)?;
    tokio::time::timeout(ASKING, pods.has_ended(namespace, name)).await.ok()?
}
