//! From what users write to the commit they mean.

use super::{Repos, Result};
use crate::catalog::CommitRow;
use crate::model::{Branch, Commit, Ref, Repo};

impl Repos {
    /// The commit a ref names, open or finished. A branch without a head is
    /// [`RepoError::NoHead`](super::RepoError::NoHead).
    pub async fn resolve(&self, repo: &Repo, reference: &Ref) -> Result<CommitRow> {
        todo!()
    }

    /// One commit by its full id.
    pub async fn inspect_commit(&self, commit: &Commit) -> Result<CommitRow> {
        todo!()
    }

    /// The newest commit at or before the head of `branch` that finished
    /// without error: what mounts and readers see. `None` for a branch that
    /// has none yet.
    pub async fn newest_finished(&self, branch: &Branch) -> Result<Option<CommitRow>> {
        todo!()
    }

    /// The commit whose tree a reader of `reference` sees: for a branch the
    /// newest finished one, else the commit named, which must be finished.
    pub async fn resolve_finished(&self, repo: &Repo, reference: &Ref) -> Result<CommitRow> {
        todo!()
    }
}
