//! The transaction of a volume that is written.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use pfs_daemonset::{Code, Publish, Refusal};

use super::record;
use super::refuse;
use super::shared::Shared;
use crate::model::{Branch, TransactionId};
use crate::vfs::transaction::{self, Attach, Left, Resumed, resume};
use crate::vfs::{Begin, Source as _, Then, TransactionView, Upon, VfsError};

/// How often the same publish can begin anew.
const ATTEMPTS: u32 = 1000;

/// The `attempt`-th transaction of a publish: asked for again it is the same, and
/// another pod has another.
fn id(publish: &Publish, attempt: u32) -> TransactionId {
    let mut hasher = blake3::Hasher::new_derive_key("pfs volume transaction v1");
    let pod = publish.pod.as_ref().map_or("", |pod| pod.uid.as_str());
    let target = publish.key.target.as_os_str().as_encoded_bytes();
    for part in [publish.key.volume.as_bytes(), pod.as_bytes(), target, &attempt.to_le_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    TransactionId::new(bytes)
}

/// The transaction of `publish` on `branch`: the one that it has left when this
/// machine or this process was started anew, or a new one.
pub async fn begin(
    shared: &Arc<Shared>,
    publish: &Publish,
    branch: &Branch,
) -> Result<Arc<TransactionView>, Refusal> {
    for attempt in 0..ATTEMPTS {
        let id = id(publish, attempt);
        let staging = shared.area.place(id);
        let staging = staging.map_err(|error| refuse::system("no room to stage", &error))?;
        shared.source.set_owner(&staging, Some(owner(publish)));
        let begun = match Left::at(staging.clone()) {
            Some(left) => go_on(shared, &left).await,
            None => fresh(shared, id, (publish, branch), &staging).await,
        };
        match begun {
            Ok(Some(view)) => return Ok(Arc::new(view)),
            Ok(None) => shared.source.set_owner(&staging, None),
            Err(error) => {
                shared.source.set_owner(&staging, None);
                return Err(error);
            }
        }
    }
    Err(Refusal::new(Code::ResourceExhausted, "it was published too often"))
}

/// Who writes, for people.
pub fn owner(publish: &Publish) -> String {
    match &publish.pod {
        Some(pod) => format!("pod {pod}, volume {}", publish.key.volume),
        None => format!("volume {}", publish.key.volume),
    }
}

/// Namespace and name of the pod that an [`owner`] is.
pub fn pod_of(owner: &str) -> Option<(&str, &str)> {
    let (pod, _) = owner.strip_prefix("pod ")?.split_once(", volume ")?;
    pod.split_once('/')
}

/// Goes on with what was left; `None` when it is over, or about to be.
async fn go_on(shared: &Arc<Shared>, left: &Left) -> Result<Option<TransactionView>, Refusal> {
    if record::decision(&left.dir).is_some() || left.started.ended.is_some() {
        return Ok(None);
    }
    if left.is_held() {
        let what = format!("transaction {} is mounted", left.started.id);
        return Err(Refusal::new(Code::Aborted, what));
    }
    let (source, mounted) = (shared.following(), &left.started.mounted);
    let resumed = resume(&source, left, mounted, false, Arc::clone(&shared.clock)).await;
    let what = format!("transaction {}", left.started.id);
    match resumed.map_err(|error| refuse::vfs(&what, &error))? {
        Resumed::Open(view) | Resumed::Replacing(view, _) => Ok(Some(view)),
        Resumed::Left(why) => {
            tracing::warn!(why, transaction = %left.started.id, "not gone on with");
            Ok(None)
        }
    }
}

/// Begins a transaction; `None` when there was one of its id, which is over.
async fn fresh(
    shared: &Arc<Shared>,
    id: TransactionId,
    (publish, branch): (&Publish, &Branch),
    staging: &Path,
) -> Result<Option<TransactionView>, Refusal> {
    let source = shared.following();
    let refused = |error: VfsError| refuse::vfs(&format!("{branch} cannot be written"), &error);
    let place = source.place(&branch.repo).await.map_err(refused)?;
    let wanted = Begin { id, branch, upon: Upon::Newest, staging };
    let (target, clock) = (publish.key.target.display().to_string(), Arc::clone(&shared.clock));
    let view = match transaction::begin(&source, wanted, (place, &target), clock).await {
        Ok(view) => view,
        Err(VfsError::Conflict(_)) => return over(shared, id).await,
        Err(error) => return Err(refused(error)),
    };
    match record::note_publish(staging, publish) {
        Ok(()) => Ok(Some(view)),
        Err(error) => {
            take_back(shared, &view).await;
            Err(refuse::system("no room to stage", &error))
        }
    }
}

/// `None` when `id` is over; an error when the conflict is another.
async fn over(shared: &Arc<Shared>, id: TransactionId) -> Result<Option<TransactionView>, Refusal> {
    let fate = shared.following().fate(id).await;
    match fate.map_err(|error| refuse::vfs("a transaction of before", &error))? {
        crate::vfs::Fate::Over(_) | crate::vfs::Fate::Conflict(_) => Ok(None),
        crate::vfs::Fate::Open | crate::vfs::Fate::Unknown => {
            let what = format!("transaction {id} cannot begin");
            Err(Refusal::new(Code::FailedPrecondition, what))
        }
    }
}

/// Ends a transaction that nobody has written to.
pub async fn take_back(shared: &Arc<Shared>, view: &TransactionView) {
    let (started, dir) = (view.started(), view.dir());
    match view.is_changed() {
        // Of a publish before that was broken off.
        Ok(true) | Err(_) => return view.release(),
        Ok(false) => {}
    }
    // The lease ends by itself where the server does not hear of it.
    drop(shared.following().abandon(&started, "nothing was written").await);
    if let Err(error) = view.discard() {
        tracing::warn!(%error, dir = %dir.display(), "not removed");
    }
    shared.source.set_owner(&dir, None);
}

/// Goes on with the transaction `key` of a dead process.
pub async fn attach(
    shared: &Arc<Shared>,
    publish: &Publish,
    key: TransactionId,
    (mirror, lock): (Option<OwnedFd>, Option<OwnedFd>),
) -> Result<Arc<TransactionView>, Refusal> {
    let what = format!("transaction {key}");
    let missing = || Refusal::internal(format!("nobody has kept {what}"));
    let source = shared.following();
    let mirror = mirror.ok_or_else(missing)?;
    let clock = Arc::clone(&shared.clock);
    let attached = TransactionView::attach(Attach { mirror, lock, nodes: source.nodes(), clock });
    let view = attached.await.map_err(|error| refuse::vfs(&what, &error))?;
    let dir = view.dir();
    shared.source.set_owner(&dir, Some(owner(publish)));
    shared.source.go_on(&view.started(), &dir, view.committing().is_some());
    Ok(Arc::new(view))
}

/// Ends what the process before was about to do with `view`.
pub async fn settle(shared: &Arc<Shared>, view: &Arc<TransactionView>) {
    view.settle_down().await;
    let Some(message) = view.committing() else { return };
    let (view, source) = (Arc::clone(view), shared.following());
    let mut commit = Box::pin(async move {
        if let Err(error) = view.commit(&source, &message, Then::GoOn).await {
            tracing::warn!(%error, "what became of a commit is not known yet");
        }
    });
    // Sealed before anybody can write, who waits for the end of it.
    if futures::poll!(&mut commit).is_pending() {
        tokio::spawn(commit);
    }
}
