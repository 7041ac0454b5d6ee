//! A server as a source of repos for a mount.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use pfs_daemonset::PodRef;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::behind::Behind;
use super::heads::{Heads, note};
use super::wire;
use crate::api::client::{Client, Code, Status, Streaming};
use crate::api::proto::{pfs_v1 as v1, pfs_v2};
use crate::chunk::PackWriter;
use crate::model::{BranchName, Clock, CommitId, Ref, RefBase, Repo, TransactionId};
use crate::tree::Nodes;
use crate::vfs::{Begin, Edits, Fate, Moved, Published, Resolved, Source, Started, Upon, VfsError};

/// How long to wait before asking a server again that went away.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

/// Repos, commits and transactions of one server.
pub struct ServerSource {
    pub(super) client: Client,
    nodes: Nodes,
    pub(super) clock: Arc<dyn Clock>,
    owner: String,
    identity: String,
    moved: broadcast::Sender<Moved>,
    watched: Mutex<HashSet<BranchName>>,
    /// The heads of `master`, while somebody tells of them.
    heads: Mutex<Option<Heads>>,
    /// What is known of the transactions that are in use.
    pub(super) open: Mutex<HashMap<TransactionId, Behind>>,
    /// Set when no transaction is to follow the next commit.
    closing: AtomicBool,
    /// Who writes what is staged in a directory, where that is not the owner.
    owners: Mutex<HashMap<PathBuf, String>>,
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
        Ok(Self::of(client, nodes, clock, (owner, hex::encode(&identity[..16]))))
    }

    /// The same for a server whose identity is known; asks it nothing yet.
    pub fn of(
        client: Client,
        nodes: Nodes,
        clock: Arc<dyn Clock>,
        (owner, identity): (String, String),
    ) -> Arc<Self> {
        let source = Arc::new(Self {
            client,
            nodes,
            clock,
            owner,
            identity,
            moved: broadcast::channel(256).0,
            watched: Mutex::default(),
            heads: Mutex::default(),
            open: Mutex::default(),
            closing: AtomicBool::new(false),
            owners: Mutex::default(),
        });
        source.follow(&BranchName::master());
        source.keep_alive();
        source
    }

    /// Who writes, and to which server: what [`ServerSource::of`] takes.
    pub fn writer(&self) -> (String, String) {
        (self.owner.clone(), self.identity.clone())
    }

    /// Keeps a transaction alive that another process has opened and kept in
    /// `staging`; it was `committing` when it died, or it was not.
    pub fn go_on(self: &Arc<Self>, started: &Started, staging: &Path, committing: bool) {
        self.track(started.id, staging, true);
        self.change_behind(started.id, |behind| behind.inherited = committing);
        self.follow(&started.branch.name);
    }

    /// Fails as the server says when there is no such repo or ref. `None`
    /// stands for the head of `master`, which need not be there yet.
    pub async fn check(&self, repo: &Repo, reference: Option<&Ref>) -> Result<(), Status> {
        let request = pfs_v2::InspectRepoRequest { repo: Some(wire::named(repo)) };
        self.client.pfs().inspect_repo(request).await?;
        let Some(reference) = reference else { return Ok(()) };
        let request = v1::ResolveRefRequest {
            repo: Some(wire::repo(repo)),
            r#ref: reference.to_string(),
            exact: false,
        };
        self.client.native().resolve_ref(request).await.map(drop)
    }

    /// Fails unless `pod`, which has shown `token`, may have a volume of `repo`,
    /// or of all repos, to `write` it or only to read it.
    pub async fn authorize(
        &self,
        repo: Option<&Repo>,
        write: bool,
        pod: Option<&PodRef>,
        token: Option<String>,
    ) -> Result<(), Status> {
        let told = |part: fn(&PodRef) -> &String| pod.map(part).cloned().unwrap_or_default();
        let request = v1::AuthorizeVolumeRequest {
            token: token.unwrap_or_default(),
            pod_namespace: told(|pod| &pod.namespace),
            pod_name: told(|pod| &pod.name),
            pod_uid: told(|pod| &pod.uid),
            service_account: told(|pod| &pod.service_account),
            repo: repo.map(wire::repo),
            write,
        };
        self.client.native().authorize_volume(request).await.map(drop)
    }

    /// No transaction is to be opened after the next commit.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Nobody asks for `id`, which is over, any more.
    pub fn forget(&self, id: TransactionId) {
        self.behind().remove(&id);
    }

    /// Says who writes what is staged in `staging`; nobody in particular with
    /// `None`.
    pub fn set_owner(&self, staging: &Path, owner: Option<String>) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        match owner {
            Some(owner) => drop(owners.insert(staging.to_owned(), owner)),
            None => drop(owners.remove(staging)),
        }
    }

    pub(super) fn owner_of(&self, staging: &Path) -> String {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.get(staging).unwrap_or(&self.owner).clone()
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
        let request = pfs_v2::InspectRepoRequest { repo: Some(wire::named(repo)) };
        match self.client.pfs().inspect_repo(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(failed(&status)),
        }
    }
}

pub(super) fn failed(status: &Status) -> VfsError {
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

    async fn place(&self, repo: &Repo) -> Result<String, VfsError> {
        let request = pfs_v2::InspectRepoRequest { repo: Some(wire::named(repo)) };
        let found = self.0.client.pfs().inspect_repo(request).await;
        let created = found.map_err(|status| failed(&status))?.into_inner().created;
        Ok(wire::repo_place(&self.0.identity, created.unwrap_or_default()))
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
        // Whoever goes on has heard what became of the one before.
        source.behind().retain(|_, behind| {
            behind.published.as_ref().is_none_or(|published| published.transaction != id)
        });
        let behind = source.behind().get(&id).cloned();
        let behind = behind.ok_or_else(|| VfsError::Gone(format!("transaction {id} is over")))?;
        if let Some(published) = behind.published {
            return Ok(published);
        }
        let message = match behind.told {
            Some(told) => told,
            None => {
                source.stage_all(transaction, behind.staged, edits, writer).await?;
                source.change_behind(id, |behind| behind.told = Some(message.to_owned()));
                message.to_owned()
            }
        };
        let commit = source.settle(id, (&message, transaction.replaces)).await?;
        let next = (behind.next, &*behind.staging);
        let last = behind.last || source.closing.load(Ordering::Acquire);
        let published = self.after(transaction, commit, (!last).then_some(next)).await?;
        if published.transaction != id {
            source.track(published.transaction, &behind.staging, false);
        }
        source.change_behind(id, |behind| behind.published = Some(published.clone()));
        Ok(published)
    }

    async fn begin(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        self.0.follow(&begin.branch.name);
        self.0.begin(begin).await
    }

    async fn adopt(&self, transaction: &Started, staging: &Path) -> Result<(), VfsError> {
        self.0.adopt(transaction, staging).await?;
        self.0.follow(&transaction.branch.name);
        Ok(())
    }

    async fn fate(&self, transaction: TransactionId) -> Result<Fate, VfsError> {
        let info = match self.0.inspect(transaction).await {
            Ok(info) => info,
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
        self.0.abandon(transaction.id, reason).await
    }
}

impl Following {
    /// What follows the commit of `transaction`: the transaction `next`, upon
    /// the head, if there is to be one.
    async fn after(
        &self,
        transaction: &Started,
        commit: CommitId,
        next: Option<(TransactionId, &Path)>,
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
        let Some((next, staging)) = next else {
            return Ok(Published { head: commit.clone(), commit, transaction: transaction.id });
        };
        let branch = &transaction.branch;
        let begin = Begin { id: next, branch, upon: Upon::Newest, staging };
        let head = self.0.open(begin).await.map_err(unsettled)?;
        let head = head.unwrap_or_else(|| commit.clone());
        Ok(Published { commit, head, transaction: next })
    }
}
