//! Where repos come from: the server's own process or its API.

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::VfsError;
use super::transaction::Started;
use crate::chunk::PackWriter;
use crate::model::{CommitId, Ref, Repo, Timestamp, TransactionId, TreePath};
use crate::tree::{Edit, Nodes, Root};

/// A commit and its tree.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub root: Root,
    /// When it was finished.
    pub finished: Timestamp,
}

/// What became of a transaction's edits.
#[derive(Debug, Clone)]
pub struct Published {
    /// The commit that holds them.
    pub commit: Resolved,
    /// What the transaction goes on from: that commit, or a later one.
    pub head: Resolved,
    /// The name under which the transaction goes on.
    pub transaction: TransactionId,
}

/// What has changed at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// A branch of the repo, or a commit in it.
    Head(Repo),
    /// Repos came or went, or anything may have changed.
    Everything,
}

/// The edits of a transaction, in path order.
pub type Edits<'a> = BoxStream<'a, Result<(TreePath, Edit), VfsError>>;

/// Repos, commits and the way to make new ones.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The user repos, in no particular order.
    async fn repos(&self) -> Result<Vec<Repo>, VfsError>;

    /// The newest finished commit that `reference` (the head of `master` when
    /// absent) stands for; `None` where there is none yet. Fails with
    /// [`VfsError::NotFound`] when repo or ref does not exist.
    async fn resolve(
        &self,
        repo: &Repo,
        reference: Option<&Ref>,
    ) -> Result<Option<Resolved>, VfsError>;

    /// Tells what has moved since the call, for as long as it is polled. May
    /// tell too much, never too little.
    fn watch(&self) -> BoxStream<'static, Moved>;

    /// Where trees and contents are read from.
    fn nodes(&self) -> &Nodes;

    /// Publishes the edits of a transaction as one commit of its branch.
    /// `writer` takes the content of the edits as they are read; flush it
    /// before they count.
    ///
    /// Fails with [`VfsError::Conflict`] when the head has moved in a way that
    /// the edits do not go with, and with [`VfsError::Unsettled`] when it is
    /// not known whether they were published or what the transaction goes on
    /// from: asked again for the same `transaction.id`, with edits that must be
    /// the same, this answers what became of them. After any other error
    /// nothing was published.
    async fn publish(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        writer: &PackWriter,
        message: &str,
    ) -> Result<Published, VfsError>;

    /// Gives the transaction up.
    async fn abandon(&self, transaction: &Started, reason: &str) -> Result<(), VfsError>;
}
