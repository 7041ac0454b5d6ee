//! Commits: start, write, finish, list.

use bytes::Bytes;

use super::{Repos, Result};
use crate::catalog::{CommitRow, Origin, StoredRoot};
use crate::model::{Branch, BranchName, Commit, CommitId, Ref, Repo};

/// The commit to open.
#[derive(Debug, Clone)]
pub struct StartCommit {
    /// Its repo.
    pub repo: Repo,
    /// The branch whose head it becomes, created where there is none. `None`
    /// leaves it on no branch.
    pub branch: Option<BranchName>,
    /// Its parent; `None` is the head of the branch.
    pub parent: Option<Ref>,
    /// What it is about.
    pub description: String,
    /// Who opens it.
    pub author: String,
    /// Its id, to put it into a commit set that exists; `None` draws one.
    pub id: Option<CommitId>,
}

/// How to finish a commit.
#[derive(Debug, Clone, Default)]
pub struct FinishCommit {
    /// Its final tree; `None` keeps what was written while it was open.
    pub root: Option<StoredRoot>,
    /// Replaces the description.
    pub description: Option<String>,
    /// Why it failed, if it did: it then finishes empty of use, and readers
    /// stay on the commit before it.
    pub error: Option<String>,
}

/// A commit that opens and finishes at once.
#[derive(Debug, Clone)]
pub struct OneShot {
    /// The head its tree builds upon; must still be the branch's head.
    pub parent: Option<CommitId>,
    /// Its tree, already durable.
    pub root: StoredRoot,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub author: String,
}

/// Which commits of a repo to list.
#[derive(Debug, Clone, Default)]
pub struct ListCommits {
    /// Only this commit and its ancestors.
    pub to: Option<Ref>,
    /// Stop before this commit.
    pub from: Option<Ref>,
    /// At most so many; `None`: all.
    pub number: Option<usize>,
    /// Only those of this origin; `None`: all.
    pub origin: Option<Origin>,
    /// Oldest first rather than newest first.
    pub oldest_first: bool,
}

impl Repos {
    /// Opens a commit whose tree begins as its parent's, and makes it the head
    /// of its branch. Nothing is derived until it finishes.
    pub async fn start_commit(&self, spec: &StartCommit) -> Result<CommitRow> {
        todo!()
    }

    /// Replaces the tree of an open commit, provided it still is `expected`
    /// (encoded); else [`RepoError::RootMoved`](super::RepoError::RootMoved).
    /// Repeating a call that succeeded succeeds.
    pub async fn set_root(
        &self,
        commit: &Commit,
        expected: &Bytes,
        new: &StoredRoot,
    ) -> Result<()> {
        todo!()
    }

    /// Finishes an open commit and, in the same step, opens the output commits
    /// of everything downstream under the same id, with their jobs.
    pub async fn finish_commit(&self, commit: &Commit, spec: &FinishCommit) -> Result<CommitRow> {
        todo!()
    }

    /// Adds a finished commit to a branch in one step, deriving as
    /// [`Self::finish_commit`] does. The branch is created where there is
    /// none. [`RepoError::HeadMoved`](super::RepoError::HeadMoved) says that
    /// the tree must be built again upon the new head.
    pub async fn commit_once(&self, branch: &Branch, spec: &OneShot) -> Result<CommitRow> {
        todo!()
    }

    /// Changes what a commit says about itself.
    pub async fn describe_commit(&self, commit: &Commit, description: &str) -> Result<()> {
        todo!()
    }

    /// Commits of a repo.
    pub async fn list_commits(&self, repo: &Repo, list: &ListCommits) -> Result<Vec<CommitRow>> {
        todo!()
    }
}
