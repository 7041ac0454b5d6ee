//! Mounts that outlive the process that serves them: what it notes for a
//! successor, and how that one goes on.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::observed;
use super::plan::{CommitWhen, MountPlan, MountedRepo};
use super::prefetch::{self, Prefetch};
use super::reader::{nodes, through};
use super::serving::{Serving, Signals, options, resumed};
use super::source::{Following, ServerSource};
use crate::api::client::{Client, connect_later};
use crate::cli::direct;
use crate::cli::failure::{Failure, Outcome};
use crate::model::{Clock, Repo, SystemClock, TransactionId};
use crate::mount::holder::{Estate, Link, Preparation, Task};
use crate::mount::{MountOptions, Standby};
use crate::store::Store;
use crate::vfs::transaction::{Attach, Then};
use crate::vfs::{Files, Memory, Shown, Source as _, TransactionView, VfsError};
use crate::web::InvalidHttpAddress;

/// The version of [`Note`].
const VERSION: u32 = 2;

/// The connection to the holder that has started this process.
static LINK: OnceLock<Link> = OnceLock::new();

/// What this process is to take over, if a holder has started it for that. Ask
/// once.
pub fn task() -> io::Result<Option<Preparation>> {
    let Some((link, task)) = Link::of_server()? else { return Ok(None) };
    drop(LINK.set(link));
    match task {
        Task::Mount => Ok(None),
        Task::TakeOver(preparation) => Ok(Some(preparation)),
    }
}

/// The connection to the holder, if there is one.
pub fn link() -> Option<&'static Link> {
    LINK.get()
}

/// Says that signals are heeded.
pub fn serving() {
    if let Some(Err(error)) = link().map(Link::serving) {
        tracing::warn!(%error, "the holder is gone; the mount ends with this process");
    }
}

/// Ends when the holder that was there is no more.
pub async fn alone() {
    if let Some(link) = link() {
        let (tell, told) = oneshot::channel();
        let watch = move || {
            link.await_end();
            // Nobody need be waiting.
            let _ = tell.send(());
        };
        let watched = thread::Builder::new().name("pfs-alone".into()).spawn(watch);
        if watched.is_ok() && told.await.is_ok() {
            tracing::warn!("the holder is gone; the mount ends with this process");
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Says that there is nothing left to do.
pub fn done() {
    if let Some(link) = link() {
        link.done();
    }
}

/// What a successor has to know of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    version: u32,
    dir: PathBuf,
    address: String,
    repos: Vec<NotedRepo>,
    cache: Option<PathBuf>,
    cache_size: u64,
    /// A version that does not know it would not be taken: it asks the kernel
    /// for other options.
    #[serde(default)]
    passthrough: bool,
    memory: u64,
    allow_other: bool,
    uid: Option<u32>,
    gid: Option<u32>,
    umask: Option<u32>,
    metrics: Option<String>,
    slow_op: Duration,
    log: Option<PathBuf>,
    /// Where objects are read, unless through the server.
    store: Option<String>,
    /// Who writes, and to which server.
    writer: (String, String),
    commits_at_the_end: bool,
    /// What is fetched ahead; nothing in notes of those that did not say.
    #[serde(default)]
    prefetch: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedRepo {
    repo: Repo,
    reference: Option<String>,
    /// The transaction, when it is written: what its inodes are numbered by.
    transaction: Option<TransactionId>,
}

impl Note {
    /// What there is to know of `plan`, mounted at `dir`, with objects in
    /// `store`. `keys` are those of the transactions of the repos that are
    /// written, in order.
    pub fn of(
        plan: &MountPlan,
        (dir, store): (&Path, Option<String>),
        (writer, keys): ((String, String), &[TransactionId]),
    ) -> Self {
        let mut keys = keys.iter().copied();
        let repos = plan.repos.iter().map(|repo| NotedRepo {
            repo: repo.repo.clone(),
            reference: repo.reference.as_ref().map(ToString::to_string),
            transaction: if repo.writable { keys.next() } else { None },
        });
        Self {
            version: VERSION,
            dir: dir.to_owned(),
            address: plan.address.to_string(),
            repos: repos.collect(),
            cache: plan.cache.clone(),
            cache_size: plan.cache_size,
            passthrough: plan.passthrough,
            memory: plan.memory,
            allow_other: plan.allow_other,
            uid: plan.uid,
            gid: plan.gid,
            umask: plan.umask,
            metrics: plan.metrics.as_ref().map(ToString::to_string),
            slow_op: plan.slow_op,
            log: plan.log.clone(),
            store,
            writer,
            commits_at_the_end: plan.commit == CommitWhen::OnUnmount,
            prefetch: Some(plan.prefetch.to_string()),
        }
    }

    /// As a holder keeps it.
    pub fn value(&self) -> serde_json::Value {
        // A value of this type always has a text.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn read(value: serde_json::Value) -> Outcome<Self> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            return Err(Failure::new("it was mounted by a version that notes other things"));
        }
        serde_json::from_value(value).map_err(|error| Failure::new(error.to_string()))
    }

    fn plan(&self) -> Outcome<MountPlan> {
        let repos = self.repos.iter().map(|NotedRepo { repo, reference, transaction }| {
            let reference = reference.as_ref().map(|text| text.parse()).transpose()?;
            Ok(MountedRepo { repo: repo.clone(), reference, writable: transaction.is_some() })
        });
        let address = self.address.parse();
        let prefetch = self.prefetch.as_ref().map(|text| text.parse::<Prefetch>());
        let metrics = self.metrics.as_ref().map(|text| text.parse()).transpose();
        Ok(MountPlan {
            dir: self.dir.clone(),
            repos: repos.collect::<Outcome<_>>()?,
            daemon: true,
            commit: match self.commits_at_the_end {
                true => CommitWhen::OnUnmount,
                false => CommitWhen::Explicit,
            },
            resume: Vec::new(),
            cache: self.cache.clone(),
            cache_size: self.cache_size,
            passthrough: self.passthrough,
            memory: self.memory,
            allow_other: self.allow_other,
            uid: self.uid,
            gid: self.gid,
            umask: self.umask,
            prefetch: prefetch
                .transpose()
                .map_err(|error| Failure::usage(error.to_string()))?
                .unwrap_or_default(),
            metrics: metrics
                .map_err(|error: InvalidHttpAddress| Failure::usage(error.to_string()))?,
            slow_op: self.slow_op,
            log: self.log.clone(),
            address: address.map_err(|error| Failure::usage(format!("{error}")))?,
        })
    }
}

/// Goes on with a mount whose server has died or makes way.
///
/// Serves from what is known; the server of the repos may be away.
pub async fn take_over(preparation: Preparation) -> Outcome {
    let Some(link) = link() else { return Err(Failure::new("there is no holder")) };
    let ready = Ready::new(preparation).inspect_err(|error| link.refuse(&error.message))?;
    let estate = tokio::task::block_in_place(|| link.prepared(ready.standby.answer()))?;
    let serving = go_on(ready, estate).await.inspect_err(|error| link.refuse(&error.message))?;
    serving.until_the_end().await
}

async fn go_on(ready: Ready, estate: Estate) -> Outcome<Serving> {
    let failed = |error| Failure::new(format!("the mount cannot be gone on with: {error}"));
    let source = source(&ready);
    let (memory, following) = (Memory::of(estate.table)?, Following(Arc::clone(&source)));
    let shown = shown(&ready.note, &source, &estate.kept).await.map_err(failed)?;
    let transactions: Vec<_> = shown.iter().filter_map(|one| one.transaction.clone()).collect();
    let only = (!shown.is_empty()).then_some(shown);
    let files = Files::resumed(Arc::new(Following(source)), only, memory).map_err(failed)?;
    for view in &transactions {
        settle(view, &following).await;
    }
    let dir = ready.plan.dir.clone();
    let signals = Signals::heed()?;
    let mounted = ready.standby.serve(dir, &Arc::new(files), &estate.device)?;
    prefetch::begin(&ready.plan, &following.0);
    Ok(resumed(&ready.plan, (mounted, signals), following, transactions).await)
}

/// All that can be made before the predecessor has ended, perhaps long before:
/// nothing that takes memory or grows old.
struct Ready {
    plan: MountPlan,
    note: Note,
    /// Not connected yet: the server may be away.
    client: Client,
    store: Store,
    standby: Standby,
}

/// Where the repos of a mount come from.
fn source(ready: &Ready) -> Arc<ServerSource> {
    let Ready { plan, note, client, store, .. } = ready;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = plan.cache.as_deref().map(|dir| (dir, plan.cache_size));
    let nodes = nodes(store.clone(), cache, plan.memory, Arc::clone(&clock));
    ServerSource::of(client.clone(), nodes, clock, note.writer.clone())
}

impl Ready {
    fn new(preparation: Preparation) -> Outcome<Self> {
        let Preparation { init, note, table } = preparation;
        let memory = Memory::of(table)?;
        Files::can_resume(&memory).map_err(|error| Failure::new(error.to_string()))?;
        let note = Note::read(note)?;
        let mut plan = note.plan()?;
        observed::log(&mut plan)?;
        let writable = plan.repos.iter().any(|repo| repo.writable);
        let client = connect_later(&plan.address).map_err(|e| Failure::new(e.to_string()))?;
        let store = note.store.as_deref().and_then(direct::open);
        let store = store.unwrap_or_else(|| through(&client));
        let runtime = tokio::runtime::Handle::current();
        let options = MountOptions { push: true, ..options(&plan) };
        let standby = Standby::new(&init, &options, writable, &runtime)?;
        Ok(Self { plan, note, client, store, standby })
    }
}

/// Has `holder` keep what a successor needs of `transactions`; answers what
/// their inodes are numbered by.
pub fn keep(
    holder: &'static Link,
    transactions: &[Arc<TransactionView>],
) -> io::Result<Vec<TransactionId>> {
    transactions.iter().map(|view| keep_one(holder, view)).collect()
}

fn keep_one(holder: &'static Link, view: &TransactionView) -> io::Result<TransactionId> {
    let key = view.key();
    holder.keep(&memory_of(key), view.mirror()?)?;
    keep_lock(holder, view);
    Ok(key)
}

/// Has `holder` hold the staging directory of `view`, whichever it is.
fn keep_lock(holder: &'static Link, view: &TransactionView) {
    let name = lock_of(view.key());
    view.tell_held(move |lock| {
        // A holder that is gone starts no successor.
        drop(holder.keep(&name, lock));
    });
}

fn memory_of(key: TransactionId) -> String {
    format!("memory of {key}")
}

fn lock_of(key: TransactionId) -> String {
    format!("lock of {key}")
}

/// The repos of `note`, with the transactions that a predecessor has left.
async fn shown(
    note: &Note,
    source: &Arc<ServerSource>,
    kept: &HashMap<String, OwnedFd>,
) -> Result<Vec<Shown>, VfsError> {
    let mut shown = Vec::with_capacity(note.repos.len());
    for NotedRepo { repo, reference, transaction } in &note.repos {
        let reference = reference.as_ref().and_then(|text| text.parse().ok());
        let transaction = match transaction {
            Some(key) => Some(Arc::new(attach(*key, source, kept).await?)),
            None => None,
        };
        shown.push(Shown { repo: repo.clone(), reference, transaction });
    }
    Ok(shown)
}

async fn attach(
    key: TransactionId,
    source: &Arc<ServerSource>,
    kept: &HashMap<String, OwnedFd>,
) -> Result<TransactionView, VfsError> {
    let missing = || VfsError::Unavailable(format!("nobody has kept transaction {key}"));
    let mirror = kept.get(&memory_of(key)).ok_or_else(missing)?.try_clone()?;
    let lock = kept.get(&lock_of(key)).map(OwnedFd::try_clone).transpose()?;
    let (nodes, clock) = (Following(Arc::clone(source)), Arc::clone(&source.clock));
    let attach = Attach { mirror, lock, nodes: nodes.nodes(), clock };
    let view = TransactionView::attach(attach).await?;
    if let Some(link) = link() {
        keep_lock(link, &view);
    }
    source.go_on(&view.started(), &view.dir(), view.committing().is_some());
    Ok(view)
}

/// Ends what the process before was about to do with `view`.
async fn settle(view: &Arc<TransactionView>, source: &Following) {
    view.settle_down().await;
    let Some(message) = view.committing() else { return };
    let (view, source) = (Arc::clone(view), Following(Arc::clone(&source.0)));
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

#[cfg(test)]
mod tests;
