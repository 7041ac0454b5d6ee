//! `storage.Fileset`: trees outside of any commit.

use async_stream::try_stream;
use bytes::Bytes;
use futures::TryStreamExt as _;
use regex::Regex;
use tonic::Streaming;
use tonic::codegen::BoxStream;

use super::convert::{parse, path};
use super::pfs::file_sets::{limits, ttl};
use super::pfs::files::in_range;
use super::proto::storage::create_fileset_request::Modification;
use super::proto::storage::file_filter::Filter;
use super::proto::storage::{self as pb, fileset_server::Fileset};
use super::service::{Services, service};
use super::status::{Result, invalid, missing, refused};
use crate::catalog::StoredRoot;
use crate::model::TreePath;
use crate::repo::{FileChanges, FileRange, RepoError};

/// The service.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) services: Services,
}

service! {
    impl Fileset as Storage;
    unary {
        renew_fileset: pb::RenewFilesetRequest => (),
        compose_fileset: pb::ComposeFilesetRequest => pb::ComposeFilesetResponse,
        shard_fileset: pb::ShardFilesetRequest => pb::ShardFilesetResponse,
    }
    streaming {
        read_fileset: pb::ReadFilesetRequest => pb::ReadFilesetResponse,
    }
    uploads {
        create_fileset: pb::CreateFilesetRequest => pb::CreateFilesetResponse,
    }
}

impl Storage {
    async fn create_fileset(
        &self,
        mut requests: Streaming<pb::CreateFilesetRequest>,
    ) -> Result<pb::CreateFilesetResponse> {
        let repos = &self.services.repos;
        let mut changes = repos.change_tree(&StoredRoot::default()).map_err(refused)?;
        while let Some(request) = requests.message().await? {
            match request.modification.ok_or_else(|| missing("modification"))? {
                Modification::AppendFile(file) => {
                    let bytes = file.data.unwrap_or_default();
                    let written = changes.write(&path(&file.path)?, bytes).await;
                    written.map_err(refused)?;
                }
                Modification::DeleteFile(file) => {
                    changes.delete(&path(&file.path)?).await.map_err(refused)?;
                }
                Modification::CopyFile(copy) => self.copy(&mut changes, &copy).await?,
            }
        }
        let root = changes.into_root().await.map_err(refused)?;
        let row = repos.create_file_set(root, None).await.map_err(refused)?;
        Ok(pb::CreateFilesetResponse { fileset_id: row.id.to_string() })
    }

    /// Copies what is there; nothing happens where there is nothing.
    async fn copy(&self, changes: &mut FileChanges, copy: &pb::CopyFile) -> Result<()> {
        let source = self.services.repos.file_set_as_commit(parse(&copy.fileset_id)?).await;
        let source = source.map_err(refused)?;
        let from = path(&copy.src)?;
        let to = if copy.dst.is_empty() { from.clone() } else { path(&copy.dst)? };
        match changes.copy(&source, &from, &to, false).await {
            Ok(()) | Err(RepoError::NotFound { kind: "file", .. }) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    async fn read_fileset(
        &self,
        request: pb::ReadFilesetRequest,
    ) -> Result<BoxStream<pb::ReadFilesetResponse>> {
        let repos = self.services.repos.clone();
        let id = parse(&request.fileset_id)?;
        let commit = repos.file_set_as_commit(id).await.map_err(refused)?;
        let filters = request.filters.iter().map(filter).collect::<Result<Vec<_>>>()?;
        let mut files =
            repos.walk_files(&commit, &TreePath::root(), None).await.map_err(refused)?;
        Ok(Box::pin(try_stream! {
            while let Some(file) = files.try_next().await.map_err(refused)? {
                let path = file.path.absolute();
                let Some(content) = file.content() else { continue };
                if !filters.iter().all(|passes| passes(&path)) {
                    continue;
                }
                if request.empty_files || content.size() == 0 {
                    yield pb::ReadFilesetResponse { path, data: Some(Bytes::new()) };
                    continue;
                }
                let mut pieces = repos.stream_content(content, 0..u64::MAX);
                while let Some(piece) = pieces.try_next().await.map_err(refused)? {
                    yield pb::ReadFilesetResponse { path: path.clone(), data: Some(piece) };
                }
            }
        }))
    }

    async fn renew_fileset(&self, request: pb::RenewFilesetRequest) -> Result<()> {
        let (id, ttl) = (parse(&request.fileset_id)?, ttl(request.ttl_seconds)?);
        self.services.repos.renew_file_set(id, ttl).await.map_err(refused)
    }

    async fn compose_fileset(
        &self,
        request: pb::ComposeFilesetRequest,
    ) -> Result<pb::ComposeFilesetResponse> {
        let ids = request.fileset_ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>>>()?;
        let ttl = ttl(request.ttl_seconds)?;
        let row = self.services.repos.compose_file_sets(&ids, ttl).await.map_err(refused)?;
        Ok(pb::ComposeFilesetResponse { fileset_id: row.id.to_string() })
    }

    async fn shard_fileset(
        &self,
        request: pb::ShardFilesetRequest,
    ) -> Result<pb::ShardFilesetResponse> {
        let id = parse(&request.fileset_id)?;
        let limits = limits(request.num_files, request.size_bytes)?;
        let found = self.services.repos.shard_file_set(id, limits).await.map_err(refused)?;
        let message = |FileRange { lower, upper }| pb::PathRange { lower, upper };
        Ok(pb::ShardFilesetResponse { shards: found.into_iter().map(message).collect() })
    }
}

/// Whether a path is wanted.
type Passes = Box<dyn Fn(&str) -> bool + Send + Sync>;

fn filter(message: &pb::FileFilter) -> Result<Passes> {
    match message.filter.as_ref().ok_or_else(|| missing("filter"))? {
        Filter::PathRange(pb::PathRange { lower, upper }) => {
            let (lower, upper) = (lower.clone(), upper.clone());
            Ok(Box::new(move |path| in_range(path, &lower, &upper)))
        }
        Filter::PathRegex(pattern) => {
            let regex = Regex::new(pattern).map_err(invalid)?;
            Ok(Box::new(move |path| regex.is_match(path)))
        }
    }
}
