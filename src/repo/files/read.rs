//! Reading the files of a commit.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::root_of;
use crate::catalog::CommitRow;
use crate::chunk::Content;
use crate::model::{ContentHash, Timestamp, TreePath};
use crate::repo::nearest::nearest;
use crate::repo::{RepoError, Repos, Result};
use crate::tree::{Entry, EntryKind, Totals, Tree};

/// Files one after the other.
pub type FileStream = BoxStream<'static, Result<FileInfo>>;

/// How many names are looked at for the one somebody may have meant.
const NEIGHBOURS: usize = 1000;

/// A file or directory of a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInfo {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub entry: Entry,
    /// What is below a directory; of a file, the file itself.
    pub totals: Totals,
}

impl FileInfo {
    /// Bytes of the file, or of all files below the directory.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.entry.kind {
            EntryKind::Dir => self.totals.bytes,
            EntryKind::File(_) | EntryKind::Symlink(_) => self.entry.size(),
        }
    }

    /// The hash of a file's content; `None` for anything else.
    #[must_use]
    pub fn hash(&self) -> Option<ContentHash> {
        match &self.entry.kind {
            EntryKind::File(content) => Some(content.hash()),
            EntryKind::Dir | EntryKind::Symlink(_) => None,
        }
    }

    /// What a file holds; `None` for anything else.
    #[must_use]
    pub fn content(&self) -> Option<&Content> {
        match &self.entry.kind {
            EntryKind::File(content) => Some(content),
            EntryKind::Dir | EntryKind::Symlink(_) => None,
        }
    }
}

/// A path with its entry, and the sums below it.
pub(super) async fn info(tree: &Tree, path: TreePath, entry: Entry) -> Result<FileInfo> {
    let totals = match entry.kind {
        EntryKind::Dir => tree.totals(&path).await?.unwrap_or_default(),
        EntryKind::File(_) => Totals { files: 1, dirs: 0, bytes: entry.size() },
        EntryKind::Symlink(_) => Totals { files: 1, dirs: 0, bytes: 0 },
    };
    Ok(FileInfo { path, entry, totals })
}

impl Repos {
    /// The tree of a commit: for an open one, what has been written so far.
    pub fn tree(&self, commit: &CommitRow) -> Result<Tree> {
        Ok(Tree::new(&self.nodes, root_of(&commit.root)?))
    }

    /// One file or directory; the root is a directory.
    pub async fn inspect_file(&self, commit: &CommitRow, path: &TreePath) -> Result<FileInfo> {
        let tree = self.tree(commit)?;
        if path.is_root() {
            let made = commit.finished.unwrap_or(commit.started);
            return info(&tree, path.clone(), Entry::dir(made)).await;
        }
        match tree.get(path).await? {
            Some(entry) => info(&tree, path.clone(), entry).await,
            None => Err(no_file(&tree, commit, path).await?),
        }
    }

    /// What is directly in a directory, in name order: at most `limit`
    /// entries, those after the name `after` where one is given. A path that
    /// is a file lists as itself.
    pub async fn list_files(
        &self,
        commit: &CommitRow,
        path: &TreePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FileInfo>> {
        let found = self.inspect_file(commit, path).await?;
        if !found.entry.is_dir() {
            return Ok(if after.is_none() && limit > 0 { vec![found] } else { Vec::new() });
        }
        let tree = self.tree(commit)?;
        let mut files = Vec::new();
        for (name, entry) in tree.list(path, after, limit).await? {
            files.push(info(&tree, path.join(&name)?, entry).await?);
        }
        Ok(files)
    }

    /// The entry at `path` and every one below it, in path order, those after
    /// the path `after` where one is given. Memory is bounded.
    pub async fn walk_files(
        &self,
        commit: &CommitRow,
        path: &TreePath,
        after: Option<&TreePath>,
    ) -> Result<FileStream> {
        let first = self.inspect_file(commit, path).await?;
        let tree = self.tree(commit)?;
        let below = match first.entry.is_dir() {
            true => tree.walk(path, after),
            false => futures::stream::empty().boxed(),
        };
        let named = below.map_err(RepoError::from).and_then(move |(path, entry)| {
            let tree = tree.clone();
            async move { info(&tree, path, entry).await }
        });
        let first = after.is_none_or(|after| *after < first.path).then_some(Ok(first));
        Ok(futures::stream::iter(first).chain(named).boxed())
    }

    /// Bytes `range` of a file, in pieces; what lies beyond its end is left
    /// out. A symbolic link gives its target.
    pub async fn get_file(
        &self,
        commit: &CommitRow,
        path: &TreePath,
        range: Range<u64>,
    ) -> Result<(FileInfo, BoxStream<'static, Result<Bytes>>)> {
        let found = self.inspect_file(commit, path).await?;
        let content = match &found.entry.kind {
            EntryKind::File(content) => content.clone(),
            EntryKind::Symlink(target) => Content::Inline(Bytes::from(target.clone())),
            EntryKind::Dir => {
                let what = format!("{} is a directory", path.absolute());
                return Err(RepoError::refused(
                    what,
                    "get it recursively with -r and -o DIR, or name a file in it",
                ));
            }
        };
        Ok((found, self.stream_content(&content, range)))
    }

    /// Bytes `range` of some content, in pieces.
    #[must_use]
    pub fn stream_content(
        &self,
        content: &Content,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes>> {
        content.stream(&self.blobs, range).map_err(RepoError::from).boxed()
    }

    /// When a tree's root directory counts as modified.
    #[must_use]
    pub fn modified(commit: &CommitRow) -> Timestamp {
        commit.finished.unwrap_or(commit.started)
    }
}

/// The refusal for a path where nothing is, with the nearest name beside it.
pub(super) async fn no_file(tree: &Tree, commit: &CommitRow, path: &TreePath) -> Result<RepoError> {
    let parent = path.parent().unwrap_or_else(TreePath::root);
    let beside = tree.list(&parent, None, NEIGHBOURS).await.unwrap_or_default();
    let names = beside.iter().map(|(name, _)| name.as_str());
    let near = nearest(path.file_name(), names).and_then(|name| parent.join(&name).ok());
    let in_commit = |path: &TreePath| format!("{}:{}", commit.commit, path.absolute());
    Ok(RepoError::NotFound {
        kind: "file",
        name: in_commit(path),
        nearest: near.as_ref().map(TreePath::absolute),
    })
}
