//! Messages of `pfs.v1` from and to what a mount works with.

use super::behind::{Stage, Unfinished};
use crate::api::proto::{pfs_v1 as v1, pfs_v2};
use crate::chunk::{ChunkRef, Content};
use crate::model::{
    Branch, CommitId, ProjectName, Repo, RepoKind, Timestamp, TransactionId, TreePath,
};
use crate::tree::{Edit, Entry, EntryKind, Root};
use crate::vfs::{Resolved, VfsError};

pub fn repo(repo: &Repo) -> v1::RepoName {
    v1::RepoName {
        project: repo.project.to_string(),
        repo: repo.name.to_string(),
        kind: repo.kind.as_str().to_owned(),
    }
}

fn user_repo(project: &str, name: &str) -> Option<Repo> {
    let project = match project {
        "" => ProjectName::default_project(),
        name => name.parse().ok()?,
    };
    Some(Repo { project, name: name.parse().ok()?, kind: RepoKind::User })
}

/// The repo named; `None` for what this version cannot name.
pub fn repo_of(message: Option<&v1::RepoName>) -> Option<Repo> {
    let message = message?;
    matches!(message.kind.as_str(), "" | "user").then_some(())?;
    user_repo(&message.project, &message.repo)
}

pub fn commit(bytes: &[u8]) -> Result<CommitId, VfsError> {
    let bytes = bytes.try_into().map_err(|_| VfsError::Damaged("a commit id is short".into()))?;
    Ok(CommitId::new(bytes))
}

/// The root a message carries; empty for none.
pub fn root(bytes: &[u8]) -> Result<Root, VfsError> {
    match bytes.is_empty() {
        true => Ok(Root::empty()),
        false => Ok(Root::decode(bytes)?),
    }
}

fn time(message: Option<&prost_types::Timestamp>) -> Timestamp {
    let parts = |time: &prost_types::Timestamp| {
        Timestamp::from_parts(time.seconds, u32::try_from(time.nanos).unwrap_or(0))
    };
    message.map(parts).unwrap_or_default()
}

fn stamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.to_parts();
    // Below 10^9, so the cast keeps the value.
    prost_types::Timestamp { seconds, nanos: nanos as i32 }
}

pub fn resolved(message: &v1::ResolvedCommit) -> Result<Resolved, VfsError> {
    Ok(Resolved {
        commit: commit(&message.commit)?,
        root: root(&message.root)?,
        finished: time(message.finished.as_ref()),
    })
}

/// What a transaction started from; `None` on a branch without commits.
pub fn base(message: &v1::TransactionInfo) -> Result<Option<Resolved>, VfsError> {
    if message.base.is_empty() {
        return Ok(None);
    }
    Ok(Some(Resolved {
        commit: commit(&message.base)?,
        root: root(&message.base_root)?,
        finished: time(message.opened.as_ref()),
    }))
}

/// A transaction that has not ended; `None` for one that has, or is of another
/// branch: servers of before answer with all.
pub fn unfinished(info: v1::TransactionInfo, branch: &Branch) -> Option<Unfinished> {
    let stage = match info.state() {
        v1::TransactionState::Open => Stage::Open,
        v1::TransactionState::Sealing => Stage::Sealing,
        v1::TransactionState::Sealed => Stage::Sealed,
        v1::TransactionState::Unknown
        | v1::TransactionState::Committed
        | v1::TransactionState::Conflict
        | v1::TransactionState::Aborted
        | v1::TransactionState::Orphaned => return None,
    };
    let ours =
        info.repo.as_ref() == Some(&repo(&branch.repo)) && info.branch == branch.name.as_str();
    let id = ours.then(|| <[u8; 16]>::try_from(info.id.as_slice()).ok()).flatten()?;
    Some(Unfinished { id: TransactionId::new(id), owner: info.owner, stage })
}

/// Edits on their way to the server.
pub struct Batch {
    message: v1::TransactionEdits,
    weight: usize,
}

impl Batch {
    pub fn new(id: TransactionId) -> Self {
        let id = id.as_bytes().to_vec();
        let message = v1::TransactionEdits { id, ..Default::default() };
        Self { message, weight: 0 }
    }

    /// About how many bytes are gathered.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// What was gathered; the transaction is named in the first one only.
    pub fn take(&mut self) -> v1::TransactionEdits {
        self.weight = 0;
        std::mem::take(&mut self.message)
    }

    /// The description of a commit, and the head that it may replace.
    pub fn message(&mut self, text: &str, replaces: Option<CommitId>) {
        text.clone_into(&mut self.message.message);
        self.message.replaces = replaces.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    }

    /// The last of what was gathered: nothing else is to be staged.
    pub fn complete(&mut self) -> v1::TransactionEdits {
        v1::TransactionEdits { complete: true, ..self.take() }
    }

    /// Makes what is staged what the transaction started from.
    pub fn reset(&mut self, empty: bool) {
        let edit = match empty {
            true => v1::entry_edit::Edit::Remove(true),
            false => v1::entry_edit::Edit::Graft(String::new()),
        };
        self.add(&TreePath::root(), edit);
    }

    pub fn push(&mut self, path: &TreePath, edit: Edit) {
        match edit {
            Edit::Remove => self.add(path, v1::entry_edit::Edit::Remove(true)),
            Edit::Graft { path: from, .. } => {
                self.add(path, v1::entry_edit::Edit::Graft(from.as_str().to_owned()));
            }
            Edit::Put(entry) => self.put(path, entry),
            Edit::Replace(entry) => {
                if entry.is_dir() {
                    // Putting a directory keeps what is below it.
                    self.add(path, v1::entry_edit::Edit::Remove(true));
                }
                self.put(path, entry);
            }
        }
    }

    fn put(&mut self, path: &TreePath, entry: Entry) {
        let Entry { kind, mode, mtime } = entry;
        let kind = match kind {
            EntryKind::Dir => v1::entry::Kind::Directory(true),
            EntryKind::Symlink(target) => v1::entry::Kind::Symlink(target),
            EntryKind::File(content) => v1::entry::Kind::File(self.content(content)),
        };
        let entry = v1::Entry { mode, mtime: Some(stamp(mtime)), kind: Some(kind) };
        self.add(path, v1::entry_edit::Edit::Put(entry));
    }

    fn content(&mut self, content: Content) -> v1::Content {
        self.weight += match &content {
            Content::Inline(inline) => inline.len(),
            Content::Chunks(chunks) => 72 * chunks.len(),
        };
        self::content(content)
    }

    fn add(&mut self, path: &TreePath, edit: v1::entry_edit::Edit) {
        self.weight += 64 + path.as_str().len();
        let path = path.as_str().to_owned();
        self.message.edits.push(v1::EntryEdit { path, edit: Some(edit) });
    }
}

/// What a file holds, as a message says it.
pub fn content(content: Content) -> v1::Content {
    match content {
        Content::Inline(inline) => v1::Content { inline, chunks: Vec::new() },
        Content::Chunks(chunks) => {
            v1::Content { chunks: chunks.iter().map(place).collect(), ..Default::default() }
        }
    }
}

fn place(chunk: &ChunkRef) -> v1::ChunkRef {
    v1::ChunkRef {
        id: chunk.id.as_bytes().to_vec(),
        pack: chunk.pack.as_bytes().to_vec(),
        offset: chunk.offset,
        stored: chunk.stored,
        len: chunk.len,
    }
}

/// A repo as the calls of Pachyderm name it.
pub fn named(repo: &Repo) -> pfs_v2::Repo {
    pfs_v2::Repo {
        name: repo.name.to_string(),
        r#type: repo.kind.as_str().to_owned(),
        project: Some(pfs_v2::Project { name: repo.project.to_string() }),
    }
}

/// Names a repo by its server and when it was made.
pub fn repo_place(server: &str, created: prost_types::Timestamp) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(server.as_bytes());
    hasher.update(&created.seconds.to_le_bytes()).update(&created.nanos.to_le_bytes());
    hasher.finalize().to_hex().to_string()
}
