//! What a commit comes from and what comes from it.

use super::{Repos, Result};
use crate::catalog::Reach;
use crate::model::Commit;

impl Repos {
    /// The commits that `commit` derives from, spec commits included, upstream
    /// first.
    pub async fn provenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        self.inspect_commit(commit).await?;
        Ok(self.catalog.provenance(commit, reach).await?)
    }

    /// The commits that derive from `commit`, in creation order.
    pub async fn subvenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        self.inspect_commit(commit).await?;
        Ok(self.catalog.subvenance(commit, reach).await?)
    }
}
