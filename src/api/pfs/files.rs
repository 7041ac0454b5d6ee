//! Reading files: inspect, list, walk, glob, compare, find.

use async_stream::try_stream;
use futures::{StreamExt, TryStreamExt};
use tonic::Status;
use tonic::codegen::BoxStream;

use super::Pfs;
use super::file_sets::file_set;
use crate::api::convert::{self, CommitRef, commit_message, count, time};
use crate::api::proto::pfs_v2 as pb;
use crate::api::status::{Result, missing, refused, tree};
use crate::catalog::{CommitRow, Origin};
use crate::model::{Ref, TreePath};
use crate::pipeline::glob::Glob;
use crate::repo::{DiffSide, FileInfo, FileStream, RepoError};

/// Entries of a directory read at once.
const PAGE: usize = 1000;

/// A file of a commit, as a request names one.
pub(super) struct Named {
    /// The commit, open or finished.
    pub commit: CommitRow,
    /// The path within it.
    pub path: TreePath,
}

impl Pfs {
    pub(super) async fn inspect_file(
        &self,
        request: pb::InspectFileRequest,
    ) -> Result<pb::FileInfo> {
        let Named { commit, path } = self.named(request.file.as_ref()).await?;
        let found = self.services.repos.inspect_file(&commit, &path).await;
        let found = found.map_err(|error| no_file(error, &commit, &path))?;
        Ok(file_info(&commit, &found))
    }

    pub(super) async fn list_file(
        &self,
        request: pb::ListFileRequest,
    ) -> Result<BoxStream<pb::FileInfo>> {
        let Named { commit, path } = self.named(request.file.as_ref()).await?;
        let mark = marker(request.pagination_marker.as_ref())?;
        let number = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let repos = self.services.repos.clone();
        // Fails here rather than in the stream where nothing is.
        repos.list_files(&commit, &path, None, 1).await.map_err(|e| no_file(e, &commit, &path))?;
        let from = commit.clone();
        let names = match request.reverse {
            true => None,
            false => mark.as_ref().map(|mark| mark.file_name().to_owned()),
        };
        let found: FileStream = Box::pin(try_stream! {
            let mut after = names;
            loop {
                let page = repos.list_files(&from, &path, after.as_deref(), PAGE).await?;
                let full = page.len() == PAGE;
                after = page.last().map(|last| last.path.file_name().to_owned());
                for found in page {
                    yield found;
                }
                if !full {
                    break;
                }
            }
        });
        if request.reverse {
            return backwards(&commit, found, mark, number).await;
        }
        Ok(infos(commit, found.take(number)))
    }

    pub(super) async fn walk_file(
        &self,
        request: pb::WalkFileRequest,
    ) -> Result<BoxStream<pb::FileInfo>> {
        let Named { commit, path } = self.named(request.file.as_ref()).await?;
        let mark = marker(request.pagination_marker.as_ref())?;
        let number = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let after = mark.as_ref().filter(|_| !request.reverse);
        let found = self.services.repos.walk_files(&commit, &path, after).await;
        let found = found.map_err(|error| no_file(error, &commit, &path))?;
        if request.reverse {
            return backwards(&commit, found, mark, number).await;
        }
        Ok(infos(commit, found.take(number)))
    }

    pub(super) async fn glob_file(
        &self,
        request: pb::GlobFileRequest,
    ) -> Result<BoxStream<pb::FileInfo>> {
        let commit = self.readable(request.commit.as_ref()).await?;
        let pattern: Glob = convert::parse(&request.pattern)?;
        let found = self.services.repos.glob_files(&commit, &pattern, None).await;
        let found = within(found.map_err(refused)?, request.path_range.as_ref());
        Ok(infos(commit, found))
    }

    pub(super) async fn diff_file(
        &self,
        request: pb::DiffFileRequest,
    ) -> Result<BoxStream<pb::DiffFileResponse>> {
        let repos = &self.services.repos;
        let new = self.named(request.new_file.as_ref()).await?;
        let named = request.old_file.as_ref().filter(|file| file.commit.is_some());
        let (old, path) = match named {
            Some(file) => {
                let old = self.named(Some(file)).await?;
                (Some(old.commit), old.path)
            }
            None => {
                let parent = new.commit.parent.map(|id| new.commit.commit.repo.commit(id));
                let old = match parent {
                    Some(parent) => Some(repos.inspect_commit(&parent).await.map_err(refused)?),
                    None => None,
                };
                (old, new.path.clone())
            }
        };
        let sides = [
            DiffSide { commit: old.clone(), path },
            DiffSide { commit: Some(new.commit.clone()), path: new.path },
        ];
        let changes = repos.diff_files(&sides[0], &sides[1], request.shallow).map_err(refused)?;
        Ok(Box::pin(changes.map_err(refused).map_ok(move |change| pb::DiffFileResponse {
            new_file: change.new.as_ref().map(|found| file_info(&new.commit, found)),
            old_file: old.as_ref().zip(change.old.as_ref()).map(|(old, f)| file_info(old, f)),
        })))
    }

    /// The commits, from a start backwards, in which something at a path or
    /// below it was changed.
    pub(super) async fn find_commits(
        &self,
        request: pb::FindCommitsRequest,
    ) -> Result<BoxStream<pb::FindCommitsResponse>> {
        use pb::find_commits_response::Result as Found;
        let start = self.readable(request.start.as_ref()).await?;
        let path = convert::path(&request.file_path)?;
        let (pfs, limit) = (self.clone(), request.limit);
        Ok(Box::pin(try_stream! {
            let (mut found, mut searched) = (0, 0);
            let mut row = start;
            let mut here = pfs.state_at(&row, &path).await?;
            loop {
                searched += 1;
                let parent = row.parent.map(|id| row.commit.repo.commit(id));
                let (older, there) = match parent {
                    Some(parent) => {
                        let older = pfs.services.repos.inspect_commit(&parent).await;
                        let older = older.map_err(refused)?;
                        let there = pfs.state_at(&older, &path).await?;
                        (Some(older), there)
                    }
                    None => (None, None),
                };
                let commit = commit_message(&row.commit, row.branch.as_ref());
                if here != there {
                    found += 1;
                    let result = Some(Found::FoundCommit(commit.clone()));
                    yield pb::FindCommitsResponse { result, commits_searched: searched };
                }
                let Some(older) = older.filter(|_| limit == 0 || found < limit) else {
                    let result = Some(Found::LastSearchedCommit(commit));
                    yield pb::FindCommitsResponse { result, commits_searched: searched };
                    break;
                };
                (row, here) = (older, there);
            }
        }))
    }

    /// Equal in two commits when nothing at or below the path differs.
    async fn state_at(
        &self,
        commit: &CommitRow,
        path: &TreePath,
    ) -> Result<Option<crate::model::NodeHash>> {
        let files = self.services.repos.tree(commit).map_err(refused)?;
        files.subtree_hash(path).await.map_err(|error| tree(&error))
    }

    /// The file a message names.
    pub(super) async fn named(&self, message: Option<&pb::File>) -> Result<Named> {
        let message = message.ok_or_else(|| missing("file"))?;
        let commit = self.readable(message.commit.as_ref()).await?;
        Ok(Named { commit, path: convert::path(&message.path)? })
    }

    /// The commit whose files a reader gets. An open commit shows what has
    /// been written so far; a branch whose head a pipeline is still writing,
    /// or has failed to write, shows the newest good one.
    ///
    /// The id of a file set without a repo reads like a commit.
    pub(super) async fn readable(&self, message: Option<&pb::Commit>) -> Result<CommitRow> {
        if let Some(id) = file_set(message)? {
            return self.services.repos.file_set_as_commit(id).await.map_err(refused);
        }
        let CommitRef { repo, reference } = convert::commit(message)?;
        let repos = &self.services.repos;
        let row = repos.resolve(&repo, &reference).await.map_err(refused)?;
        let derived_and_open = row.is_open() && row.origin == Origin::Auto;
        if !derived_and_open && row.error.is_none() {
            return Ok(row);
        }
        match reference.as_branch() {
            Some(_) => self.newest_good(&reference, row).await,
            None if derived_and_open => Err(refused(RepoError::NotFinished { commit: row.commit })),
            None => Ok(row),
        }
    }

    async fn newest_good(&self, reference: &Ref, head: CommitRow) -> Result<CommitRow> {
        let found = self.services.repos.resolve_finished(&head.commit.repo, reference).await;
        match (found, &head.error) {
            (Ok(row), _) => Ok(row),
            (Err(_), Some(_)) => Err(failed(&head)),
            (Err(error), None) => Err(refused(error)),
        }
    }
}

fn marker(file: Option<&pb::File>) -> Result<Option<TreePath>> {
    file.filter(|file| !file.path.is_empty()).map(|file| convert::path(&file.path)).transpose()
}

/// What comes before the mark, nearest first.
async fn backwards(
    commit: &CommitRow,
    found: FileStream,
    mark: Option<TreePath>,
    number: usize,
) -> Result<BoxStream<pb::FileInfo>> {
    let before = |found: &FileInfo| mark.as_ref().is_none_or(|mark| found.path < *mark);
    let mut all: Vec<_> = found.map_err(refused).try_collect().await?;
    all.retain(before);
    let last = all.into_iter().rev().take(number).map(Ok).collect::<Vec<_>>();
    Ok(infos(commit.clone(), futures::stream::iter(last)))
}

fn infos(
    commit: CommitRow,
    found: impl futures::Stream<Item = crate::repo::Result<FileInfo>> + Send + 'static,
) -> BoxStream<pb::FileInfo> {
    Box::pin(found.map_err(refused).map_ok(move |found| file_info(&commit, &found)))
}

/// Only the files from `lower` to before `upper`.
pub(super) fn within(found: FileStream, range: Option<&pb::PathRange>) -> FileStream {
    let Some(pb::PathRange { lower, upper }) = range.cloned() else { return found };
    Box::pin(found.try_filter(move |found| {
        std::future::ready(in_range(&found.path.absolute(), &lower, &upper))
    }))
}

/// Whether a path is from `lower` to before `upper`, in directory order.
pub(in crate::api) fn in_range(path: &str, lower: &str, upper: &str) -> bool {
    fn order(path: &str) -> impl Iterator<Item = u8> + '_ {
        path.bytes().map(|b| if b == b'/' { 0 } else { b })
    }
    order(lower).le(order(path)) && (upper.is_empty() || order(path).lt(order(upper)))
}

/// The refusal for a file that is not there, in the words clients know.
pub(super) fn no_file(error: RepoError, commit: &CommitRow, path: &TreePath) -> Status {
    let hint = error.hint();
    match error {
        RepoError::NotFound { kind: "file", .. } if commit.error.is_some() => failed(commit),
        RepoError::NotFound { kind: "file", .. } => crate::api::status::with_hint(
            tonic::Code::NotFound,
            format!(
                "file {path} not found in repo {}/{} at commit {}",
                commit.commit.repo.project, commit.commit.repo.name, commit.commit.id
            ),
            hint,
        ),
        error => refused(error),
    }
}

/// The refusal to read a commit that has no files because its job failed.
fn failed(commit: &CommitRow) -> Status {
    let error = commit.error.as_deref().unwrap_or_default();
    Status::failed_precondition(format!("commit {} finished with an error: {error}", commit.commit))
}

/// A file or directory; the path of a directory ends with a slash.
pub(super) fn file_info(commit: &CommitRow, found: &FileInfo) -> pb::FileInfo {
    let mut path = found.path.absolute();
    let kind = match found.entry.is_dir() {
        true => pb::FileType::Dir,
        false => pb::FileType::File,
    };
    if found.entry.is_dir() && !path.ends_with('/') {
        path.push('/');
    }
    pb::FileInfo {
        file: Some(pb::File {
            commit: Some(commit_message(&commit.commit, commit.branch.as_ref())),
            path,
            datum: String::new(),
        }),
        file_type: kind.into(),
        committed: commit.finished.map(time),
        size_bytes: count(found.size()),
        hash: found.hash().map(|hash| hash.as_bytes().to_vec()).unwrap_or_default(),
    }
}
