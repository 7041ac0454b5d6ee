//! Making changes visible, also when somebody else was faster.

use std::future::ready;
use std::pin::pin;

use async_stream::try_stream;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::change::{FileChanges, Target};
use super::{root_of, stored};
use crate::catalog::{CommitRow, StoredRoot};
use crate::chunk::{Content, FileWriter};
use crate::model::TreePath;
use crate::repo::{OneShot, RepoError, Result};
use crate::tree::{
    ApplyOptions, Change, Edit, Entry, EntryKind, Root, Tree, apply, diff, diff_stats,
};

/// How often changes are made anew upon what others did meanwhile.
const ATTEMPTS: u32 = 100;

fn alone() -> RepoError {
    RepoError::refused("these changes belong to no commit", "put them into a commit")
}

impl FileChanges {
    /// Makes all changes visible at once, and returns the commit they are in.
    ///
    /// When others changed the branch or commit meanwhile, these changes are
    /// made upon theirs: what both put is as here, what both appended to has
    /// both, and what others put into a directory that is deleted here stays.
    /// They are durable on return.
    pub async fn finish(mut self) -> Result<CommitRow> {
        self.close().await?;
        self.spill().await?;
        let mut root = self.root;
        for _ in 0..ATTEMPTS {
            self.writer.flush().await?;
            if let Some(row) = self.publish(&root).await? {
                return Ok(row);
            }
            root = self.follow().await?;
        }
        let what = "others kept changing the same branch".to_owned();
        Err(RepoError::Busy { attempts: ATTEMPTS, what })
    }

    /// The tree with all changes, durable on return; nothing is published.
    pub async fn into_root(mut self) -> Result<StoredRoot> {
        self.close().await?;
        self.spill().await?;
        self.writer.flush().await?;
        Ok(stored(&self.root))
    }

    /// Publishes a tree with the changes, unless others were faster.
    async fn publish(&self, root: &Root) -> Result<Option<CommitRow>> {
        let root = stored(root);
        match &self.target {
            Target::Once { branch, head, note } => {
                let spec = OneShot {
                    parent: *head,
                    root,
                    description: note.description.clone(),
                    author: note.author.clone(),
                };
                let branch = branch.clone();
                match self.repos.commit_once(&branch, &spec).await {
                    Ok(row) => return Ok(Some(row)),
                    Err(RepoError::HeadMoved { .. } | RepoError::NotFinished { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Target::Open { commit, expected } => {
                match self.repos.set_root(commit, expected, &root).await {
                    Ok(()) => return Ok(Some(self.repos.inspect_commit(commit).await?)),
                    Err(RepoError::RootMoved { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Target::Alone => return Err(alone()),
        }
        Ok(None)
    }

    /// Makes the changes anew upon what the target holds now.
    async fn follow(&mut self) -> Result<Root> {
        let repos = self.repos.clone();
        let row = match &self.target {
            Target::Once { branch, .. } => match repos.inspect_branch(branch).await?.head {
                Some(head) => Some(repos.inspect_commit(&branch.repo.commit(head)).await?),
                None => None,
            },
            Target::Open { commit, .. } => Some(repos.inspect_commit(commit).await?),
            Target::Alone => return Err(alone()),
        };
        let (encoded, theirs) = match &row {
            Some(row) => (row.root.encoded.clone(), root_of(&repos.tree_at(row).await?)?),
            None => (Bytes::new(), Root::empty()),
        };
        let root = self.rebase(theirs).await?;
        match (&mut self.target, row) {
            (Target::Once { head, .. }, None) => *head = None,
            (Target::Once { head, .. }, Some(row)) if !row.is_open() => *head = Some(row.commit.id),
            (target @ Target::Once { .. }, Some(row)) => {
                *target = Target::Open { commit: row.commit, expected: encoded };
            }
            (Target::Open { expected, .. }, _) => *expected = encoded,
            (Target::Alone, _) => {}
        }
        Ok(root)
    }

    async fn rebase(&mut self, theirs: Root) -> Result<Root> {
        let without = self.tree_without().await?;
        let nodes = self.repos.nodes.clone();
        let options = ApplyOptions { prune_parents: true };
        apply(&nodes, &self.writer, &theirs, self.edits(without, theirs), options).await
    }

    /// These changes as edits of `theirs`: what was removed, and all that was
    /// put, which a tree `without` any of it tells.
    fn edits(
        &self,
        without: Root,
        theirs: Root,
    ) -> impl Stream<Item = Result<(TreePath, Edit)>> + '_ {
        let all = TreePath::root();
        let changed = |from: &Root| diff(&self.repos.nodes, from, &self.root, &all);
        let (removed, put) = (changed(&self.base), changed(&without));
        let removed = removed.try_filter(|change| ready(change.new.is_none()));
        let put = put.try_filter(|change| ready(change.new.is_some()));
        try_stream! {
            let (mut removed, mut put) = (pin!(removed.peekable()), pin!(put.peekable()));
            // Below a directory that is gone, or became a file, nothing is left.
            let mut over: Option<TreePath> = None;
            loop {
                let puts = match (removed.as_mut().peek().await, put.as_mut().peek().await) {
                    (Some(Ok(gone)), Some(Ok(new))) => new.path < gone.path,
                    (None, _) | (_, Some(Err(_))) => true,
                    (Some(_), _) => false,
                };
                let change = match puts {
                    true => put.try_next().await?,
                    false => removed.try_next().await?,
                };
                let Some(change) = change else { break };
                if over.as_ref().is_some_and(|over| change.path.starts_with(over)) {
                    continue;
                }
                let path = change.path.clone();
                if let Some(edit) = self.edit(&theirs, change).await? {
                    let ends = match &edit {
                        Edit::Put(entry) | Edit::Replace(entry) => !entry.is_dir(),
                        Edit::Remove | Edit::Graft { .. } => true,
                    };
                    over = ends.then(|| path.clone()).or(over);
                    yield (path, edit);
                }
            }
        }
    }

    /// One change as an edit of `theirs`, if anything is left to do.
    async fn edit(&self, theirs: &Root, change: Change) -> Result<Option<Edit>> {
        let Change { path, old, new } = change;
        let there = Tree::new(&self.repos.nodes, *theirs).get(&path).await?;
        let Some(new) = new else {
            let was_dir = old.is_some_and(|old| old.is_dir());
            let same_kind = there.is_some_and(|there| there.is_dir() == was_dir);
            let goes = same_kind && !(was_dir && self.put_below(theirs, &path).await?);
            return Ok(goes.then_some(Edit::Remove));
        };
        let new = self.continue_theirs(&path, there.as_ref(), new).await?;
        let clash = there.is_some_and(|there| there.is_dir() != new.is_dir());
        Ok(Some(if clash { Edit::Replace(new) } else { Edit::Put(new) }))
    }

    /// Whether others put something below a directory.
    async fn put_below(&self, theirs: &Root, dir: &TreePath) -> Result<bool> {
        let mut changes = diff_stats(&self.repos.nodes, &self.base, theirs, dir);
        while let Some(change) = changes.try_next().await? {
            if change.path != *dir && change.new.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was appended here, behind what they have.
    async fn continue_theirs(
        &self,
        path: &TreePath,
        there: Option<&Entry>,
        ours: Entry,
    ) -> Result<Entry> {
        let (Some(before), Some(Entry { kind: EntryKind::File(theirs), .. })) =
            (self.continued.get(path), there)
        else {
            return Ok(ours);
        };
        let EntryKind::File(content) = &ours.kind else { return Ok(ours) };
        let mut file = FileWriter::append_to(&self.writer, theirs).await?;
        let mut added = content.stream(&self.repos.blobs, *before..u64::MAX);
        while let Some(bytes) = added.try_next().await? {
            file.write(bytes).await?;
        }
        let content: Content = file.finish().await?;
        Ok(Entry { kind: EntryKind::File(content), ..ours })
    }
}
