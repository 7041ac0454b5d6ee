//! The process behind a mount, from connecting to the last commit.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::begin::Beginning;
use super::daemon;
use super::held;
use super::left::{clear, dead_mount, kept, remedy, say};
use super::observed;
use super::plan::{CommitWhen, MountPlan, MountedRepo};
use super::prefetch;
use super::reader::{nodes, reach};
use super::source::{Following, ServerSource};
use crate::api::client::connect;
use crate::cli::failure::{Failure, Outcome, UNREACHABLE};
use crate::model::{BranchName, Clock, SystemClock};
use crate::mount::{MountError, MountOptions, Mounted, Privileged, control, detach};
use crate::vfs::transaction::Left;
use crate::vfs::xattr::PROCESS;
use crate::vfs::{Files, Shown, Source, Then, TransactionView, VfsError};
use crate::web::Listening;

/// A mount and what ends with it.
pub(super) struct Serving {
    mounted: Mounted,
    signals: Signals,
    _metrics: Option<Listening>,
    source: Following,
    transactions: Vec<Arc<TransactionView>>,
    commit: CommitWhen,
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
pub(super) async fn resumed(
    plan: &MountPlan,
    (mounted, signals): (Mounted, Signals),
    source: Following,
    transactions: Vec<Arc<TransactionView>>,
) -> Serving {
    let metrics = observed::metrics_again(plan, &mounted).await;
    let commit = plan.commit;
    Serving { mounted, signals, _metrics: metrics, source, transactions, commit }
}

async fn start(mut plan: MountPlan) -> Outcome<Serving> {
    observed::log(&mut plan)?;
    prefetch::check(&plan)?;
    plan.check_passthrough(nix::unistd::geteuid().is_root())?;
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
    let source = ServerSource::new(client, nodes, Arc::clone(&clock), owner).await?;
    let following = Following(Arc::clone(&source));
    let begin = Beginning::new(&following, &plan, &dir, &clock).await?;
    let mut transactions = Vec::new();
    let mut shown = Vec::new();
    for repo in &plan.repos {
        let one = show(&begin, repo).await?;
        transactions.extend(one.transaction.clone());
        shown.push(one);
    }
    begin.finish()?;
    let only = (!shown.is_empty()).then_some(shown);
    prefetch::begin(&plan, &source);
    let files = Files::of_repos(Arc::new(Following(source)), only, clock.now());
    let runtime = tokio::runtime::Handle::current();
    let holder = held::link();
    let options = MountOptions { push: holder.is_some(), ..options(&plan) };
    if let Some(holder) = holder {
        holder.at(&dir, plan.log.as_deref())?;
        let keys = held::keep(holder, &transactions)?;
        let writer = following.0.writer();
        holder.note(&held::Note::of(&plan, (&dir, url), (writer, &keys)).value())?;
    }
    let signals = Signals::heed()?;
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
    let commit = plan.commit;
    Ok(Serving { _metrics: metrics, mounted, signals, source: following, transactions, commit })
}

/// The directory to mount on, as the kernel will name it.
fn mount_point(dir: &Path) -> Outcome<PathBuf> {
    if let Some(at) = dead_mount(dir) {
        clear(&at)?;
        say(&format!("cleared {}: the process of an earlier mount there is gone", at.display()));
    }
    let shown = dir.display();
    let found = dir.canonicalize().and_then(|dir| dir.metadata().map(|_| dir));
    let found = found.map_err(|error| {
        let failure = Failure::new(format!("{shown} cannot be mounted on: {error}"));
        match error.raw_os_error() {
            Some(libc::ENOTCONN) => failure.hint(format!("clear it first: umount -l {shown}")),
            _ => failure.hint(format!("create it: mkdir -p {shown}")),
        }
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
        passthrough: plan.passthrough.then(|| Arc::new(Privileged) as _),
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
async fn show(begin: &Beginning<'_>, repo: &MountedRepo) -> Outcome<Shown> {
    let MountedRepo { repo, reference, writable } = repo.clone();
    if !writable {
        begin.source.0.check(&repo, reference.as_ref()).await?;
        return Ok(Shown { repo, reference, transaction: None });
    }
    begin.source.0.check(&repo, None).await?;
    let name = reference.as_ref().and_then(|r| r.as_branch().cloned());
    let branch = repo.branch(name.unwrap_or_else(BranchName::master));
    let transaction = Some(Arc::new(begin.transaction(&branch).await?));
    Ok(Shown { repo, reference, transaction })
}

/// What a user or the system asks for.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Heeds them from now on: before anybody can see the mount.
    pub(super) fn heed() -> io::Result<Self> {
        // Who started it with nohup(1) wants it to go on.
        let hangup = match ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)?, hangup })
    }
}

/// Waits for the unmount, or for a signal and then unmounts.
async fn until_unmounted(mounted: &mut Mounted, signals: &mut Signals) -> Outcome {
    let dir: PathBuf = mounted.dir().to_owned();
    let Signals { interrupt, terminate, hangup } = signals;
    held::serving();
    let mut asked = daemon::is_child();
    let (mut alone, mut is_alone) = (pin!(held::alone()), false);
    loop {
        tokio::select! {
            () = mounted.ended() => return Ok(()),
            () = &mut alone, if !is_alone => {
                is_alone = true;
                mounted.stop_pushing();
                continue;
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => asked = true,
            Some(_) = async { hangup.as_mut()?.recv().await } => asked = true,
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

/// Whether this process was told from the start to ignore hang-ups.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (libc::SIGHUP - 1) != 0)
}

impl Serving {
    /// Serves until unmounted; commits what is to be committed then.
    pub(super) async fn until_the_end(mut self) -> Outcome {
        let outcome = match until_unmounted(&mut self.mounted, &mut self.signals).await {
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
        // For the mount after this one.
        self.source.nodes().blobs().keep_order().await;
        let (mut failure, mut over) = (None, Vec::new());
        for view in self.transactions {
            match end(&self.source, &view, self.commit).await {
                Ok(Kept::No) => over.push(view),
                Ok(Kept::Yes) => keep(&view).await,
                Err(error) => {
                    // `pfs umount` finds it here.
                    drop(Left::fail(&view.dir(), &error.to_string()));
                    let left = Left::at(view.dir());
                    keep(&view).await;
                    failure = Some(match left {
                        Some(left) => error.hint(kept(&left)),
                        None => error,
                    });
                }
            }
        }
        // Whoever has to go on from here needs all of them for the last commit.
        over.iter().for_each(|view| discard(view));
        failure.map_or(Ok(()), Err)
    }
}

/// Makes what stays durable, as far as the disk can, and lets go of it.
async fn keep(view: &TransactionView) {
    if let Err(error) = view.checkpoint().await {
        say(&format!("what is kept may not survive the loss of power: {error}"));
    }
    view.release();
}

/// Removes what nobody needs any more; the sweep of a later mount does what
/// fails here.
fn discard(view: &TransactionView) {
    if let Err(error) = view.discard() {
        say(&format!("{} was not removed: {error}", view.dir().display()));
    }
}

/// Whether a transaction's directory stays.
enum Kept {
    Yes,
    No,
}

async fn end(source: &Following, view: &TransactionView, commit: CommitWhen) -> Outcome<Kept> {
    let branch = view.started().branch;
    let lost = |error: VfsError| Failure::new(format!("{branch} was not committed: {error}"));
    if view.is_given_up() {
        return Ok(Kept::Yes);
    }
    if !view.is_changed().map_err(lost)? {
        // The sweep of a later mount does it for a server that is away.
        if let Err(error) = source.abandon(&view.started(), "nothing was written").await {
            tracing::debug!(%error, "an empty transaction was not given up");
        }
        return Ok(Kept::No);
    }
    match commit {
        CommitWhen::Explicit => {
            let left = Left::at(view.dir());
            say(&format!("{branch} was not committed"));
            left.iter().for_each(|left| say(&format!("hint: {}", remedy(left))));
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
