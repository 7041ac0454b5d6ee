//! A server as a source of repos for a mount.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

use super::heads::{Heads, note};
use super::wire;
use crate::api::client::{Client, Code, Status, Streaming};
use crate::api::proto::{pfs_v1 as v1, pfs_v2};
use crate::chunk::PackWriter;
use crate::model::{BranchName, Clock, CommitId, Ref, RefBase, Repo, TransactionId};
use crate::tree::Nodes;
use crate::vfs::{
    Begin, Edits, Fate, Moved, Published, Resolved, Source, Started, Upon, VfsError, patiently,
};

/// How long a transaction lives without this process, in seconds.
const LEASE: u32 = 60;

/// How long to wait before asking a server again that went away.
const AGAIN: Duration = Duration::from_millis(500);

/// Bytes of edits sent in one message.
const BATCH: usize = 4 << 20;

/// Repos, commits and transactions of one server.
pub struct ServerSource {
    client: Client,
    nodes: Nodes,
    clock: Arc<dyn Clock>,
    owner: String,
    identity: String,
    moved: broadcast::Sender<Moved>,
    watched: Mutex<HashSet<BranchName>>,
    /// The heads of `master`, while somebody tells of them.
    heads: Mutex<Option<Heads>>,
    /// The transactions that are kept alive.
    open: Mutex<HashMap<TransactionId, Behind>>,
    /// Set when no transaction is to follow the next commit.
    closing: AtomicBool,
}

/// What else there is to know of a transaction.
#[derive(Debug, Clone)]
struct Behind {
    /// Whether edits of an earlier attempt may be staged there.
    staged: bool,
    /// Where its changes are until they are committed.
    staging: PathBuf,
}

impl ServerSource {
    /// A source that follows the heads of `master`; `owner` says who writes.
    pub async fn new(
        client: Client,
        nodes: Nodes,
        clock: Arc<dyn Clock>,
        owner: String,
    ) -> Result<Arc<Self>, Status> {
        let info = client.native().store_info(v1::StoreInfoRequest {}).await?.into_inner();
        // The token itself is nobody's business who only looks at staging directories.
        let identity = blake3::derive_key("pfs server identity v1", &info.token);
        let source = Arc::new(Self {
            client,
            nodes,
            clock,
            owner,
            identity: hex::encode(&identity[..16]),
            moved: broadcast::channel(256).0,
            watched: Mutex::default(),
            heads: Mutex::default(),
            open: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        source.follow(&BranchName::master());
        source.keep_alive();
        Ok(source)
    }

    /// Fails as the server says when there is no such repo or ref. `None`
    /// stands for the head of `master`, which need not be there yet.
    pub async fn check(&self, repo: &Repo, reference: Option<&Ref>) -> Result<(), Status> {
        let known = pfs_v2::Repo {
            name: repo.name.to_string(),
            r#type: repo.kind.as_str().to_owned(),
            project: Some(pfs_v2::Project { name: repo.project.to_string() }),
        };
        let request = pfs_v2::InspectRepoRequest { repo: Some(known) };
        self.client.pfs().inspect_repo(request).await?;
        let Some(reference) = reference else { return Ok(()) };
        let request = v1::ResolveRefRequest {
            repo: Some(wire::repo(repo)),
            r#ref: reference.to_string(),
            exact: false,
        };
        self.client.native().resolve_ref(request).await.map(drop)
    }

    /// No transaction is to be opened after the next commit.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    async fn open(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        let Begin { id, branch, upon, staging } = begin;
        let base = |commit: Option<CommitId>| commit.map(|id| id.as_bytes().to_vec());
        let request = v1::OpenTransactionRequest {
            repo: Some(wire::repo(&branch.repo)),
            branch: branch.name.to_string(),
            lease_seconds: LEASE,
            owner: self.owner.clone(),
            id: id.as_bytes().to_vec(),
            staging: staging.display().to_string(),
            base: match upon {
                Upon::Newest => None,
                Upon::Base(commit) => Some(base(commit).unwrap_or_default()),
            },
        };
        let info = self.client.native().open_transaction(request).await;
        let base = wire::base(&info.map_err(|status| failed(&status))?.into_inner())?;
        self.behind().insert(id, Behind { staged: false, staging: staging.to_owned() });
        Ok(base)
    }

    /// Keeps a transaction alive, from another base if one is given.
    async fn renew(
        &self,
        id: TransactionId,
        base: Option<CommitId>,
    ) -> Result<v1::TransactionInfo, Status> {
        let request = v1::RenewTransactionRequest {
            id: id.as_bytes().to_vec(),
            lease_seconds: LEASE,
            base: base.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        };
        Ok(self.client.native().renew_transaction(request).await?.into_inner())
    }

    async fn abort(&self, id: TransactionId, reason: &str) -> Result<(), Status> {
        let (id, reason) = (id.as_bytes().to_vec(), reason.to_owned());
        let request = v1::AbortTransactionRequest { id, reason };
        self.client.native().abort_transaction(request).await.map(drop)
    }

    fn behind(&self) -> MutexGuard<'_, HashMap<TransactionId, Behind>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the leases of open transactions while the source lives.
    fn keep_alive(self: &Arc<Self>) {
        let source = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut timer = tokio::time::interval(Duration::from_secs(u64::from(LEASE) / 3));
            loop {
                timer.tick().await;
                let Some(source) = source.upgrade() else { return };
                let open: Vec<TransactionId> = source.behind().keys().copied().collect();
                for id in open {
                    if let Err(status) = source.renew(id, None).await {
                        tracing::debug!(%status, "a transaction was not renewed");
                    }
                }
            }
        });
    }

    /// Watches the heads of `branch` in every repo, once.
    fn follow(self: &Arc<Self>, branch: &BranchName) {
        let new =
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(branch.clone());
        if !new {
            return;
        }
        let (source, branch) = (Arc::downgrade(self), branch.clone());
        tokio::spawn(async move {
            while let Some(source) = source.upgrade() {
                if let Err(status) = source.listen(&branch).await {
                    tracing::debug!(%status, "heads are not followed");
                }
                if branch == BranchName::master() {
                    *source.heads() = None;
                }
                // Whatever moved while nobody listened is looked at again.
                drop(source.moved.send(Moved::Everything));
                drop(source);
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    fn heads(&self) -> MutexGuard<'_, Option<Heads>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn events(&self, branch: &BranchName) -> Result<Streaming<v1::HeadEvent>, Status> {
        let request = v1::WatchHeadsRequest { repos: Vec::new(), branch: branch.to_string() };
        Ok(self.client.native().watch_heads(request).await?.into_inner())
    }

    /// The heads at the beginning of a stream of events.
    async fn state(events: &mut Streaming<v1::HeadEvent>) -> Result<Heads, Status> {
        let mut heads = Heads::new();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(v1::head_event::Event::Synced(_)) => break,
                Some(event) => drop(note(&mut heads, event)),
                None => {}
            }
        }
        Ok(heads)
    }

    async fn listen(&self, branch: &BranchName) -> Result<(), Status> {
        let mut events = self.events(branch).await?;
        let mut heads = Self::state(&mut events).await?;
        let is_master = *branch == BranchName::master();
        if is_master {
            *self.heads() = Some(heads.clone());
        }
        let mut news = Some(Moved::Everything);
        loop {
            if let Some(moved) = news {
                // Nobody listens before the mount is there.
                drop(self.moved.send(moved));
            }
            let Some(event) = events.message().await? else { return Ok(()) };
            let Some(event) = event.event else {
                news = None;
                continue;
            };
            news = note(&mut heads, event.clone());
            if is_master && let Some(heads) = &mut *self.heads() {
                drop(note(heads, event));
            }
        }
    }

    async fn exists(&self, repo: &Repo) -> Result<bool, VfsError> {
        let repo = pfs_v2::Repo {
            name: repo.name.to_string(),
            r#type: repo.kind.as_str().to_owned(),
            project: Some(pfs_v2::Project { name: repo.project.to_string() }),
        };
        let request = pfs_v2::InspectRepoRequest { repo: Some(repo) };
        match self.client.pfs().inspect_repo(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(failed(&status)),
        }
    }

    /// Sends `edits` to be staged, each batch after its content is durable.
    async fn stage(
        &self,
        id: TransactionId,
        mut edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<(), VfsError> {
        let (send, receive) = mpsc::channel(2);
        let mut native = self.client.native();
        let call = native.stage_transaction(ReceiverStream::new(receive));
        let feed = async move {
            let mut batch = wire::Batch::new(id);
            while let Some(edit) = edits.next().await {
                let (path, edit) = edit?;
                batch.push(&path, edit);
                if batch.weight() >= BATCH {
                    writer.flush().await?;
                    // A closed channel shows in the answer of the call.
                    drop(send.send(batch.take()).await);
                }
            }
            writer.flush().await?;
            drop(send.send(batch.complete()).await);
            Ok::<_, VfsError>(())
        };
        let (answer, fed) = tokio::join!(call, feed);
        fed?;
        answer.map(drop).map_err(|status| not_committed(&status))
    }

    /// Takes back what an earlier attempt has staged.
    async fn unstage(&self, id: TransactionId, empty: bool) -> Result<(), VfsError> {
        let mut batch = wire::Batch::new(id);
        batch.reset(empty);
        let edits = futures::stream::iter([batch.take()]);
        self.client
            .native()
            .stage_transaction(edits)
            .await
            .map(drop)
            .map_err(|status| failed(&status))
    }
}

/// Why a commit failed: all that it needs was there before.
fn not_committed(status: &Status) -> VfsError {
    match status.code() {
        Code::NotFound => VfsError::Gone(status.message().to_owned()),
        _ => failed(status),
    }
}

fn failed(status: &Status) -> VfsError {
    let text = status.message().to_owned();
    match status.code() {
        Code::NotFound => VfsError::NotFound,
        Code::ResourceExhausted => VfsError::NoSpace(text),
        Code::DataLoss => VfsError::Damaged(text),
        Code::FailedPrecondition | Code::Aborted => VfsError::Conflict(text),
        // What else there is can change until the next attempt.
        _ => VfsError::Unavailable(text),
    }
}

/// A handle that can start watches; `Source` itself gives no `Arc`.
pub struct Following(pub Arc<ServerSource>);

#[async_trait]
impl Source for Following {
    fn identity(&self) -> &str {
        &self.0.identity
    }

    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError> {
        let told = self.0.heads().clone();
        if let Some(heads) = told {
            return Ok(heads.into_iter().collect());
        }
        let heads =
            async { ServerSource::state(&mut self.0.events(&BranchName::master()).await?).await };
        Ok(heads.await.map_err(|status| failed(&status))?.into_iter().collect())
    }

    async fn resolve(
        &self,
        repo: &Repo,
        reference: Option<&Ref>,
    ) -> Result<Option<Resolved>, VfsError> {
        if let Some(RefBase::Branch(branch)) = reference.map(|reference| &reference.base) {
            self.0.follow(branch);
        }
        let request = v1::ResolveRefRequest {
            repo: Some(wire::repo(repo)),
            r#ref: reference.map(ToString::to_string).unwrap_or_default(),
            exact: false,
        };
        match self.0.client.native().resolve_ref(request).await {
            Ok(resolved) => wire::resolved(&resolved.into_inner()).map(Some),
            Err(status) if status.code() == Code::NotFound => match reference {
                None if self.0.exists(repo).await? => Ok(None),
                None | Some(_) => Err(VfsError::NotFound),
            },
            Err(status) if status.code() == Code::InvalidArgument => Err(VfsError::NotFound),
            Err(status) => Err(failed(&status)),
        }
    }

    fn watch(&self) -> BoxStream<'static, Moved> {
        let moved = BroadcastStream::new(self.0.moved.subscribe());
        // Who lags behind looks at everything.
        moved.map(|moved| moved.unwrap_or(Moved::Everything)).boxed()
    }

    fn nodes(&self) -> &Nodes {
        &self.0.nodes
    }

    async fn publish(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        writer: &PackWriter,
        message: &str,
    ) -> Result<Published, VfsError> {
        let (source, id) = (&self.0, transaction.id);
        // A server that is being started again is worth waiting for.
        patiently(|| self.fate(id)).await?;
        let behind = source.behind().get(&id).cloned();
        let behind = behind.ok_or_else(|| VfsError::Gone(format!("transaction {id} is over")))?;
        if behind.staged {
            source.unstage(id, transaction.is_empty_base()).await?;
        }
        source.behind().insert(id, Behind { staged: true, ..behind.clone() });
        source.stage(id, edits, writer).await?;
        let mut batch = wire::Batch::new(id);
        batch.message(message, transaction.replaces);
        let edits = futures::stream::iter([batch.take()]);
        let info = source.client.native().commit_transaction(edits).await;
        let info = info.map_err(|status| not_committed(&status))?.into_inner();
        match info.state() {
            v1::TransactionState::Committed => {}
            v1::TransactionState::Conflict => return Err(VfsError::Conflict(info.reason)),
            v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Aborted
            | v1::TransactionState::Orphaned => {
                let state = info.state().as_str_name();
                return Err(VfsError::Unavailable(format!("not committed: {state}")));
            }
        }
        source.behind().remove(&id);
        let commit = wire::commit(&info.commit)?;
        let head = self.resolve(&transaction.branch.repo, Some(&Ref::commit(commit))).await?;
        let head = head.ok_or(VfsError::NotFound)?;
        if source.closing.load(Ordering::Acquire) {
            return Ok(Published { commit, head, transaction: id });
        }
        let next = source.clock.transaction_id();
        let (branch, staging) = (&transaction.branch, &*behind.staging);
        let base = source.open(Begin { id: next, branch, upon: Upon::Newest, staging }).await?;
        Ok(Published { commit, head: base.unwrap_or(head), transaction: next })
    }

    async fn begin(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        self.0.follow(&begin.branch.name);
        self.0.open(begin).await
    }

    async fn adopt(&self, transaction: &Started, staging: &Path) -> Result<(), VfsError> {
        let id = transaction.id;
        let info = self.0.renew(id, None).await.map_err(|status| failed(&status))?;
        if wire::base(&info)?.map(|base| base.commit) != transaction.base {
            let what = format!("the server has transaction {id} relative to another commit");
            return Err(VfsError::Damaged(what));
        }
        self.0.follow(&transaction.branch.name);
        self.0.behind().insert(id, Behind { staged: true, staging: staging.to_owned() });
        Ok(())
    }

    async fn fate(&self, transaction: TransactionId) -> Result<Fate, VfsError> {
        let request = v1::InspectTransactionRequest { id: transaction.as_bytes().to_vec() };
        let info = match self.0.client.native().inspect_transaction(request).await {
            Ok(info) => info.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(Fate::Unknown),
            Err(status) => return Err(failed(&status)),
        };
        Ok(match info.state() {
            v1::TransactionState::Conflict => Fate::Conflict(info.reason),
            v1::TransactionState::Committed => {
                Fate::Over(format!("committed as {}", hex::encode(&info.commit)))
            }
            v1::TransactionState::Aborted => Fate::Over(info.reason),
            v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Orphaned => Fate::Open,
        })
    }

    async fn rebase(&self, transaction: &Started, base: CommitId) -> Result<(), VfsError> {
        let renewed = self.0.renew(transaction.id, Some(base)).await;
        renewed.map(drop).map_err(|status| failed(&status))
    }

    async fn abandon(&self, transaction: &Started, reason: &str) -> Result<(), VfsError> {
        self.0.behind().remove(&transaction.id);
        match self.0.abort(transaction.id, reason).await {
            Ok(()) => Ok(()),
            // It is over already, or its repo is.
            Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                Ok(())
            }
            Err(status) => Err(failed(&status)),
        }
    }
}
