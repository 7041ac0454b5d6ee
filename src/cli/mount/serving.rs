//! The process behind a mount, from connecting to the last commit.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::control::is_dead;
use super::daemon;
use super::held;
use super::observed;
use super::plan::{CommitWhen, MountPlan, MountedRepo};
use super::prefetch;
use super::reader::{nodes, reach};
use super::source::{Following, ServerSource};
use super::staging::{self, Held};
use crate::api::client::connect;
use crate::cli::failure::{Failure, Outcome, UNREACHABLE};
use crate::model::{Branch, BranchName, Clock, SystemClock};
use crate::mount::{MountError, MountOptions, Mounted, control, detach};
use crate::tree::{Root, Tree};
use crate::vfs::transaction::inspect;
use crate::vfs::xattr::PROCESS;
use crate::vfs::{Files, Resolved, Shown, Source, Started, Then, TransactionView, VfsError};
use crate::web::Listening;

/// A mount and what ends with it.
pub(super) struct Serving {
    mounted: Mounted,
    _metrics: Option<Listening>,
    source: Following,
    transactions: Vec<(Arc<TransactionView>, Held)>,
    commit: CommitWhen,
    /// Where transactions are staged.
    staging: PathBuf,
}

/// Mounts as planned and serves until unmounted; commits what is to be
/// committed then.
pub async fn serve(plan: MountPlan) -> Outcome {
    let serving = start(plan).await?;
    if daemon::is_child() {
        daemon::settle();
        daemon::ready()?;
    }
    serving.until_the_end().await
}

/// A mount that a predecessor has served.
pub(super) async fn resumed(plan: &MountPlan, mounted: Mounted, source: Following) -> Serving {
    let (transactions, staging) = (Vec::new(), staging::root(None));
    let metrics = observed::metrics(plan, &mounted).await.unwrap_or_else(|failure| {
        tracing::warn!(failure.message, "the mount goes on without metrics");
        None
    });
    let commit = CommitWhen::Explicit;
    Serving { mounted, _metrics: metrics, source, transactions, commit, staging }
}

async fn start(mut plan: MountPlan) -> Outcome<Serving> {
    observed::log(&mut plan)?;
    prefetch::check(&plan)?;
    plan.cache = plan.cache.map(std::path::absolute).transpose()?;
    let dir = mount_point(&plan.dir)?;
    let client = connect(&plan.address)
        .await
        .map_err(|error| Failure::new(error.to_string()).hint(UNREACHABLE))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = plan.cache.as_deref().map(|dir| (dir, plan.cache_size));
    let (url, store) = reach(&client).await?;
    let nodes = nodes(store, cache, plan.memory, Arc::clone(&clock));
    let host = nix::unistd::gethostname().unwrap_or_default();
    let owner = format!("{}:{}", host.to_string_lossy(), dir.display());
    let source = ServerSource::new(client, nodes, Arc::clone(&clock), owner);
    let mut transactions = Vec::new();
    let mut shown = Vec::new();
    for repo in &plan.repos {
        let (one, transaction) = show(&source, repo, &plan, &dir, &clock).await?;
        transactions.extend(transaction);
        shown.push(one);
    }
    let only = (!shown.is_empty()).then_some(shown);
    prefetch::begin(&plan, &source);
    let following = Following(Arc::clone(&source));
    let files = Files::of_repos(Arc::new(Following(source)), only, clock.now());
    let options = options(&plan);
    let runtime = tokio::runtime::Handle::current();
    // A transaction does not go on in another process yet.
    let holder = if files.is_writable() { None } else { held::link() };
    if let Some(holder) = holder {
        holder.note(&held::Note::of(&plan, &dir, url).value())?;
    }
    let mounted = Mounted::held(&dir, &Arc::new(files), (&options, holder), &runtime);
    let mounted = mounted.map_err(|error| failed(&error))?;
    let metrics = match observed::metrics(&plan, &mounted).await {
        Ok(metrics) => metrics,
        Err(failure) => {
            // Nothing was asked of it yet.
            mounted.unmount().map_err(|error| failed(&error))?;
            return Err(failure);
        }
    };
    let staging = staging::root(plan.cache.as_deref());
    Ok(Serving {
        _metrics: metrics,
        mounted,
        source: following,
        transactions,
        commit: plan.commit,
        staging,
    })
}

/// The directory to mount on, as the kernel will name it.
fn mount_point(dir: &Path) -> Outcome<PathBuf> {
    let shown = dir.display();
    if is_dead(dir) {
        return Err(Failure::new(format!("the process that was behind {shown} has died"))
            .hint(format!("take the mount away first: pfs umount {shown}")));
    }
    let found = dir.canonicalize().map_err(|error| {
        Failure::new(format!("{shown} cannot be mounted on: {error}"))
            .hint(format!("create it: mkdir -p {shown}"))
    })?;
    match control::read(&found, PROCESS) {
        Ok(_) => Err(Failure::new(format!("{shown} is mounted already"))
            .hint(format!("unmount it: pfs umount {shown}"))),
        Err(_) => Ok(found),
    }
}

pub(super) fn options(plan: &MountPlan) -> MountOptions {
    let base = MountOptions::default();
    MountOptions {
        source: plan.address.to_string(),
        allow_other: plan.allow_other,
        uid: plan.uid.unwrap_or(base.uid),
        gid: plan.gid.unwrap_or(base.gid),
        umask: plan.umask.unwrap_or(base.umask),
        slow: plan.slow_op,
        ..base
    }
}

fn failed(error: &MountError) -> Failure {
    let text = error.to_string();
    match error {
        MountError::NoFuse(_) => Failure::new(text).hint("load it with: modprobe fuse"),
        MountError::Helper(said) if said.contains("user_allow_other") => {
            Failure::new(text).hint("write the line user_allow_other into /etc/fuse.conf, as root")
        }
        MountError::Helper(_) => Failure::new(text).hint("install fuse3, or mount as root"),
        MountError::Directory { .. }
        | MountError::Busy { .. }
        | MountError::NotMounted { .. }
        | MountError::Session(_) => Failure::new(text),
    }
}

/// One repo of the plan, with its transaction when it is to be written.
async fn show(
    source: &Arc<ServerSource>,
    repo: &MountedRepo,
    plan: &MountPlan,
    dir: &Path,
    clock: &Arc<dyn Clock>,
) -> Outcome<(Shown, Option<(Arc<TransactionView>, Held)>)> {
    let MountedRepo { repo, reference, writable } = repo.clone();
    let following = Following(Arc::clone(source));
    if !writable {
        let found = following.resolve(&repo, reference.as_ref()).await;
        found.map_err(|error| unresolved(&error, &repo.to_string(), reference.as_ref()))?;
        return Ok((Shown { repo, reference, transaction: None }, None));
    }
    let name = reference.as_ref().and_then(|r| r.as_branch().cloned());
    let branch = repo.branch(name.unwrap_or_else(BranchName::master));
    let root = staging::root(plan.cache.as_deref());
    let (view, held) = begin(source, &branch, (dir, &root), clock).await?;
    let view = Arc::new(view);
    let shown = Shown { repo, reference, transaction: Some(Arc::clone(&view)) };
    Ok((shown, Some((view, held))))
}

fn unresolved(error: &VfsError, repo: &str, reference: Option<&crate::model::Ref>) -> Failure {
    match (error, reference) {
        (VfsError::NotFound, Some(reference)) => {
            Failure::new(format!("{repo}@{reference} not found")).hint("see: pfs list repo")
        }
        (VfsError::NotFound, None) => {
            Failure::new(format!("repo {repo} not found")).hint("see: pfs list repo")
        }
        _ => Failure::new(format!("{repo}: {error}")),
    }
}

/// A transaction on `branch`: the one a dead mount of `dir` has left, or a
/// new one.
async fn begin(
    source: &Arc<ServerSource>,
    branch: &Branch,
    (dir, root): (&Path, &Path),
    clock: &Arc<dyn Clock>,
) -> Outcome<(TransactionView, Held)> {
    let refused = |error: VfsError| match error {
        VfsError::NotFound => unresolved(&error, &branch.repo.to_string(), None),
        error => Failure::new(format!("{branch} cannot be written: {error}")),
    };
    staging::sweep(root)?;
    let place = source.place(&branch.repo).await.map_err(refused)?;
    if let Some((held, started)) = staging::left_behind(root, branch, dir, &place)? {
        match source.begin(branch, Some(started.id)).await {
            Ok(_) => {
                let view = resume(source, &held, &started, clock).await.map_err(refused)?;
                let count = view.changes().map_err(refused)?.len();
                say(&format!("going on with transaction {} of {count} changes", started.id));
                return Ok((view, held));
            }
            Err(VfsError::Conflict(why)) => {
                say(&format!("{why}; what it held is kept in {}", held.dir.display()));
            }
            Err(error) => return Err(refused(error)),
        }
    }
    let (id, base) = source.begin(branch, None).await.map_err(refused)?;
    let held = staging::hold(root.join(id.to_string()))?;
    let held = held.ok_or_else(|| Failure::new(format!("transaction {id} is in use")))?;
    staging::note(&held, dir, &place)?;
    let tree = base.as_ref().map_or(Root::empty(), |base: &Resolved| base.root);
    let started = Started {
        version: 1,
        id,
        branch: branch.clone(),
        base: base.map(|base| base.commit),
        root: hex::encode(tree.encode()),
        at: clock.now(),
        ended: None,
    };
    let tree = Tree::new(Following(Arc::clone(source)).nodes(), tree);
    Ok((TransactionView::start(&held.dir, started, tree, Arc::clone(clock))?, held))
}

async fn resume(
    source: &Arc<ServerSource>,
    held: &Held,
    started: &Started,
    clock: &Arc<dyn Clock>,
) -> Result<TransactionView, VfsError> {
    let damaged = |_| VfsError::Damaged(format!("the root of transaction {}", started.id));
    let root = Root::decode(&hex::decode(&started.root).map_err(damaged)?)?;
    let following = Following(Arc::clone(source));
    let tree = Tree::new(following.nodes(), root);
    TransactionView::recover(&held.dir, tree, Arc::clone(clock)).await
}

/// Tells the user something that is no result.
fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Waits for the unmount, or for a signal and then unmounts.
async fn until_unmounted(mounted: &mut Mounted) -> Outcome {
    let dir: PathBuf = mounted.dir().to_owned();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    held::serving();
    let mut asked = daemon::is_child();
    loop {
        tokio::select! {
            () = mounted.ended() => return Ok(()),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => asked = true,
        }
        match mounted.unmount() {
            Err(MountError::Busy { .. }) if asked => {
                detach(&dir).map_err(|error| failed(&error))?;
            }
            Err(error @ MountError::Busy { .. }) => {
                say(&format!("{error}; interrupt again to take it away all the same"));
                asked = true;
            }
            Ok(()) | Err(MountError::NotMounted { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

impl Serving {
    /// Serves until unmounted; commits what is to be committed then.
    pub(super) async fn until_the_end(mut self) -> Outcome {
        let outcome = match until_unmounted(&mut self.mounted).await {
            Ok(()) => self.finish().await,
            Err(error) => Err(error),
        };
        held::done();
        outcome
    }

    /// Ends every transaction as planned.
    async fn finish(self) -> Outcome {
        self.source.0.close();
        self.mounted.join()?;
        let mut failure = None;
        for (view, held) in self.transactions {
            match end(&self.source, &view, &held, self.commit).await {
                Ok(Kept::No) => held.discard(&self.staging)?,
                Ok(Kept::Yes) => keep(&view).await,
                Err(error) => {
                    keep(&view).await;
                    // `pfs umount` finds it here.
                    drop(std::fs::write(held.dir.join("failed"), error.to_string()));
                    let kept = format!("the changes are kept in {}", held.dir.display());
                    failure = Some(error.hint(kept));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Makes what stays durable, as far as the disk can.
async fn keep(view: &TransactionView) {
    if let Err(error) = view.checkpoint().await {
        say(&format!("what is kept may not survive the loss of power: {error}"));
    }
}

/// Whether a transaction's directory stays.
enum Kept {
    Yes,
    No,
}

async fn end(
    source: &Following,
    view: &TransactionView,
    held: &Held,
    commit: CommitWhen,
) -> Outcome<Kept> {
    let branch = &view.started().branch;
    let lost = |error: VfsError| Failure::new(format!("{branch} was not committed: {error}"));
    if inspect(&held.dir)?.ended.is_some() {
        return Ok(Kept::Yes); // aborted, to be looked at
    }
    if !view.is_changed().map_err(lost)? {
        source.abandon(&view.current(), "nothing was written").await.map_err(lost)?;
        return Ok(Kept::No);
    }
    match commit {
        CommitWhen::Explicit => {
            say(&format!("{branch} was not committed; mount it again to go on"));
            Ok(Kept::Yes)
        }
        CommitWhen::OnUnmount => {
            if let Some(id) = view.commit(source, "", Then::End).await.map_err(lost)? {
                say(&format!("committed {}@{id}", branch.repo));
            }
            Ok(Kept::No)
        }
    }
}
