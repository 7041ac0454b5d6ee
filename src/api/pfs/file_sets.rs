//! File sets: trees outside of any commit.

use std::time::Duration;

use tonic::Status;

use super::Pfs;
use crate::api::convert::parse;
use crate::api::proto::pfs_v2 as pb;
use crate::api::status::{Result, invalid, refused};
use crate::model::FileSetId;
use crate::repo::{FileRange, FileSetLimits};

/// The repo that clients name file sets in.
const REPO: &str = "__filesets__";

impl Pfs {
    /// What a commit holds, as a file set.
    pub(super) async fn get_file_set(
        &self,
        request: pb::GetFileSetRequest,
    ) -> Result<pb::CreateFileSetResponse> {
        match request.r#type() {
            pb::get_file_set_request::FileSetType::Total => {}
            pb::get_file_set_request::FileSetType::Diff => {
                return Err(Status::unimplemented("GetFileSet of type DIFF is not implemented"));
            }
        }
        let commit = self.readable(request.commit.as_ref()).await?;
        let row = self.services.repos.create_file_set(commit.root, None).await.map_err(refused)?;
        Ok(pb::CreateFileSetResponse { file_set_id: row.id.to_string() })
    }

    pub(super) async fn add_file_set(&self, request: pb::AddFileSetRequest) -> Result<()> {
        let commit = self.resolve(request.commit.as_ref()).await?;
        let id = parse(&request.file_set_id)?;
        self.services.repos.add_file_set(&commit.commit, id).await.map_err(refused)
    }

    pub(super) async fn renew_file_set(&self, request: pb::RenewFileSetRequest) -> Result<()> {
        let id = parse(&request.file_set_id)?;
        let ttl = ttl(request.ttl_seconds)?;
        self.services.repos.renew_file_set(id, ttl).await.map_err(refused)
    }

    pub(super) async fn compose_file_set(
        &self,
        request: pb::ComposeFileSetRequest,
    ) -> Result<pb::CreateFileSetResponse> {
        let ids = request.file_set_ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>>>()?;
        let ttl = ttl(request.ttl_seconds)?;
        let row = self.services.repos.compose_file_sets(&ids, ttl).await.map_err(refused)?;
        Ok(pb::CreateFileSetResponse { file_set_id: row.id.to_string() })
    }

    pub(super) async fn shard_file_set(
        &self,
        request: pb::ShardFileSetRequest,
    ) -> Result<pb::ShardFileSetResponse> {
        let id = parse(&request.file_set_id)?;
        let limits = limits(request.num_files, request.size_bytes)?;
        let found = self.services.repos.shard_file_set(id, limits).await.map_err(refused)?;
        let message = |FileRange { lower, upper }| pb::PathRange { lower, upper };
        Ok(pb::ShardFileSetResponse { shards: found.into_iter().map(message).collect() })
    }
}

/// How long a file set is asked to live; 0 leaves that to us.
pub(in crate::api) fn ttl(seconds: i64) -> Result<Option<Duration>> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(invalid(format!("a file set cannot live for {seconds} seconds"))),
    }
}

/// How large shards may be; 0 is no limit.
pub(in crate::api) fn limits(files: i64, bytes: i64) -> Result<FileSetLimits> {
    let limit = |n: i64| match u64::try_from(n) {
        Ok(0) => Ok(None),
        Ok(n) => Ok(Some(n)),
        Err(_) => Err(invalid(format!("the limit {n} is negative"))),
    };
    Ok(FileSetLimits { files: limit(files)?, bytes: limit(bytes)? })
}

/// The file set that stands where a commit may be.
pub(super) fn file_set(message: Option<&pb::Commit>) -> Result<Option<FileSetId>> {
    let Some(commit) = message.filter(|commit| !commit.id.is_empty()) else { return Ok(None) };
    let of_branch = commit.branch.as_ref().and_then(|branch| branch.repo.as_ref());
    let named = commit.repo.as_ref().or(of_branch).map_or("", |repo| repo.name.as_str());
    match named {
        "" | REPO => parse(&commit.id).map(Some),
        _ => Ok(None),
    }
}
