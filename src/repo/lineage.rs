//! What a commit comes from and what comes from it.

use super::{Repos, Result};
use crate::catalog::Reach;
use crate::model::Commit;

impl Repos {
    /// The commits that `commit` derives from, spec commits included, upstream
    /// first.
    pub async fn provenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        todo!()
    }

    /// The commits that derive from `commit`, in creation order.
    pub async fn subvenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        todo!()
    }
}
