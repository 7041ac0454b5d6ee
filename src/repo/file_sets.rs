//! File sets: trees outside of any commit, kept for a while.

use std::time::Duration;

use futures::TryStreamExt as _;

use super::files::root_of;
use super::{ChangeNote, FileChanges, RepoError, Repos, Result};
use crate::catalog::{CatalogError, CommitRow, FileSetRow, Op, Origin, StoredRoot};
use crate::model::{
    Commit, CommitId, FileSetId, ProjectName, Ref, RefBase, Repo, Timestamp, TreePath,
};
use crate::tree::Tree;

/// How long a file set lives that asks for nothing.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// Paths from `lower` to before `upper`; an empty one is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRange {
    /// The first path.
    pub lower: String,
    /// The first path that is not in it.
    pub upper: String,
}

/// How large a shard may be before the next begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileSetLimits {
    /// Files in it.
    pub files: Option<u64>,
    /// Bytes in it.
    pub bytes: Option<u64>,
}

/// The repo that commits stand in that are file sets; there is no such repo.
#[must_use]
pub fn file_sets_repo() -> Option<Repo> {
    Some(Repo::user(ProjectName::default_project(), "__filesets__".parse().ok()?))
}

impl Repos {
    /// Keeps a durable tree as a file set, for `life`, or ten minutes.
    pub async fn create_file_set(
        &self,
        root: StoredRoot,
        life: Option<Duration>,
    ) -> Result<FileSetRow> {
        let now = self.clock.now();
        let id = self.clock.file_set_id();
        let row = FileSetRow { id, root, created: now, until: after(now, life) };
        // Those that nobody asked to live on go when others come.
        let ops = vec![Op::DropFileSets(now), Op::CreateFileSet(row.clone())];
        self.catalog.apply(ops).await?;
        Ok(row)
    }

    /// A file set that is still alive.
    pub async fn file_set(&self, id: FileSetId) -> Result<FileSetRow> {
        let row = self.catalog.file_set(id).await?;
        row.filter(|row| row.until >= self.clock.now()).ok_or_else(|| gone(id))
    }

    /// A file set, to be read like a finished commit.
    pub async fn file_set_as_commit(&self, id: FileSetId) -> Result<CommitRow> {
        let row = self.file_set(id).await?;
        let repo = file_sets_repo().ok_or_else(|| gone(id))?;
        Ok(CommitRow {
            commit: repo.commit(CommitId::new(*id.as_bytes())),
            seq: 0,
            number: 0,
            branch: None,
            parent: None,
            origin: Origin::User,
            description: String::new(),
            author: String::new(),
            started: row.created,
            finished: Some(row.created),
            error: None,
            root: row.root,
            provenance: Vec::new(),
        })
    }

    /// Lets a file set live for `life` from now on.
    pub async fn renew_file_set(&self, id: FileSetId, life: Option<Duration>) -> Result<()> {
        self.file_set(id).await?;
        let until = after(self.clock.now(), life);
        match self.catalog.apply(vec![Op::RenewFileSet { id, until }]).await {
            Err(CatalogError::Conflict { .. }) => Err(gone(id)),
            done => Ok(done?),
        }
    }

    /// One file set of several: files of the later ones in place of those of
    /// the earlier ones.
    pub async fn compose_file_sets(
        &self,
        ids: &[FileSetId],
        life: Option<Duration>,
    ) -> Result<FileSetRow> {
        let [first, rest @ ..] = ids else {
            return self.create_file_set(StoredRoot::default(), life).await;
        };
        let mut changes = self.change_tree(&self.file_set(*first).await?.root)?;
        for id in rest {
            self.lay(&mut changes, *id).await?;
        }
        self.create_file_set(changes.into_root().await?, life).await
    }

    /// Puts the files of a file set into an open commit, in place of those
    /// that are there.
    pub async fn add_file_set(&self, commit: &Commit, id: FileSetId) -> Result<()> {
        let reference = Ref { base: RefBase::Commit(commit.id), moves: Vec::new() };
        let mut changes =
            self.change_files(&commit.repo, &reference, ChangeNote::default()).await?;
        self.lay(&mut changes, id).await?;
        changes.finish().await?;
        Ok(())
    }

    async fn lay(&self, changes: &mut FileChanges, id: FileSetId) -> Result<()> {
        let tree = self.file_set_tree(id).await?;
        let mut entries = tree.walk(&TreePath::root(), None);
        while let Some((path, entry)) = entries.try_next().await? {
            let there = changes.entry(&path).await?;
            if there.is_some_and(|there| there.is_dir() != entry.is_dir()) {
                changes.delete(&path).await?;
            }
            changes.put_entry(&path, entry).await?;
        }
        Ok(())
    }

    async fn file_set_tree(&self, id: FileSetId) -> Result<Tree> {
        Ok(Tree::new(&self.nodes, root_of(&self.file_set(id).await?.root)?))
    }

    /// Divides a file set into ranges of paths that together are all of it,
    /// each no larger than `limits` unless it is one file.
    pub async fn shard_file_set(
        &self,
        id: FileSetId,
        limits: FileSetLimits,
    ) -> Result<Vec<FileRange>> {
        let tree = self.file_set_tree(id).await?;
        let mut shards = Vec::new();
        let (mut lower, mut files, mut bytes) = (String::new(), 0_u64, 0_u64);
        let mut entries = tree.walk(&TreePath::root(), None);
        while let Some((path, entry)) = entries.try_next().await? {
            if entry.is_dir() {
                continue;
            }
            let full = limits.files.is_some_and(|most| files >= most)
                || limits.bytes.is_some_and(|most| files > 0 && bytes + entry.size() > most);
            if full {
                let upper = path.absolute();
                shards.push(FileRange { lower, upper: upper.clone() });
                (lower, files, bytes) = (upper, 0, 0);
            }
            files += 1;
            bytes += entry.size();
        }
        shards.push(FileRange { lower, upper: String::new() });
        Ok(shards)
    }
}

fn gone(id: FileSetId) -> RepoError {
    RepoError::NotFound { kind: "file set", name: id.to_string(), nearest: None }
}

fn after(now: Timestamp, life: Option<Duration>) -> Timestamp {
    let nanos = i64::try_from(life.unwrap_or(LIFE).as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_add(nanos))
}
