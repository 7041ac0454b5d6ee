//! The end of a volume that was written: it is decided what becomes of the
//! changes, which is noted beside them; then that is done, however long it takes
//! and by whichever process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pfs_daemonset::{Code, Key, Outcome, Pods, Publish, Refusal};

use super::attributes::{Attributes, Shown, When};
use super::record::{self, Decision};
use super::refuse;
use super::session::MARKER;
use super::shared::Shared;
use super::work::Working;
use super::writing;
use crate::vfs::transaction::{Left, Resumed, resume};
use crate::vfs::{Then, TransactionView, VfsError};

/// How soon what could not be carried out is tried again, and how late at most.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// How long the server may take to hear of it.
const TELLING: Duration = Duration::from_secs(2);

/// How long changes that are under way may take to end.
const CLOSING: Duration = Duration::from_secs(60);

/// Ends the transaction `view` of `publish`. Once this returns nothing can be
/// written, and what was is as durable as what becomes of it. Volumes of the
/// branch wait for `working`, which lasts until it is committed.
pub async fn end(
    shared: &Arc<Shared>,
    (publish, view, working): (&Publish, &Arc<TransactionView>, Working),
    ((when, marked), message): ((When, bool), &str),
    pods: &dyn Pods,
) -> Result<(), Refusal> {
    let what = format!("transaction {}", view.started().id);
    let closed = tokio::time::timeout(CLOSING, view.close()).await;
    let closed = closed.map_err(|_| Refusal::unavailable(format!("{what} is being committed")))?;
    closed.map_err(|error| refuse::vfs(&what, &error))?;
    let changed = view.is_changed().map_err(|error| refuse::vfs(&what, &error))?;
    if !changed && !view.is_unsettled() {
        let (shared, view) = (Arc::clone(shared), Arc::clone(view));
        let working = shared.work.begin(None);
        let taken_back = tokio::spawn(async move {
            writing::take_back(&shared, &view).await;
            drop(working);
        });
        // A volume that nobody wrote to is not in use any more, if anybody hears.
        drop(tokio::time::timeout(TELLING, taken_back).await);
        return Ok(());
    }
    let dir = view.dir();
    let decision = match record::decision(&dir) {
        Some(decided) => decided,
        None => decide(publish, ((when, marked), message), pods).await,
    };
    let noted = record::decide(&dir, &decision);
    noted.map_err(|error| refuse::system("what becomes of a volume", &error))?;
    let working = match &decision {
        Decision::Commit(_) => {
            // So that volumes on other nodes wait as well.
            shared.source.seal(view.started().id).await;
            working
        }
        Decision::Abort(_) => shared.work.begin(None),
    };
    let (shared, view) = (Arc::clone(shared), Arc::clone(view));
    tokio::spawn(async move {
        carry_out(&shared, &view, &decision).await;
        drop(working);
    });
    Ok(())
}

/// What becomes of what was written.
async fn decide(
    publish: &Publish,
    ((when, marked), message): ((When, bool), &str),
    pods: &dyn Pods,
) -> Decision {
    let commit = Decision::Commit(message.to_owned());
    let decision = match (when, marked, &publish.pod) {
        (When::OnUnmount | When::Interval(_), _, _) | (When::OnMarker, true, _) => commit,
        (When::OnMarker, false, _) => Decision::Abort(format!("there is no file {MARKER}")),
        (When::Explicit, _, _) => Decision::Abort("nobody has committed it".to_owned()),
        (When::OnSuccess, _, None) => Decision::Abort("it is not known of which pod".to_owned()),
        (When::OnSuccess, _, Some(pod)) => match pods.outcome(pod).await {
            Outcome::Succeeded => commit,
            Outcome::Failed(why) => Decision::Abort(format!("pod {pod} has failed: {why}")),
            Outcome::Unknown(why) => {
                Decision::Abort(format!("it is not known whether pod {pod} has succeeded: {why}"))
            }
        },
    };
    tracing::info!(volume = publish.key.volume, ?decision, "a volume has ended");
    decision
}

/// Does what was decided, however often it takes.
async fn carry_out(shared: &Arc<Shared>, view: &TransactionView, decision: &Decision) {
    let (dir, source) = (view.dir(), shared.following());
    let mut pause = AGAIN;
    loop {
        let started = view.started();
        let done = match decision {
            Decision::Commit(message) => {
                shared.source.seal(started.id).await;
                view.commit(&source, message, Then::End).await.map(drop)
            }
            Decision::Abort(reason) => view.give_up(&source, reason).await,
        };
        match done {
            Ok(()) => {
                tracing::info!(transaction = %started.id, ?decision, "carried out");
                shared.source.forget(started.id);
                match decision {
                    Decision::Commit(_) => remove(view, &dir),
                    Decision::Abort(_) => record::over(&dir),
                }
                break;
            }
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, transaction = %started.id, "not carried out yet");
                shared.work.rest(pause).await;
                pause = (pause * 2).min(AGAIN_AT_MOST);
            }
            Err(error) => {
                tracing::error!(%error, transaction = %started.id, ?decision, "kept");
                // Whoever looks for it finds it there, and nobody waits for it.
                drop(Left::fail(&dir, &error.to_string()));
                record::over(&dir);
                shared.source.forget(started.id);
                view.release();
                break;
            }
        }
    }
    shared.source.set_owner(&dir, None);
}

fn remove(view: &TransactionView, dir: &Path) {
    if let Err(error) = view.discard() {
        tracing::warn!(%error, dir = %dir.display(), "not removed");
    }
}

/// Whether trying again may help.
fn may_pass(error: &VfsError) -> bool {
    match error {
        VfsError::Unavailable(_)
        | VfsError::Unsettled(_)
        | VfsError::NoSpace(_)
        | VfsError::Staging(_) => true,
        VfsError::NotFound
        | VfsError::Exists
        | VfsError::NotDirectory
        | VfsError::IsDirectory
        | VfsError::NotEmpty
        | VfsError::ReadOnly
        | VfsError::Invalid(_)
        | VfsError::NameTooLong
        | VfsError::NotUtf8
        | VfsError::TooLarge
        | VfsError::Unsupported(_)
        | VfsError::Never
        | VfsError::NoAttribute
        | VfsError::CrossesRepos
        | VfsError::NotPermitted(_)
        | VfsError::Stale
        | VfsError::Gone(_)
        | VfsError::Conflict(_)
        | VfsError::Damaged(_) => false,
    }
}

/// Carries out what a process before this one has decided.
pub fn carry_on(shared: &Arc<Shared>) {
    let left = match shared.area.all() {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(%error, "what was left is not looked at");
            return;
        }
    };
    for left in left {
        if let Some(decision) = record::decision(&left.dir)
            && !left.is_held()
        {
            begin_left(shared, left, decision);
        }
    }
}

/// Carries `decision` out on what was left, beside everything else.
fn begin_left(shared: &Arc<Shared>, left: Left, decision: Decision) {
    let branch = match &decision {
        Decision::Commit(_) => Some(&left.started.branch),
        Decision::Abort(_) => None,
    };
    let (shared, working) = (Arc::clone(shared), shared.work.begin(branch));
    tokio::spawn(async move {
        let mut pause = AGAIN;
        loop {
            let (source, mounted) = (shared.following(), &left.started.mounted);
            let clock = Arc::clone(&shared.clock);
            match resume(&source, &left, mounted, false, clock).await {
                Ok(Resumed::Open(view) | Resumed::Replacing(view, _)) => {
                    carry_out(&shared, &view, &decision).await;
                    break;
                }
                Ok(Resumed::Left(why)) => {
                    tracing::info!(transaction = %left.started.id, why, "over already");
                    record::over(&left.dir);
                    break;
                }
                Err(error) if may_pass(&error) => {
                    tracing::warn!(%error, transaction = %left.started.id, "not carried out yet");
                    shared.work.rest(pause).await;
                    pause = (pause * 2).min(AGAIN_AT_MOST);
                }
                Err(error) => {
                    tracing::error!(%error, transaction = %left.started.id, "kept");
                    drop(Left::fail(&left.dir, &error.to_string()));
                    shared.source.forget(left.started.id);
                    break;
                }
            }
        }
        drop(working);
    });
}

/// Unpublishes `key`, of which nobody in this process knows: what was written
/// may be left by one that has died together with its keeper.
pub async fn end_lost(shared: &Arc<Shared>, key: &Key, pods: &dyn Pods) -> Result<(), Refusal> {
    let all = shared.area.all();
    let all = all.map_err(|error| refuse::system("what was left", &error))?;
    for left in all {
        let Some(publish) = record::publish(&left.dir).filter(|publish| publish.key == *key) else {
            continue;
        };
        if left.is_held() || !left.is_open() || left.failure().is_some() {
            continue;
        }
        let decided = record::decision(&left.dir);
        let decision = match decided {
            // It is being carried out.
            Some(_) => continue,
            None => decide_left(shared, &publish, &left, pods).await?,
        };
        let noted = record::decide(&left.dir, &decision);
        noted.map_err(|error| refuse::system("what becomes of a volume", &error))?;
        begin_left(shared, left, decision);
    }
    Ok(())
}

async fn decide_left(
    shared: &Arc<Shared>,
    publish: &Publish,
    left: &Left,
    pods: &dyn Pods,
) -> Result<Decision, Refusal> {
    let given = &publish.attributes;
    let attributes = Attributes::parse(given, publish.read_only, publish.ephemeral)?;
    let Shown::Written { when, message, path, .. } = attributes.shown else {
        return Err(Refusal::internal("changes of a volume that nobody writes"));
    };
    let marked = when == When::OnMarker && {
        let (source, mounted) = (shared.following(), &left.started.mounted);
        let resumed = resume(&source, left, mounted, false, Arc::clone(&shared.clock)).await;
        match resumed.map_err(|error| refuse::vfs("what was left", &error))? {
            Resumed::Open(view) | Resumed::Replacing(view, _) => {
                let marker = path.join(MARKER);
                let marker = marker.map_err(|error| Refusal::internal(error.to_string()))?;
                let found = view.has(&marker).await;
                found.map_err(|error| refuse::vfs(MARKER, &error))?
            }
            Resumed::Left(why) => return Err(Refusal::new(Code::FailedPrecondition, why)),
        }
    };
    Ok(decide(publish, ((when, marked), &message), pods).await)
}

#[cfg(test)]
mod tests;
