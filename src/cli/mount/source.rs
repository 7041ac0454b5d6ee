//! A server as a source of repos for a mount.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

use super::wire;
use crate::api::client::{Client, Code, Status};
use crate::api::proto::{pfs_v1 as v1, pfs_v2};
use crate::chunk::PackWriter;
use crate::model::{Branch, BranchName, Clock, Ref, RefBase, Repo, TransactionId};
use crate::tree::Nodes;
use crate::vfs::{Edits, Moved, Published, Resolved, Source, Started, VfsError};

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
    moved: broadcast::Sender<Moved>,
    watched: Mutex<HashSet<BranchName>>,
    seen: Mutex<HashSet<Repo>>,
    /// The server's transaction behind each of ours.
    open: Mutex<HashMap<TransactionId, Behind>>,
    /// Set when no transaction is to follow the next commit.
    closing: AtomicBool,
}

/// A transaction as the server has it.
#[derive(Debug, Clone, Copy)]
struct Behind {
    id: TransactionId,
    /// Whether edits of an earlier attempt may be staged there.
    staged: bool,
}

impl ServerSource {
    /// A source that follows the heads of `master`; `owner` says who writes.
    pub fn new(client: Client, nodes: Nodes, clock: Arc<dyn Clock>, owner: String) -> Arc<Self> {
        let source = Arc::new(Self {
            client,
            nodes,
            clock,
            owner,
            moved: broadcast::channel(256).0,
            watched: Mutex::default(),
            seen: Mutex::default(),
            open: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        source.follow(&BranchName::master());
        source.keep_alive();
        source
    }

    /// Opens a transaction on `branch`, or the one called `id` again.
    pub async fn begin(
        &self,
        branch: &Branch,
        id: Option<TransactionId>,
    ) -> Result<(TransactionId, Option<Resolved>), VfsError> {
        let resumed = id.is_some();
        let id = id.unwrap_or_else(|| self.clock.transaction_id());
        let base = self.open_behind(branch, id).await?;
        self.behind().insert(id, Behind { id, staged: resumed });
        Ok((id, base))
    }

    /// No transaction is to be opened after the next commit.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    async fn open_behind(
        &self,
        branch: &Branch,
        id: TransactionId,
    ) -> Result<Option<Resolved>, VfsError> {
        let request = v1::OpenTransactionRequest {
            repo: Some(wire::repo(&branch.repo)),
            branch: branch.name.to_string(),
            lease_seconds: LEASE,
            owner: self.owner.clone(),
            id: id.as_bytes().to_vec(),
        };
        let info = self
            .client
            .native()
            .open_transaction(request)
            .await
            .map_err(|status| failed(&status))?;
        let info = info.into_inner();
        match info.state() {
            v1::TransactionState::Committed | v1::TransactionState::Aborted => {
                let state = info.state().as_str_name();
                Err(VfsError::Conflict(format!("transaction {id} has ended: {state}")))
            }
            v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Conflict
            | v1::TransactionState::Orphaned => wire::base(&info),
        }
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
                let open: Vec<Behind> = source.behind().values().copied().collect();
                for Behind { id, .. } in open {
                    let id = id.as_bytes().to_vec();
                    let request = v1::RenewTransactionRequest { id, lease_seconds: LEASE };
                    if let Err(status) = source.client.native().renew_transaction(request).await {
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
        let (source, branch) = (Arc::downgrade(self), branch.to_string());
        tokio::spawn(async move {
            while let Some(source) = source.upgrade() {
                if let Err(status) = source.listen(&branch).await {
                    tracing::debug!(%status, "heads are not followed");
                }
                // Whatever moved while nobody listened is looked at again.
                drop(source.moved.send(Moved::Everything));
                drop(source);
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    async fn listen(&self, branch: &str) -> Result<(), Status> {
        let request = v1::WatchHeadsRequest { repos: Vec::new(), branch: branch.to_owned() };
        let mut events = self.client.native().watch_heads(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            if let Some(moved) = event.event.and_then(|event| self.news(event)) {
                // Nobody listens before the mount is there.
                drop(self.moved.send(moved));
            }
        }
        Ok(())
    }

    fn news(&self, event: v1::head_event::Event) -> Option<Moved> {
        use v1::head_event::Event;
        let repo = match event {
            Event::Moved(v1::HeadMoved { repo, .. })
            | Event::Removed(v1::HeadRemoved { repo, .. }) => wire::repo_of(repo.as_ref())?,
            Event::RepoRemoved(repo) => {
                let repo = wire::repo_of(Some(&repo))?;
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&repo);
                return Some(Moved::Everything);
            }
            Event::Synced(_) => return Some(Moved::Everything),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match seen.insert(repo.clone()) {
            true => Moved::Everything,
            false => Moved::Head(repo),
        })
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
            drop(send.send(batch.take()).await);
            Ok::<_, VfsError>(())
        };
        let (answer, fed) = tokio::join!(call, feed);
        fed?;
        answer.map(drop).map_err(|status| failed(&status))
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
    async fn repos(&self) -> Result<Vec<Repo>, VfsError> {
        let request = pfs_v2::ListRepoRequest { r#type: "user".into(), ..Default::default() };
        let answer =
            self.0.client.pfs().list_repo(request).await.map_err(|status| failed(&status))?;
        let mut answer = answer.into_inner();
        let mut repos = Vec::new();
        while let Some(info) = answer.message().await.map_err(|status| failed(&status))? {
            repos.extend(info.repo.as_ref().and_then(wire::known_repo));
        }
        Ok(repos)
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
        let source = &self.0;
        let behind = source.behind().get(&transaction.id).copied();
        let behind = behind.ok_or(VfsError::NotFound)?;
        if behind.staged {
            source.unstage(behind.id, transaction.is_empty_base()).await?;
        }
        source.behind().insert(transaction.id, Behind { staged: true, ..behind });
        source.stage(behind.id, edits, writer).await?;
        let mut batch = wire::Batch::new(behind.id);
        batch.message(message);
        let edits = futures::stream::iter([batch.take()]);
        let info = source
            .client
            .native()
            .commit_transaction(edits)
            .await
            .map_err(|status| failed(&status))?;
        let info = info.into_inner();
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
        source.behind().remove(&transaction.id);
        let commit = wire::commit(&info.commit)?;
        let head = self.resolve(&transaction.branch.repo, Some(&Ref::commit(commit))).await?;
        let head = head.ok_or(VfsError::NotFound)?;
        if source.closing.load(Ordering::Acquire) {
            return Ok(Published { commit, head, transaction: behind.id });
        }
        let next = source.clock.transaction_id();
        let base = source.open_behind(&transaction.branch, next).await?;
        source.behind().insert(transaction.id, Behind { id: next, staged: false });
        Ok(Published { commit, head: base.unwrap_or(head), transaction: next })
    }

    async fn abandon(&self, transaction: &Started, reason: &str) -> Result<(), VfsError> {
        let behind = self.0.behind().remove(&transaction.id);
        let Some(Behind { id, .. }) = behind else { return Ok(()) };
        let (id, reason) = (id.as_bytes().to_vec(), reason.to_owned());
        let request = v1::AbortTransactionRequest { id, reason };
        self.0
            .client
            .native()
            .abort_transaction(request)
            .await
            .map(drop)
            .map_err(|status| failed(&status))
    }
}
