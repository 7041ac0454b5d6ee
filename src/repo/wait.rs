//! Waiting for commits.

use futures::stream::BoxStream;

use super::{Repos, Result};
use crate::catalog::{CommitRow, Origin};
use crate::model::{BranchName, Commit, CommitId, Ref, Repo};

/// Which commits to be told of.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The repo.
    pub repo: Repo,
    /// Only those made on this branch.
    pub branch: Option<BranchName>,
    /// Only those made after this one; `None`: from the first.
    pub from: Option<Ref>,
    /// Only those of this origin.
    pub origin: Option<Origin>,
    /// Tell of a commit when it has finished rather than when it opens.
    pub finished: bool,
}

impl Repos {
    /// The commit, once it has finished.
    pub async fn wait_commit(&self, commit: &Commit) -> Result<CommitRow> {
        todo!()
    }

    /// All commits of a set, upstream first, once all have finished.
    pub async fn wait_commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        todo!()
    }

    /// Commits in creation order: those there are, then new ones as they come.
    /// Ends only with an error, e.g. when the repo is deleted.
    #[must_use]
    pub fn subscribe(&self, to: Subscription) -> BoxStream<'static, Result<CommitRow>> {
        todo!()
    }
}
