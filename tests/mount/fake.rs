//! Repos in memory, as a source of file systems.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use pfs::chunk::{BlobConfig, Blobs, FileWriter, PackWriter};
use pfs::model::{
    Clock as _, CommitId, Move, ProjectName, Ref, RefBase, Repo, SystemClock, Timestamp,
    TransactionId, TreePath,
};
use pfs::store::{Backend, FaultStore, RetryPolicy, Store};
use pfs::tree::{ApplyOptions, Edit, Entry, NodeCache, Nodes, Root, Tree, apply};
use pfs::vfs::{Begin, Edits, Fate, Moved, Published, Resolved, Source, Started, Upon, VfsError};
use tokio::sync::broadcast;

pub struct Fake {
    writing: Nodes,
    /// What mounts read with.
    nodes: Nodes,
    /// Finished commits of master, oldest first.
    repos: Mutex<BTreeMap<Repo, Vec<Resolved>>>,
    moved: broadcast::Sender<Moved>,
    /// Whether the source does not answer.
    pub away: AtomicBool,
    /// How often it was asked for heads and refs.
    pub asked: AtomicUsize,
    /// How many of its answers are overtaken by a commit to every repo before
    /// they arrive.
    pub overtaken: AtomicUsize,
    /// What became of every transaction.
    pub fate: Mutex<Fate>,
    /// Whoever holds it keeps commits waiting.
    pub commits: tokio::sync::Mutex<()>,
    /// How many commits were begun.
    pub begun: AtomicUsize,
}

pub fn repo(name: &str) -> Repo {
    Repo::user(ProjectName::default_project(), name.parse().unwrap())
}

pub fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

/// A moment long past, so that no time in a test is by chance the same.
pub fn then() -> Timestamp {
    Timestamp::from_parts(1_500_000_000, 123_456_789)
}

fn nodes(store: Store) -> Nodes {
    let blobs = Blobs::new(store, Arc::new(SystemClock), BlobConfig::default());
    Nodes::new(blobs, NodeCache::new(16 << 20))
}

impl Fake {
    pub fn new() -> Arc<Self> {
        let nodes = nodes(Store::memory());
        Self::read_with(nodes.clone(), nodes)
    }

    /// Repos whose mounts find in the store what `faults` lets them, and know
    /// nothing from writing it.
    pub fn faulty() -> (Arc<Self>, Arc<FaultStore>) {
        let memory = Store::memory().backend();
        let faults = FaultStore::new(Arc::clone(&memory));
        let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let reading = Store::new(Arc::clone(&faults) as Arc<dyn Backend>, retry);
        (Self::read_with(nodes(Store::new(memory, retry)), nodes(reading)), faults)
    }

    /// Repos whose mounts keep what they read in `dir`.
    pub fn cached(dir: &Path, budget: u64) -> Arc<Self> {
        let memory = Store::memory().backend();
        let store = || Store::new(Arc::clone(&memory), RetryPolicy::default());
        let disk = Some((dir.to_owned(), budget));
        let config = BlobConfig { disk, ..BlobConfig::default() };
        let blobs = Blobs::new(store(), Arc::new(SystemClock), config);
        Self::read_with(nodes(store()), Nodes::new(blobs, NodeCache::new(16 << 20)))
    }

    fn read_with(writing: Nodes, nodes: Nodes) -> Arc<Self> {
        Arc::new(Self {
            writing,
            nodes,
            repos: Mutex::default(),
            moved: broadcast::channel(64).0,
            away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            overtaken: AtomicUsize::new(0),
            fate: Mutex::new(Fate::Open),
            commits: tokio::sync::Mutex::default(),
            begun: AtomicUsize::new(0),
        })
    }

    pub fn create(&self, name: &str) {
        self.repos.lock().unwrap().insert(repo(name), Vec::new());
        self.tell(Moved::Everything);
    }

    pub fn delete(&self, name: &str) {
        self.repos.lock().unwrap().remove(&repo(name));
        self.tell(Moved::Everything);
    }

    fn tell(&self, moved: Moved) {
        let _nobody = self.moved.send(moved);
    }

    pub fn head(&self, name: &str) -> Option<Resolved> {
        self.repos.lock().unwrap()[&repo(name)].last().cloned()
    }

    pub fn tree(&self, name: &str) -> Tree {
        let root = self.head(name).map_or(Root::empty(), |head| head.root);
        Tree::new(&self.writing, root)
    }

    /// A file entry.
    pub async fn file(&self, bytes: impl Into<Bytes>) -> Edit {
        let writer = self.writing.blobs().writer();
        let mut file = FileWriter::new(&writer, &[]);
        file.write(bytes.into()).await.unwrap();
        let content = file.finish().await.unwrap();
        writer.flush().await.unwrap();
        Edit::Put(Entry::file(content, then()))
    }

    /// Commits `edits` to master of `name`, which is created if need be.
    pub async fn commit(&self, name: &str, edits: Vec<(&str, Edit)>) -> CommitId {
        if !self.repos.lock().unwrap().contains_key(&repo(name)) {
            self.create(name);
        }
        let mut edits: Vec<_> = edits.into_iter().map(|(at, edit)| (path(at), edit)).collect();
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        let edits = futures::stream::iter(edits.into_iter().map(Ok)).boxed();
        let writer = self.writing.blobs().writer();
        self.apply(&repo(name), edits, &writer).await.unwrap().commit
    }

    async fn apply(
        &self,
        repo: &Repo,
        edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<Resolved, VfsError> {
        let old = self.repos.lock().unwrap()[repo].last().map_or(Root::empty(), |head| head.root);
        let options = ApplyOptions::default();
        let root = apply(&self.writing, writer, &old, edits, options).await?;
        writer.flush().await?;
        let (commit, finished) = (SystemClock.commit_id(), SystemClock.now());
        let head = Resolved { commit, root, finished };
        self.repos.lock().unwrap().get_mut(repo).unwrap().push(head.clone());
        self.tell(Moved::Head(repo.clone()));
        Ok(head)
    }
}

impl Fake {
    fn answer(&self, repo: &Repo, reference: Option<&Ref>) -> Result<Option<Resolved>, VfsError> {
        let repos = self.repos.lock().unwrap();
        let commits = repos.get(repo).ok_or(VfsError::NotFound)?;
        let Some(reference) = reference else { return Ok(commits.last().cloned()) };
        let mut at = match &reference.base {
            RefBase::Branch(name) if name.as_str() == "master" => commits.len(),
            RefBase::Branch(_) | RefBase::Time(_) => return Err(VfsError::NotFound),
            RefBase::Commit(id) => {
                let found = commits.iter().position(|commit| commit.commit == *id);
                found.ok_or(VfsError::NotFound)? + 1
            }
        };
        for step in &reference.moves {
            at = match step {
                Move::Ancestor(n) | Move::Parent(n) => at.saturating_sub(*n as usize),
                Move::FromStart(n) => *n as usize,
            };
        }
        Ok(Some(commits.get(at.wrapping_sub(1)).ok_or(VfsError::NotFound)?.clone()))
    }

    /// Lets a commit overtake an answer, if one is to. It adds a file named
    /// after how many were to come, and whoever follows hears of it.
    async fn overtake(&self) {
        let less = |left: usize| left.checked_sub(1);
        let left = self.overtaken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        let Ok(left) = left else { return };
        let repos: Vec<Repo> = self.repos.lock().unwrap().keys().cloned().collect();
        for repo in repos {
            let file = self.file("late").await;
            let name = format!("late-{left}");
            self.commit(repo.name.as_str(), vec![(name.as_str(), file)]).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[async_trait]
impl Source for Fake {
    fn identity(&self) -> &str {
        "fake"
    }

    async fn place(&self, _repo: &Repo) -> Result<String, VfsError> {
        Ok("fake".to_owned())
    }

    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(VfsError::Unavailable("away".to_owned()));
        }
        let heads: Vec<_> = {
            let repos = self.repos.lock().unwrap();
            repos.iter().map(|(repo, commits)| (repo.clone(), commits.last().cloned())).collect()
        };
        self.overtake().await;
        Ok(heads)
    }

    async fn resolve(
        &self,
        repo: &Repo,
        reference: Option<&Ref>,
    ) -> Result<Option<Resolved>, VfsError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(VfsError::Unavailable("away".to_owned()));
        }
        let answer = self.answer(repo, reference);
        self.overtake().await;
        answer
    }

    fn watch(&self) -> BoxStream<'static, Moved> {
        let moved = self.moved.subscribe();
        let moved = tokio_stream::wrappers::BroadcastStream::new(moved);
        moved.map(|moved| moved.unwrap_or(Moved::Everything)).boxed()
    }

    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn publish(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        writer: &PackWriter,
        _message: &str,
    ) -> Result<Published, VfsError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let _turn = self.commits.lock().await;
        let head = self.head(transaction.branch.repo.name.as_str()).map(|head| head.commit);
        if head != transaction.base && (head.is_none() || head != transaction.replaces) {
            return Err(VfsError::Conflict("the head has moved".into()));
        }
        let head = self.apply(&transaction.branch.repo, edits, writer).await?;
        Ok(Published { commit: head.clone(), head, transaction: transaction.id })
    }

    async fn begin(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        let commits = self.repos.lock().unwrap()[&begin.branch.repo].clone();
        match begin.upon {
            Upon::Newest => Ok(commits.last().cloned()),
            Upon::Base(base) => Ok(commits.into_iter().find(|one| Some(one.commit) == base)),
        }
    }

    async fn adopt(&self, _transaction: &Started, _staging: &Path) -> Result<(), VfsError> {
        Ok(())
    }

    async fn fate(&self, _transaction: TransactionId) -> Result<Fate, VfsError> {
        Ok(self.fate.lock().unwrap().clone())
    }

    async fn rebase(&self, _transaction: &Started, _base: CommitId) -> Result<(), VfsError> {
        Ok(())
    }

    async fn abandon(&self, _transaction: &Started, _reason: &str) -> Result<(), VfsError> {
        Ok(())
    }
}
