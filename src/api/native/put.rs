//! Puts that keep modes and times.

use tonic::Streaming;

use super::transactions::{Stored, content};
use super::{Native, id_bytes, repo};
use crate::api::convert::{parse, timestamp};
use crate::api::proto::pfs_v1::{self as pb, put_file::Source, put_files_request::Body};
use crate::api::status::{Result, invalid, missing, refused};
use crate::model::{BranchName, Ref, TreePath};
use crate::repo::{ChangeNote, Fetch, FileChanges, NewFile};
use crate::tree::{Entry, EntryKind, MODE_MASK};

/// What a stream has put so far.
struct Put {
    changes: FileChanges,
    stored: Stored,
    /// The file whose next piece must follow.
    unfinished: Option<TreePath>,
    now: crate::model::Timestamp,
    files: u64,
    bytes: u64,
}

impl Native {
    pub(super) async fn put_files(
        &self,
        mut requests: Streaming<pb::PutFilesRequest>,
    ) -> Result<pb::PutFilesResponse> {
        let first = requests.message().await?.and_then(|request| request.body);
        let Some(Body::Target(target)) = first else {
            return Err(invalid("the first message must name the target"));
        };
        let reference = match target.r#ref.as_str() {
            "" => Ref::branch(BranchName::master()),
            text => parse(text)?,
        };
        let repos = &self.services.repos;
        let note = ChangeNote { description: target.description, author: String::new() };
        let begun = repos.change_files(&repo(target.repo.as_ref())?, &reference, note).await;
        let mut put = Put {
            changes: begun.map_err(refused)?,
            stored: Stored::new(&self.services),
            unfinished: None,
            now: repos.clock().now(),
            files: 0,
            bytes: 0,
        };
        while let Some(request) = requests.message().await? {
            let Some(Body::Files(batch)) = request.body else {
                return Err(invalid("the target is named twice"));
            };
            for file in batch.files {
                put.file(file).await?;
            }
        }
        if let Some(path) = put.unfinished {
            return Err(invalid(format!("the end of {path} is missing")));
        }
        let commit = put.changes.finish().await.map_err(refused)?.commit.id;
        Ok(pb::PutFilesResponse { commit: id_bytes(commit), files: put.files, bytes: put.bytes })
    }
}

impl Put {
    async fn file(&mut self, file: pb::PutFile) -> Result<()> {
        let path: TreePath = parse(&file.path)?;
        let continues = self.unfinished.take();
        if continues.as_ref().is_some_and(|unfinished| *unfinished != path) {
            return Err(invalid(format!("{path} comes before the end of another file")));
        }
        self.unfinished = file.more.then(|| path.clone());
        if continues.is_none() {
            self.files += 1;
        }
        let mtime = file.mtime.as_ref().map_or(self.now, timestamp);
        let new = NewFile { mode: (file.mode != 0).then_some(file.mode), mtime: Some(mtime) };
        let changes = &mut self.changes;
        match file.source.ok_or_else(|| missing("source of the file"))? {
            Source::Data(data) => {
                self.bytes += data.len() as u64;
                if continues.is_none() && !file.append {
                    changes.create(&path, new).await.map_err(refused)?;
                }
                changes.write(&path, data).await
            }
            Source::Symlink(target) => {
                changes.put_entry(&path, Entry::symlink(target, mtime)).await
            }
            Source::Url(url) => {
                let how = Fetch { recursive: file.recursive, append: file.append };
                changes.fetch(&url, &path, how).await
            }
            Source::Remove(_) => changes.delete(&path).await,
            Source::Content(_) if file.append || file.more || continues.is_some() => {
                return Err(invalid(format!("{path}: content in packs is a whole file")));
            }
            Source::Content(message) => {
                let content = content(message)?;
                self.stored.expect(&content).await?;
                self.bytes += content.size();
                let mode = if file.mode == 0 { 0o644 } else { file.mode & MODE_MASK };
                let entry = Entry { kind: EntryKind::File(content), mode, mtime };
                changes.put_entry(&path, entry).await
            }
        }
        .map_err(refused)
    }
}
