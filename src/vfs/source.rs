//! Where repos come from: the server's own process or its API.

use std::path::Path;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::VfsError;
use super::transaction::Started;
use crate::chunk::PackWriter;
use crate::model::{Branch, CommitId, Ref, Repo, Timestamp, TransactionId, TreePath};
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

/// A transaction to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// Its id.
    pub id: TransactionId,
    /// The branch it will be committed to.
    pub branch: &'a Branch,
    /// What it starts from.
    pub upon: Upon,
    /// Where its changes are kept until the commit.
    pub staging: &'a Path,
}

/// What a transaction starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upon {
    /// The newest finished commit of its branch.
    Newest,
    /// This commit; no files at all when `None`.
    Base(Option<CommitId>),
}

/// What the source knows of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It can go on.
    Open,
    /// Its commit failed because of others: the paths, for people.
    Conflict(String),
    /// It was committed or given up: how, for people.
    Over(String),
    /// Nothing.
    Unknown,
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
    /// Tells this source from every other, also from one that takes its place
    /// at the same address.
    fn identity(&self) -> &str;

    /// Tells a repo from every other of its name, of another source or made
    /// anew after it was deleted.
    async fn place(&self, repo: &Repo) -> Result<String, VfsError>;

    /// The user repos with the newest finished commits of their `master`, in
    /// no particular order. One question, however many there are.
    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError>;

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

    /// Opens a transaction and answers what it starts from; `None` on a branch
    /// without commits.
    async fn begin(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError>;

    /// Goes on with a transaction whose changes are kept in `staging`. Fails
    /// with [`VfsError::Damaged`] when the source has edits of it relative to
    /// another base.
    async fn adopt(&self, transaction: &Started, staging: &Path) -> Result<(), VfsError>;

    /// What has become of a transaction.
    async fn fate(&self, transaction: TransactionId) -> Result<Fate, VfsError>;

    /// Makes a transaction without edits start from another commit.
    async fn rebase(&self, transaction: &Started, base: CommitId) -> Result<(), VfsError>;

    /// Gives the transaction up. One that was given up before, or is not known,
    /// is none the worse for it; fails with [`VfsError::Conflict`] when it was
    /// committed.
    async fn abandon(&self, transaction: &Started, reason: &str) -> Result<(), VfsError>;
}
