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
use crate::model::{Branch, BranchName, Clock, CommitId, Ref, RefBase, Repo, TransactionId};
use crate::tree::Nodes;
use crate::vfs::{Edits, Moved, Published, Resolved, Source, Started, VfsError};

/// How long a transaction lives without this process, in seconds.
const LEASE: u32 = 60;

/// How long to wait before asking a server again that went away.
const AGAIN: Duration = Duration::from_millis(500);

/// How often a commit that was not answered is asked for again.
const ATTEMPTS: u32 = 20;

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
    /// What is known of the transactions that are in use.
    open: Mutex<HashMap<TransactionId, Behind>>,
    /// Set when no transaction is to follow the next commit.
    closing: AtomicBool,
}

/// A transaction as the server has it.
#[derive(Debug, Clone)]
struct Behind {
    /// Whether edits of an earlier attempt may be staged there.
    staged: bool,
    /// The description that it was told to commit with. Whether it has may be
    /// unknown; what is staged stays as it is until it is known.
    told: Option<String>,
    /// The one that follows it, drawn once so that it is opened once.
    next: TransactionId,
    /// What became of it, until the next one is in use.
    published: Option<Published>,
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

    /// Names a repo of this server: another server has other names, and so has
    /// a repo that is made again.
    pub async fn place(&self, repo: &Repo) -> Result<String, VfsError> {
        let request = v1::StoreInfoRequest {};
        let info = self.client.native().store_info(request).await;
        let info = info.map_err(|status| failed(&status))?.into_inner();
        let request = pfs_v2::InspectRepoRequest { repo: Some(wire::named(repo)) };
        let found = self.client.pfs().inspect_repo(request).await;
        let created = found.map_err(|status| failed(&status))?.into_inner().created;
        Ok(wire::repo_place(&info.token, created.unwrap_or_default()))
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
        self.follow_transaction(id, resumed);
        Ok((id, base))
    }

    fn follow_transaction(&self, id: TransactionId, staged: bool) {
        let next = self.clock.transaction_id();
        self.behind().insert(id, Behind { staged, told: None, next, published: None });
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
            v1::TransactionState::Committed => {
                let commit = hex::encode(&info.commit);
                // Nothing is written while a commit is under way.
                let what = format!("transaction {id} was committed with all changes as {commit}");
                Err(VfsError::Conflict(what))
            }
            v1::TransactionState::Aborted => {
                Err(VfsError::Conflict(format!("transaction {id} was given up")))
            }
            v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Conflict
            | v1::TransactionState::Orphaned => wire::base(&info),
        }
    }

    fn change_behind(&self, id: TransactionId, change: impl FnOnce(&mut Behind)) {
        if let Some(behind) = self.behind().get_mut(&id) {
            change(behind);
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
                for id in source.renewed() {
                    let id = id.as_bytes().to_vec();
                    let request = v1::RenewTransactionRequest { id, lease_seconds: LEASE };
                    if let Err(status) = source.client.native().renew_transaction(request).await {
                        tracing::debug!(%status, "a transaction was not renewed");
                    }
                }
            }
        });
    }

    /// The transactions whose leases are to be renewed.
    fn renewed(&self) -> Vec<TransactionId> {
        let behind = self.behind();
        let open = behind.iter().filter(|(_, behind)| behind.published.is_none());
        open.map(|(id, _)| *id).collect()
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
        let request = pfs_v2::InspectRepoRequest { repo: Some(wire::named(repo)) };
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

    /// Has the server commit `id` and answers the commit. What was sent and not
    /// answered is asked again: a transaction is committed once at most.
    async fn settle(&self, id: TransactionId, message: &str) -> Result<CommitId, VfsError> {
        let mut attempt = 0;
        let answer = loop {
            let mut batch = wire::Batch::new(id);
            batch.message(message);
            let edits = futures::stream::iter([batch.take()]);
            match self.client.native().commit_transaction(edits).await {
                Err(status) if is_silence(&status) && attempt < ATTEMPTS => attempt += 1,
                answer => break answer,
            }
            tokio::time::sleep(AGAIN).await;
        };
        let unsettled = |status: Status| VfsError::Unsettled(status.message().to_owned());
        let info = match answer {
            Ok(info) => info.into_inner(),
            Err(status) if is_silence(&status) => return Err(unsettled(status)),
            // The answer may be about what came after the commit.
            Err(status) => match self.inspect(id).await {
                Ok(info) if info.state() == v1::TransactionState::Committed => info,
                Ok(_) => return self.not_committed(id, failed(&status)),
                Err(inspected) if is_silence(&inspected) => return Err(unsettled(inspected)),
                Err(_) => return self.not_committed(id, failed(&status)),
            },
        };
        match info.state() {
            v1::TransactionState::Committed => wire::commit(&info.commit),
            v1::TransactionState::Conflict => {
                self.not_committed(id, VfsError::Conflict(info.reason))
            }
            state @ (v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Aborted
            | v1::TransactionState::Orphaned) => {
                let what = format!("not committed: {}", state.as_str_name());
                self.not_committed(id, VfsError::Unavailable(what))
            }
        }
    }

    async fn inspect(&self, id: TransactionId) -> Result<v1::TransactionInfo, Status> {
        let request = v1::InspectTransactionRequest { id: id.as_bytes().to_vec() };
        Ok(self.client.native().inspect_transaction(request).await?.into_inner())
    }

    /// The server has said that nothing was published: `id` takes edits again.
    fn not_committed<T>(&self, id: TransactionId, error: VfsError) -> Result<T, VfsError> {
        self.change_behind(id, |behind| behind.told = None);
        Err(error)
    }
}

/// Whether a request may have been carried out without an answer.
fn is_silence(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
    )
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
        let (source, id) = (&self.0, transaction.id);
        // Whoever goes on has heard what became of the one before.
        source.behind().retain(|_, behind| {
            behind.published.as_ref().is_none_or(|published| published.transaction != id)
        });
        let behind = source.behind().get(&id).cloned().ok_or(VfsError::NotFound)?;
        if let Some(published) = behind.published {
            return Ok(published);
        }
        let message = match behind.told {
            Some(told) => told,
            None => {
                if behind.staged {
                    source.unstage(id, transaction.is_empty_base()).await?;
                }
                source.change_behind(id, |behind| behind.staged = true);
                source.stage(id, edits, writer).await?;
                source.change_behind(id, |behind| behind.told = Some(message.to_owned()));
                message.to_owned()
            }
        };
        let commit = source.settle(id, &message).await?;
        let published = self.after(transaction, commit, behind.next).await?;
        if published.transaction != id {
            source.follow_transaction(published.transaction, false);
        }
        source.change_behind(id, |behind| behind.published = Some(published.clone()));
        Ok(published)
    }

    async fn abandon(&self, transaction: &Started, reason: &str) -> Result<(), VfsError> {
        let id = transaction.id;
        if !self.0.behind().contains_key(&id) {
            return Ok(());
        }
        let (bytes, reason) = (id.as_bytes().to_vec(), reason.to_owned());
        let request = v1::AbortTransactionRequest { id: bytes, reason };
        let aborted = self.0.client.native().abort_transaction(request).await;
        aborted.map_err(|status| failed(&status))?;
        self.0.behind().remove(&id);
        Ok(())
    }
}

impl Following {
    /// What follows the commit of `transaction`: the transaction `next`, upon
    /// the head, unless the source is closing.
    async fn after(
        &self,
        transaction: &Started,
        commit: CommitId,
        next: TransactionId,
    ) -> Result<Published, VfsError> {
        let unsettled = |error| VfsError::Unsettled(format!("published as {commit}, but: {error}"));
        let repo = &transaction.branch.repo;
        let found = match self.resolve(repo, Some(&Ref::commit(commit))).await {
            Ok(found) => found,
            Err(VfsError::NotFound) => None,
            Err(error) => return Err(unsettled(error)),
        };
        let gone = || VfsError::Conflict(format!("published as {commit}, which is gone again"));
        let commit = found.ok_or_else(gone)?;
        if self.0.closing.load(Ordering::Acquire) {
            return Ok(Published { head: commit.clone(), commit, transaction: transaction.id });
        }
        let head = self.0.open_behind(&transaction.branch, next).await.map_err(unsettled)?;
        let head = head.unwrap_or_else(|| commit.clone());
        Ok(Published { commit, head, transaction: next })
    }
}
