//! Commit sets: everything that carries one id.

use std::collections::HashSet;

use async_stream::try_stream;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::Pfs;
use crate::api::convert;
use crate::api::native::{Finding, findings};
use crate::api::proto::pfs_v2 as pb;
use crate::api::status::{Result, refused};
use crate::catalog::{CommitRow, Reach};
use crate::model::CommitId;

/// Sets read from the catalog at once.
const PAGE: usize = 100;

impl Pfs {
    pub(super) async fn inspect_commit_set(
        &self,
        request: pb::InspectCommitSetRequest,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let id = self.services.commit_set(request.commit_set.as_ref()).await?;
        let repos = self.services.repos.clone();
        let rows = repos.inspect_commit_set(id).await.map_err(refused)?;
        if !request.wait {
            return Ok(self.commit_infos(futures::stream::iter(rows.into_iter().map(Ok))));
        }
        // Each as soon as it and everything before it has finished.
        let finished = try_stream! {
            for row in rows {
                yield repos.wait_commit(&row.commit).await.map_err(refused)?;
            }
        };
        Ok(self.services.while_running(self.commit_infos(finished)))
    }

    pub(super) async fn list_commit_set(
        &self,
        request: pb::ListCommitSetRequest,
    ) -> Result<BoxStream<pb::CommitSetInfo>> {
        let project = match request.project.as_ref().filter(|project| !project.name.is_empty()) {
            Some(project) => Some(convert::project(Some(project))?),
            None => None,
        };
        let pfs = self.clone();
        Ok(Box::pin(try_stream! {
            let mut before = None;
            loop {
                let page = pfs.services.repos.list_commit_sets(before, PAGE).await;
                let page = page.map_err(refused)?;
                let Some(last) = page.last() else { break };
                before = Some(last.seq);
                for set in page {
                    let within = |row: &CommitRow| {
                        project.as_ref().is_none_or(|project| row.commit.repo.project == *project)
                    };
                    if set.commits.iter().any(within) {
                        yield pfs.set_info(set.id, &set.commits).await?;
                    }
                }
            }
        }))
    }

    async fn set_info(&self, id: CommitId, rows: &[CommitRow]) -> Result<pb::CommitSetInfo> {
        let mut commits = Vec::with_capacity(rows.len());
        for row in rows {
            commits.push(self.commit_info(row).await?);
        }
        let commit_set = Some(pb::CommitSet { id: id.to_string() });
        Ok(pb::CommitSetInfo { commit_set, commits })
    }

    pub(super) async fn squash_commit_set(
        &self,
        request: pb::SquashCommitSetRequest,
    ) -> Result<()> {
        let id = self.services.commit_set(request.commit_set.as_ref()).await?;
        self.services.repos.squash(id, false).await.map_err(refused)?;
        Ok(())
    }

    pub(super) async fn drop_commit_set(&self, request: pb::DropCommitSetRequest) -> Result<()> {
        let id = self.services.commit_set(request.commit_set.as_ref()).await?;
        self.services.repos.drop_set(id, false).await.map_err(refused)?;
        Ok(())
    }

    pub(super) async fn squash_commit(
        &self,
        request: pb::SquashCommitRequest,
    ) -> Result<pb::SquashCommitResponse> {
        let row = self.resolve(request.commit.as_ref()).await?;
        self.derives_all(&row, request.recursive).await?;
        self.services.repos.squash(row.commit.id, request.recursive).await.map_err(refused)?;
        Ok(pb::SquashCommitResponse {})
    }

    pub(super) async fn drop_commit(
        &self,
        request: pb::DropCommitRequest,
    ) -> Result<pb::DropCommitResponse> {
        let row = self.resolve(request.commit.as_ref()).await?;
        self.derives_all(&row, request.recursive).await?;
        self.services.repos.drop_set(row.commit.id, request.recursive).await.map_err(refused)?;
        Ok(pb::DropCommitResponse {})
    }

    /// Refuses unless the commit's set is the commit and, when `recursive`,
    /// what derives from it: then removing the set removes what was asked.
    async fn derives_all(&self, row: &CommitRow, recursive: bool) -> Result<()> {
        let repos = &self.services.repos;
        let derived = repos.subvenance(&row.commit, Reach::All).await.map_err(refused)?;
        if !recursive && !derived.is_empty() {
            return Err(Status::failed_precondition(format!(
                "commit {} has commits derived from it; set recursive to remove those too",
                row.commit
            )));
        }
        let derived: HashSet<_> = derived.into_iter().collect();
        let set = repos.inspect_commit_set(row.commit.id).await.map_err(refused)?;
        let foreign =
            |other: &&CommitRow| other.commit != row.commit && !derived.contains(&other.commit);
        match set.iter().find(foreign) {
            None => Ok(()),
            Some(other) => Err(Status::failed_precondition(format!(
                "commit {} shares its commit set with {}, which does not derive from it; \
                 remove the commit set instead",
                row.commit, other.commit
            ))),
        }
    }

    /// Checks everything; zombie files, which its oneof asks about, cannot
    /// exist here.
    pub(super) async fn fsck(
        &self,
        request: pb::FsckRequest,
    ) -> Result<BoxStream<pb::FsckResponse>> {
        let findings = findings(&self.services, false, request.fix);
        Ok(Box::pin(findings.filter_map(|finding| match finding {
            Ok(Finding::Problem { what, repaired: true }) => {
                Some(Ok(pb::FsckResponse { fix: what, error: String::new() }))
            }
            Ok(Finding::Problem { what, repaired: false }) => {
                Some(Ok(pb::FsckResponse { fix: String::new(), error: what }))
            }
            Ok(Finding::Summary(_)) => None,
            Err(status) => Some(Err(status)),
        })))
    }

    /// Counts the packs in the store.
    pub(super) async fn check_storage(
        &self,
        _: pb::CheckStorageRequest,
    ) -> Result<pb::CheckStorageResponse> {
        let packs = self.services.blobs.store().list_sorted("packs/").await;
        let packs = packs.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(pb::CheckStorageResponse { chunk_object_count: convert::count(packs.len() as u64) })
    }
}
