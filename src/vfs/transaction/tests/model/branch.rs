//! A branch in memory that several transactions commit to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;

use super::super::edited;
use crate::chunk::PackWriter;
use crate::model::{Clock as _, CommitId, Ref, Repo, SystemClock, TransactionId};
use crate::tree::{Merge, Nodes, Root, Tree, merge};
use crate::vfs::VfsError;
use crate::vfs::source::{Begin, Edits, Fate, Moved, Published, Resolved, Source};
use crate::vfs::transaction::Started;

/// A branch that merges what is published, and may not say so.
pub(super) struct SharedBranch {
    nodes: Nodes,
    inner: Mutex<Inner>,
}

struct Inner {
    head: Resolved,
    published: HashMap<TransactionId, Published>,
    /// How many answers are lost from now on.
    silent: u32,
}

fn resolved(root: Root) -> Resolved {
    Resolved { commit: SystemClock.commit_id(), root, finished: SystemClock.now() }
}

impl SharedBranch {
    pub(super) fn new(tree: &Tree) -> Self {
        let (head, published) = (resolved(*tree.root()), HashMap::new());
        Self {
            nodes: tree.nodes().clone(),
            inner: Mutex::new(Inner { head, published, silent: 0 }),
        }
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::new(&self.nodes, self.head().root)
    }

    pub(super) fn head(&self) -> Resolved {
        self.inner.lock().unwrap().head.clone()
    }

    pub(super) fn lose_answers(&self, count: u32) {
        self.inner.lock().unwrap().silent = count;
    }

    pub(super) fn is_published(&self, id: TransactionId) -> bool {
        self.inner.lock().unwrap().published.contains_key(&id)
    }

    /// The head with `edits` of `transaction`.
    async fn joined(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<Root, VfsError> {
        let base = Tree::new(&self.nodes, transaction.root()?);
        let edits = edits.try_collect().await?;
        writer.flush().await?;
        let staged = edited(&base, edits).await;
        let (own, head) = (self.nodes.blobs().writer(), self.head().root);
        let merged = merge(&self.nodes, &own, base.root(), staged.root(), &head).await?;
        own.flush().await?;
        match merged {
            Merge::Merged(root) => Ok(root),
            Merge::Conflicts(paths) => Err(VfsError::Conflict(format!("{paths:?}"))),
        }
    }
}

#[async_trait]
impl Source for SharedBranch {
    fn identity(&self) -> &'static str {
        "tests"
    }

    async fn place(&self, _: &Repo) -> Result<String, VfsError> {
        Ok(String::new())
    }

    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError> {
        Ok(Vec::new())
    }

    async fn resolve(&self, _: &Repo, _: Option<&Ref>) -> Result<Option<Resolved>, VfsError> {
        Ok(Some(self.head()))
    }

    fn watch(&self) -> BoxStream<'static, Moved> {
        Box::pin(futures::stream::pending())
    }

    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn publish(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        writer: &PackWriter,
        _: &str,
    ) -> Result<Published, VfsError> {
        let known = self.inner.lock().unwrap().published.get(&transaction.id).cloned();
        let published = match known {
            Some(known) => known,
            None => {
                let head = resolved(self.joined(transaction, edits, writer).await?);
                let next = SystemClock.transaction_id();
                let (commit, head) = (head.clone(), head);
                let published = Published { commit, head, transaction: next };
                let mut inner = self.inner.lock().unwrap();
                inner.head = published.head.clone();
                inner.published.insert(transaction.id, published.clone());
                published
            }
        };
        let mut inner = self.inner.lock().unwrap();
        match inner.silent {
            0 => Ok(published),
            _ => {
                inner.silent -= 1;
                Err(VfsError::Unsettled("no answer".into()))
            }
        }
    }

    async fn begin(&self, _: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        Ok(Some(self.head()))
    }

    async fn adopt(&self, _: &Started, _: &Path) -> Result<(), VfsError> {
        Ok(())
    }

    async fn fate(&self, id: TransactionId) -> Result<Fate, VfsError> {
        let over = || Fate::Over("committed".into());
        Ok(if self.is_published(id) { over() } else { Fate::Open })
    }

    async fn rebase(&self, _: &Started, _: CommitId) -> Result<(), VfsError> {
        Ok(())
    }

    async fn abandon(&self, transaction: &Started, _: &str) -> Result<(), VfsError> {
        match self.is_published(transaction.id) {
            true => Err(VfsError::Conflict("it was committed".into())),
            false => Ok(()),
        }
    }
}
