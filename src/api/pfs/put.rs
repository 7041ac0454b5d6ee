//! Changing files by a stream of changes.

use bytes::Bytes;
use tonic::Streaming;

use super::Pfs;
use crate::api::convert::{self, CommitRef};
use crate::api::proto::pfs_v2::{self as pb, add_file, modify_file_request::Body};
use crate::api::status::{Result, invalid, missing, refused};
use crate::catalog::StoredRoot;
use crate::model::TreePath;
use crate::repo::{ChangeNote, Fetch, FileChanges, NewFile};
use crate::tree::{Entry, EntryKind};

/// The changes of one stream, with a deletion held back: when the same path is
/// added next, that is an overwrite, which stores only what is new.
struct Changes {
    changes: FileChanges,
    deleted: Option<TreePath>,
}

impl Pfs {
    /// Everything in the stream becomes visible at its end, or nothing: in the
    /// open commit named, or as a commit of its own on the branch named.
    pub(super) async fn modify_file(
        &self,
        mut requests: Streaming<pb::ModifyFileRequest>,
    ) -> Result<()> {
        let first = requests.message().await?.and_then(|request| request.body);
        let Some(Body::SetCommit(commit)) = first else {
            return Err(invalid("the first message must set the commit"));
        };
        let CommitRef { repo, reference } = convert::commit(Some(&commit))?;
        let begun = self.services.repos.change_files(&repo, &reference, ChangeNote::default());
        let mut changes = Changes { changes: begun.await.map_err(refused)?, deleted: None };
        while let Some(request) = requests.message().await? {
            self.change(&mut changes, request).await?;
        }
        changes.settle().await?;
        changes.changes.finish().await.map_err(refused)?;
        Ok(())
    }

    /// Everything in the stream, as a file set.
    pub(super) async fn create_file_set(
        &self,
        mut requests: Streaming<pb::ModifyFileRequest>,
    ) -> Result<pb::CreateFileSetResponse> {
        let repos = &self.services.repos;
        let begun = repos.change_tree(&StoredRoot::default()).map_err(refused)?;
        let mut changes = Changes { changes: begun, deleted: None };
        while let Some(request) = requests.message().await? {
            self.change(&mut changes, request).await?;
        }
        changes.settle().await?;
        let root = changes.changes.into_root().await.map_err(refused)?;
        let row = repos.create_file_set(root, None).await.map_err(refused)?;
        Ok(pb::CreateFileSetResponse { file_set_id: row.id.to_string() })
    }

    async fn change(&self, changes: &mut Changes, request: pb::ModifyFileRequest) -> Result<()> {
        match request.body.ok_or_else(|| missing("change"))? {
            Body::SetCommit(_) => Err(invalid("only the first message sets the commit")),
            Body::AddFile(add) => changes.add(add).await,
            Body::DeleteFile(delete) => changes.delete(convert::path(&delete.path)?).await,
            Body::CopyFile(copy) => self.copy(changes, copy).await,
        }
    }

    async fn copy(&self, changes: &mut Changes, copy: pb::CopyFile) -> Result<()> {
        let source = self.named(copy.src.as_ref()).await?;
        let to = convert::path(&copy.dst)?;
        changes.settle().await?;
        let copied = changes.changes.copy(&source.commit, &source.path, &to, copy.append).await;
        copied.map_err(refused)
    }
}

impl Changes {
    async fn add(&mut self, add: pb::AddFile) -> Result<()> {
        let path = convert::path(&add.path)?;
        match add.source.ok_or_else(|| missing("source of the file"))? {
            add_file::Source::Raw(bytes) => self.write(&path, bytes).await,
            add_file::Source::Url(source) => {
                self.settle().await?;
                let how = Fetch { recursive: source.recursive, append: true };
                self.changes.fetch(&source.url, &path, how).await.map_err(refused)
            }
        }
    }

    async fn write(&mut self, path: &TreePath, bytes: Bytes) -> Result<()> {
        if self.deleted.as_ref() == Some(path) && self.is_file(path).await? {
            self.deleted = None;
            self.changes.create(path, NewFile::default()).await.map_err(refused)?;
        }
        self.settle().await?;
        self.changes.write(path, bytes).await.map_err(refused)
    }

    async fn is_file(&mut self, path: &TreePath) -> Result<bool> {
        let entry = self.changes.entry(path).await.map_err(refused)?;
        Ok(matches!(entry, Some(Entry { kind: EntryKind::File(_), .. })))
    }

    async fn delete(&mut self, path: TreePath) -> Result<()> {
        self.settle().await?;
        self.deleted = Some(path);
        Ok(())
    }

    /// Carries out a deletion that was held back.
    async fn settle(&mut self) -> Result<()> {
        match self.deleted.take() {
            Some(path) => self.changes.delete(&path).await.map_err(refused),
            None => Ok(()),
        }
    }
}
