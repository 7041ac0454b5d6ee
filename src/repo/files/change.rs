//! Changing files: any number of changes that become visible together.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::pending::{Known, Pending};
use super::read::no_file;
use super::root_of;
use crate::catalog::{CommitRow, StoredRoot};
use crate::chunk::{Content, FileWriter, PackWriter};
use crate::model::{Branch, Commit, CommitId, Ref, Repo, Timestamp, TreePath};
use crate::repo::{RepoError, Repos, Result};
use crate::tree::{ApplyOptions, Edit, Entry, EntryKind, Root, Tree, TreeError, apply};

/// Bytes of changes after which they move into a tree.
const PENDING_MAX: usize = 8 << 20;

/// What a commit made by changes says about itself.
#[derive(Debug, Clone, Default)]
pub struct ChangeNote {
    /// What it is about.
    pub description: String,
    /// Who makes it.
    pub author: String,
}

/// What a new file is besides its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewFile {
    /// Permission bits; `None` is 0644, or what the replaced file had.
    pub mode: Option<u32>,
    /// When it was modified; `None` is now.
    pub mtime: Option<Timestamp>,
}

/// Where changes go.
pub(super) enum Target {
    /// A commit of their own upon `head`.
    Once { branch: Branch, head: Option<CommitId>, note: ChangeNote },
    /// An open commit, whose row had this root.
    Open { commit: Commit, expected: Bytes },
    /// A tree of its own, which is never published.
    Alone,
}

/// Changes being collected; see [`Repos::change_files`].
///
/// They apply in the order they are made and become visible together, by
/// [`FileChanges::finish`]; dropped before, they never were. Memory does not
/// grow with their number or size. After an error the whole is of no use.
pub struct FileChanges {
    pub(super) repos: Repos,
    pub(super) target: Target,
    /// The tree the changes are made upon.
    pub(super) base: Root,
    /// That tree with the changes that have left `pending`.
    pub(super) root: Root,
    pub(super) writer: PackWriter,
    pending: Pending,
    pub(super) replaced: Replaced,
    open: Option<OpenFile>,
    /// How long files were that were continued: what came after is added again
    /// when somebody else continued them, too.
    pub(super) continued: BTreeMap<TreePath, u64>,
}

/// What was put, though it may be what was there: when others changed it
/// meanwhile, it is put all the same.
pub(super) struct Replaced {
    /// The tree the changes are made upon without what was replaced.
    without: Root,
    /// Replaced paths that `without` still has.
    paths: BTreeSet<TreePath>,
    /// Bytes of these paths.
    size: usize,
}

/// The file that bytes are being written to.
struct OpenFile {
    path: TreePath,
    writer: FileWriter,
    mode: u32,
    mtime: Timestamp,
}

impl Repos {
    /// Begins changes of files on a branch or in an open commit.
    ///
    /// On a branch they go into its open commit where there is one, else they
    /// become a commit of their own; the branch is created where there is
    /// none. A finished commit takes none.
    pub async fn change_files(
        &self,
        repo: &Repo,
        reference: &Ref,
        note: ChangeNote,
    ) -> Result<FileChanges> {
        self.repo_row(repo).await?;
        let (target, root) = match reference.as_branch() {
            Some(name) => self.change_branch(repo.branch(name.clone()), note).await?,
            None => self.change_commit(self.resolve(repo, reference).await?).await?,
        };
        Ok(FileChanges {
            writer: self.blobs.writer(),
            repos: self.clone(),
            target,
            base: root,
            root,
            pending: Pending::default(),
            replaced: Replaced::upon(root),
            open: None,
            continued: BTreeMap::new(),
        })
    }

    /// Begins changes of a tree that belongs to no commit;
    /// [`FileChanges::into_root`] ends them.
    pub fn change_tree(&self, tree: &StoredRoot) -> Result<FileChanges> {
        let root = root_of(tree)?;
        Ok(FileChanges {
            writer: self.blobs.writer(),
            repos: self.clone(),
            target: Target::Alone,
            base: root,
            root,
            pending: Pending::default(),
            replaced: Replaced::upon(root),
            open: None,
            continued: BTreeMap::new(),
        })
    }

    async fn change_branch(&self, branch: Branch, note: ChangeNote) -> Result<(Target, Root)> {
        let row = self.catalog.branch(&branch).await?;
        if self.is_output(&branch, row.as_ref()).await? {
            return Err(RepoError::OutputBranch { branch });
        }
        if row.is_none() {
            // A name that is no branch may be the beginning of a commit's id.
            match self.resolve(&branch.repo, &Ref::branch(branch.name.clone())).await {
                Ok(row) => return self.change_commit(row).await,
                Err(
                    RepoError::NotFound { .. }
                    | RepoError::NoHead { .. }
                    | RepoError::TooShort { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(head) = row.and_then(|row| row.head) else {
            return Ok((Target::Once { branch, head: None, note }, Root::empty()));
        };
        let head = self.inspect_commit(&branch.repo.commit(head)).await?;
        if head.is_open() {
            return self.change_commit(head).await;
        }
        let root = root_of(&self.tree_at(&head).await?)?;
        Ok((Target::Once { branch, head: Some(head.commit.id), note }, root))
    }

    async fn change_commit(&self, row: CommitRow) -> Result<(Target, Root)> {
        if !row.is_open() {
            return Err(RepoError::Finished { commit: row.commit });
        }
        if let Some(name) = &row.branch {
            let branch = row.commit.repo.branch(name.clone());
            let at = self.catalog.branch(&branch).await?;
            if self.is_output(&branch, at.as_ref()).await? {
                return Err(RepoError::OutputBranch { branch });
            }
        }
        let root = root_of(&row.root)?;
        Ok((Target::Open { commit: row.commit, expected: row.root.encoded }, root))
    }
}

impl FileChanges {
    /// Begins a file anew: what is written to `path` next are its first bytes.
    ///
    /// The file is there, empty, even if nothing is written.
    pub async fn create(&mut self, path: &TreePath, file: NewFile) -> Result<()> {
        let old = self.entry(path).await?;
        self.continued.remove(path);
        self.begin(path, old, file, false).await
    }

    /// Writes to the end of a file, which is created where there is none.
    ///
    /// Writes to one path in a row cost what they write; the first one after
    /// another file was written reads the file's last chunk.
    pub async fn write(&mut self, path: &TreePath, bytes: Bytes) -> Result<()> {
        if self.open.as_ref().is_none_or(|open| open.path != *path) {
            let (removed, old) = (self.is_removed(path).await?, self.entry(path).await?);
            if !removed && !self.continued.contains_key(path) {
                self.continued.insert(path.clone(), old.as_ref().map_or(0, Entry::size));
            }
            self.begin(path, old, NewFile::default(), true).await?;
        }
        match &mut self.open {
            Some(open) => Ok(open.writer.write(bytes).await?),
            None => Ok(()),
        }
    }

    async fn begin(
        &mut self,
        path: &TreePath,
        old: Option<Entry>,
        file: NewFile,
        keep: bool,
    ) -> Result<()> {
        let old_mode = old.as_ref().map(|old| old.mode);
        let content = match old.map(|old| old.kind) {
            Some(EntryKind::Dir) => {
                return Err(TreeError::IsADirectory { path: path.clone() }.into());
            }
            None if path.is_root() => {
                return Err(TreeError::IsADirectory { path: path.clone() }.into());
            }
            Some(EntryKind::File(content)) => content,
            Some(EntryKind::Symlink(_)) | None => Content::empty(),
        };
        let writer = match keep {
            true => FileWriter::append_to(&self.writer, &content).await?,
            false => FileWriter::new(&self.writer, content.chunks()),
        };
        self.open = Some(OpenFile {
            path: path.clone(),
            writer,
            mode: file.mode.or(old_mode).unwrap_or(0o644),
            mtime: file.mtime.unwrap_or_else(|| self.repos.clock.now()),
        });
        Ok(())
    }

    /// Puts a directory, a symbolic link, or a file whose content is stored
    /// already. A directory keeps what is below it.
    pub async fn put_entry(&mut self, path: &TreePath, entry: Entry) -> Result<()> {
        self.settle(path).await?;
        self.continued.remove(path);
        self.pending.put(path.clone(), entry);
        self.bound().await
    }

    /// Deletes a file, or a directory with everything below it, and the parent
    /// directories that become empty. Nothing happens where there is nothing.
    pub async fn delete(&mut self, path: &TreePath) -> Result<()> {
        self.settle(path).await?;
        self.forget_continued(path);
        self.pending.remove(path);
        self.bound().await
    }

    fn forget_continued(&mut self, path: &TreePath) {
        let below = self.continued.range(path..).take_while(|(at, _)| at.starts_with(path));
        for path in below.map(|(at, _)| at.clone()).collect::<Vec<_>>() {
            self.continued.remove(&path);
        }
    }

    /// Copies a file or directory of any commit to `to`, in place of what is
    /// there, or with `append` behind each file that is there. Moves no bytes,
    /// except of chunks that `append` cuts anew.
    pub async fn copy(
        &mut self,
        commit: &CommitRow,
        from: &TreePath,
        to: &TreePath,
        append: bool,
    ) -> Result<()> {
        let source = self.repos.tree(commit)?;
        self.settle(to).await?;
        let entry = match from.is_root() {
            true => Some(Entry::dir(Repos::modified(commit))),
            false => source.get(from).await?,
        };
        match entry {
            None => Err(no_file(&source, commit, from).await?),
            Some(entry) if !entry.is_dir() => self.copy_entry(to, entry, append).await,
            Some(_) if append => self.copy_below(&source, from, to).await,
            Some(_) => {
                self.forget_continued(to);
                self.pending.copy(to.clone(), *source.root(), from.clone());
                self.bound().await
            }
        }
    }

    async fn copy_below(&mut self, source: &Tree, from: &TreePath, to: &TreePath) -> Result<()> {
        let mut below = source.walk(from, None);
        while let Some((path, entry)) = below.try_next().await? {
            if let Some(rest) = path.strip_prefix(from) {
                self.copy_entry(&to.join_path(&rest)?, entry, true).await?;
            }
        }
        Ok(())
    }

    async fn copy_entry(&mut self, to: &TreePath, mut entry: Entry, append: bool) -> Result<()> {
        if append
            && let EntryKind::File(content) = &entry.kind
            && let Some(old) = self.entry(to).await?
        {
            let EntryKind::File(before) = &old.kind else {
                return Err(TreeError::IsADirectory { path: to.clone() }.into());
            };
            let joined = Content::concat(&self.writer, before, content).await?;
            self.continued.entry(to.clone()).or_insert(before.size());
            entry = Entry { kind: EntryKind::File(joined), mode: old.mode, mtime: entry.mtime };
            self.pending.put(to.clone(), entry);
            return self.bound().await;
        }
        self.put_entry(to, entry).await
    }

    /// What is at `path` with all changes so far; `None` for the root.
    pub async fn entry(&mut self, path: &TreePath) -> Result<Option<Entry>> {
        self.settle(path).await?;
        match self.pending.lookup(path) {
            Known::Entry(entry) => Ok(Some(entry)),
            Known::Removed => Ok(None),
            Known::Nothing => Ok(Tree::new(&self.repos.nodes, self.root).get(path).await?),
        }
    }

    async fn is_removed(&mut self, path: &TreePath) -> Result<bool> {
        self.settle(path).await?;
        Ok(matches!(self.pending.lookup(path), Known::Removed))
    }

    /// Ends the file being written, and makes copies that `path` lies in.
    async fn settle(&mut self, path: &TreePath) -> Result<()> {
        self.close().await?;
        match self.pending.is_copied(path) {
            true => self.spill().await,
            false => Ok(()),
        }
    }

    /// Ends the file being written.
    pub(super) async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let content = open.writer.finish().await?;
        let kind = EntryKind::File(content);
        self.pending.put(open.path, Entry { kind, mode: open.mode, mtime: open.mtime });
        self.bound().await
    }

    async fn bound(&mut self) -> Result<()> {
        match self.pending.size() > PENDING_MAX {
            true => self.spill().await,
            false => Ok(()),
        }
    }

    /// Moves the pending changes into the tree.
    pub(super) async fn spill(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.replaced.extend(self.pending.replaced());
        if self.replaced.size > PENDING_MAX {
            self.tree_without().await?;
        }
        let edits = futures::stream::iter(self.pending.take()).map(Ok::<_, TreeError>);
        let options = ApplyOptions { prune_parents: true };
        self.root = apply(&self.repos.nodes, &self.writer, &self.root, edits, options).await?;
        Ok(())
    }

    /// The tree the changes are made upon without all that they replaced.
    pub(super) async fn tree_without(&mut self) -> Result<Root> {
        let Replaced { without, paths, size } = &mut self.replaced;
        let paths =
            std::mem::take(paths).into_iter().map(|path| Ok::<_, TreeError>((path, Edit::Remove)));
        let options = ApplyOptions { prune_parents: false };
        let edits = futures::stream::iter(paths);
        *without = apply(&self.repos.nodes, &self.writer, without, edits, options).await?;
        *size = 0;
        Ok(*without)
    }
}

impl Replaced {
    /// Nothing yet.
    pub fn upon(base: Root) -> Self {
        Self { without: base, paths: BTreeSet::new(), size: 0 }
    }

    fn extend<'p>(&mut self, paths: impl Iterator<Item = &'p TreePath>) {
        // From nothing, nothing can be taken.
        for path in paths.filter(|_| !self.without.is_empty()) {
            if self.paths.insert(path.clone()) {
                self.size += path.as_str().len() + size_of::<TreePath>();
            }
        }
    }
}
