//! Branches and what they derive from.

use std::collections::HashSet;

use futures::StreamExt;
use tonic::codegen::BoxStream;

use super::{Pfs, pick};
use crate::api::convert;
use crate::api::info::{self, Lineage};
use crate::api::proto::pfs_v2 as pb;
use crate::api::service::all;
use crate::api::status::{Result, catalog, invalid, refused};
use crate::catalog::BranchRow;
use crate::model::Branch;
use crate::repo::CreateBranch;

/// Which way to follow provenance between branches.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Pfs {
    pub(in crate::api) async fn create_branch(
        &self,
        request: pb::CreateBranchRequest,
    ) -> Result<()> {
        let branch = convert::branch(request.branch.as_ref())?;
        let head = convert::optional_commit(request.head.as_ref())?;
        if head.as_ref().is_some_and(|head| head.repo != branch.repo) {
            return Err(invalid("branch and head commit must belong to the same repo"));
        }
        let provenance = convert::branches(&request.provenance)?;
        // Moving a head says nothing about provenance.
        let keep = provenance.is_empty() && head.is_some();
        let spec = CreateBranch {
            head: head.map(|head| head.reference),
            provenance: (!keep).then_some(provenance),
            trigger: convert::trigger(request.trigger.as_ref())?,
        };
        self.services.repos.create_branch(&branch, &spec).await.map_err(refused)?;
        Ok(())
    }

    pub(super) async fn inspect_branch(
        &self,
        request: pb::InspectBranchRequest,
    ) -> Result<pb::BranchInfo> {
        let branch = convert::branch(request.branch.as_ref())?;
        let row = self.services.repos.inspect_branch(&branch).await.map_err(refused)?;
        self.branch_info(&row).await
    }

    pub(super) async fn list_branch(
        &self,
        request: pb::ListBranchRequest,
    ) -> Result<BoxStream<pb::BranchInfo>> {
        let repo = convert::repo(request.repo.as_ref())?;
        let mut rows = self.services.repos.list_branches(&repo).await.map_err(refused)?;
        if request.reverse {
            rows.reverse();
        }
        let pfs = self.clone();
        let infos = futures::stream::iter(rows).then(move |row| {
            let pfs = pfs.clone();
            async move { pfs.branch_info(&row).await }
        });
        Ok(Box::pin(infos))
    }

    pub(in crate::api) async fn delete_branch(
        &self,
        request: pb::DeleteBranchRequest,
    ) -> Result<()> {
        let branch = convert::branch(request.branch.as_ref())?;
        self.services.repos.delete_branch(&branch, request.force).await.map_err(refused)
    }

    pub(super) async fn walk_branch_provenance(
        &self,
        request: pb::WalkBranchProvenanceRequest,
    ) -> Result<BoxStream<pb::BranchInfo>> {
        let bounds = (request.max_branches, request.max_depth);
        self.walk_branches(&request.start, bounds, Way::Up).await
    }

    pub(super) async fn walk_branch_subvenance(
        &self,
        request: pb::WalkBranchSubvenanceRequest,
    ) -> Result<BoxStream<pb::BranchInfo>> {
        let bounds = (request.max_branches, request.max_depth);
        self.walk_branches(&request.start, bounds, Way::Down).await
    }

    /// The start branches and what is reached from them, breadth first;
    /// bounds of 0 are none.
    async fn walk_branches(
        &self,
        start: &[pb::BranchPicker],
        (max_branches, max_depth): (u64, u64),
        way: Way,
    ) -> Result<BoxStream<pb::BranchInfo>> {
        let mut level = start.iter().map(pick::branch).collect::<Result<Vec<_>>>()?;
        let mut seen = HashSet::new();
        let mut infos = Vec::new();
        let mut depth = 0;
        while !level.is_empty() && (max_depth == 0 || depth <= max_depth) {
            let mut next = Vec::new();
            for branch in level {
                if !seen.insert(branch.clone()) {
                    continue;
                }
                let row = self.services.repos.inspect_branch(&branch).await.map_err(refused)?;
                next.extend(self.next_branches(&row, way).await?);
                infos.push(self.branch_info(&row).await?);
                if max_branches != 0 && infos.len() as u64 == max_branches {
                    return Ok(all(infos));
                }
            }
            level = next;
            depth += 1;
        }
        Ok(all(infos))
    }

    async fn next_branches(&self, row: &BranchRow, way: Way) -> Result<Vec<Branch>> {
        match way {
            Way::Up => Ok(row.provenance.clone()),
            Way::Down => {
                let below = self.downstream(&row.branch).await?;
                let direct = below.into_iter().filter(|b| b.provenance.contains(&row.branch));
                Ok(direct.map(|b| b.branch).collect())
            }
        }
    }

    async fn downstream(&self, branch: &Branch) -> Result<Vec<BranchRow>> {
        let start = std::slice::from_ref(branch);
        self.services.repos.catalog().downstream(start).await.map_err(|e| catalog(&e))
    }

    async fn branch_info(&self, row: &BranchRow) -> Result<pb::BranchInfo> {
        let subvenance = self.downstream(&row.branch).await?;
        let lineage = Lineage {
            provenance: self.upstream(row).await?,
            subvenance: subvenance.into_iter().map(|row| row.branch).collect(),
        };
        Ok(info::branch(row, &lineage))
    }

    /// Everything a branch derives from, nearest first.
    async fn upstream(&self, row: &BranchRow) -> Result<Vec<Branch>> {
        let mut found = row.provenance.clone();
        let mut at = 0;
        while at < found.len() {
            let above = self.services.repos.catalog().branch(&found[at]).await;
            let above = above.map_err(|e| catalog(&e))?.map(|row| row.provenance);
            for branch in above.unwrap_or_default() {
                if !found.contains(&branch) {
                    found.push(branch);
                }
            }
            at += 1;
        }
        Ok(found)
    }
}
