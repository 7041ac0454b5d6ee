//! Branches.

use super::{Repos, Result};
use crate::catalog::{BranchRow, Trigger};
use crate::model::{Branch, Ref, Repo};

/// What a branch shall be.
#[derive(Debug, Clone, Default)]
pub struct CreateBranch {
    /// Where its head goes, a ref in the same repo; `None` leaves it.
    pub head: Option<Ref>,
    /// The branches it derives from. `None` leaves them.
    pub provenance: Option<Vec<Branch>>,
    /// What else moves it. `None` leaves it.
    pub trigger: Option<Trigger>,
}

impl Repos {
    /// Creates a branch or changes an existing one, and derives what follows
    /// from a head or provenance that moved: output commits of every branch
    /// downstream, and their jobs.
    pub async fn create_branch(&self, branch: &Branch, spec: &CreateBranch) -> Result<BranchRow> {
        todo!()
    }

    /// One branch.
    pub async fn inspect_branch(&self, branch: &Branch) -> Result<BranchRow> {
        todo!()
    }

    /// The branches of a repo, newest first.
    pub async fn list_branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        todo!()
    }

    /// Deletes a branch; its commits stay. Without `force` no branch may
    /// derive from it; with `force` those lose that input.
    pub async fn delete_branch(&self, branch: &Branch, force: bool) -> Result<()> {
        todo!()
    }
}
