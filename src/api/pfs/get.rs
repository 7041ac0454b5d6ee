//! Getting files' bytes, one at a time or as a tar stream.

use async_stream::try_stream;
use bytes::Bytes;
use futures::TryStreamExt;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::Pfs;
use super::files::{no_file, within};
use crate::api::convert::{self, not_found};
use crate::api::proto::pfs_v2 as pb;
use crate::api::status::{Result, invalid, missing, refused};
use crate::api::tar;
use crate::catalog::CommitRow;
use crate::model::TreePath;
use crate::pipeline::glob::Glob;
use crate::repo::{FileInfo, FileStream};

/// What a request selects.
enum Selected {
    Path(TreePath),
    Pattern(Glob),
}

impl Pfs {
    pub(super) async fn get_file(&self, request: pb::GetFileRequest) -> Result<BoxStream<Bytes>> {
        to_client(&request)?;
        let (commit, selected) = self.selected(request.file.as_ref()).await?;
        let path = match selected {
            Selected::Path(path) => path,
            Selected::Pattern(pattern) => self.only_match(&commit, &pattern).await?,
        };
        let offset = u64::try_from(request.offset)
            .map_err(|_| invalid(format!("the offset {} is negative", request.offset)))?;
        let got = self.services.repos.get_file(&commit, &path, offset..u64::MAX).await;
        let (_, bytes) = got.map_err(|error| no_file(error, &commit, &path))?;
        Ok(Box::pin(bytes.map_err(refused)))
    }

    /// The one file a pattern selects.
    async fn only_match(&self, commit: &CommitRow, pattern: &Glob) -> Result<TreePath> {
        let found = self.services.repos.glob_files(commit, pattern, None).await;
        let mut found = found.map_err(refused)?;
        let first = found.try_next().await.map_err(refused)?;
        let second = found.try_next().await.map_err(refused)?;
        match (first, second) {
            (Some(only), None) => Ok(only.path),
            (None, _) => Err(not_found(format!("file {pattern} at commit {}", commit.commit))),
            (Some(_), Some(_)) => Err(Status::failed_precondition(format!(
                "{pattern} matches several files; get them recursively"
            ))),
        }
    }

    pub(super) async fn get_file_tar(
        &self,
        request: pb::GetFileRequest,
    ) -> Result<BoxStream<Bytes>> {
        to_client(&request)?;
        if request.offset != 0 {
            return Err(invalid("a tar stream has no offset"));
        }
        let (commit, selected) = self.selected(request.file.as_ref()).await?;
        let repos = self.services.repos.clone();
        let found: FileStream = match selected {
            Selected::Path(path) => {
                let found = repos.inspect_file(&commit, &path).await;
                let found = found.map_err(|error| no_file(error, &commit, &path))?;
                Box::pin(futures::stream::iter([Ok(found)]))
            }
            Selected::Pattern(pattern) => {
                repos.glob_files(&commit, &pattern, None).await.map_err(refused)?
            }
        };
        let mut found = within(found, request.path_range.as_ref());
        Ok(Box::pin(try_stream! {
            let mut last: Option<TreePath> = None;
            while let Some(matched) = found.try_next().await.map_err(refused)? {
                // A directory was sent with what is below it.
                if last.as_ref().is_some_and(|last| matched.path.starts_with(last)) {
                    continue;
                }
                let below = repos.walk_files(&commit, &matched.path, None).await;
                let mut below = below.map_err(refused)?;
                last = Some(matched.path);
                while let Some(file) = below.try_next().await.map_err(refused)? {
                    if file.path.is_root() {
                        continue;
                    }
                    yield tar::header(&archived(&file), &file.entry);
                    let Some(content) = file.content() else { continue };
                    let mut pieces = repos.stream_content(content, 0..u64::MAX);
                    while let Some(piece) = pieces.try_next().await.map_err(refused)? {
                        yield piece;
                    }
                    yield tar::padding(content.size());
                }
            }
            yield tar::trailer();
        }))
    }

    /// The commit and the files in it that a request is about.
    async fn selected(&self, file: Option<&pb::File>) -> Result<(CommitRow, Selected)> {
        let file = file.ok_or_else(|| missing("file"))?;
        let commit = self.readable(file.commit.as_ref()).await?;
        let text = if file.path.is_empty() { "/" } else { &file.path };
        if let Ok(path) = convert::path(text) {
            // A file may be called like a pattern.
            let there = self.services.repos.inspect_file(&commit, &path).await.is_ok();
            let literal = convert::parse::<Glob>(text).map_or(true, |g| g.literal().is_some());
            if there || literal {
                return Ok((commit, Selected::Path(path)));
            }
        }
        Ok((commit, Selected::Pattern(convert::parse(text)?)))
    }
}

/// What an entry is called in an archive.
fn archived(file: &FileInfo) -> String {
    match file.entry.is_dir() {
        true => format!("{}/", file.path.absolute()),
        false => file.path.absolute(),
    }
}

/// Refuses to send files elsewhere than to the caller.
fn to_client(request: &pb::GetFileRequest) -> Result<()> {
    match request.url.is_empty() {
        true => Ok(()),
        false => Err(Status::unimplemented("getting files to a URL is not implemented")),
    }
}
