//! Commit sets: everything that carries one id. Squash, drop, delete.

use super::{Repos, Result};
use crate::catalog::CommitRow;
use crate::model::{Commit, CommitId};

/// The commits of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSet {
    /// The id.
    pub id: CommitId,
    /// Its place in the order of sets, for paging.
    pub seq: u64,
    /// Its commits, upstream first.
    pub commits: Vec<CommitRow>,
}

impl Repos {
    /// The commits of a set, upstream first.
    pub async fn inspect_commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        todo!()
    }

    /// Commit sets, newest first, those before `before` (a `seq`).
    pub async fn list_commit_sets(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<CommitSet>> {
        todo!()
    }

    /// Removes a set of finished commits that all have children; the data
    /// lives on in the children. Sets that derive from it forbid it, or go too
    /// when `recursive`. Answers what was removed.
    pub async fn squash(&self, id: CommitId, recursive: bool) -> Result<Vec<Commit>> {
        todo!()
    }

    /// Removes a set of commits none of which has a child; heads go back to
    /// the parents. Sets that derive from it forbid it, or go too when
    /// `recursive`. Answers what was removed.
    pub async fn drop_set(&self, id: CommitId, recursive: bool) -> Result<Vec<Commit>> {
        todo!()
    }

    /// Removes one input commit and, with their jobs, all commits derived from
    /// it. Children get its parent as theirs; heads go back to parents.
    /// Answers what was removed.
    pub async fn delete_commit(&self, commit: &Commit) -> Result<Vec<Commit>> {
        todo!()
    }
}
