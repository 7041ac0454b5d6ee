//! Making changes visible, also when somebody else was faster.

use async_stream::try_stream;
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};

use super::change::{FileChanges, Target};
use super::{root_of, stored};
use crate::catalog::CommitRow;
use crate::chunk::{Content, FileWriter};
use crate::model::TreePath;
use crate::repo::{OneShot, RepoError, Result};
use crate::tree::{ApplyOptions, Change, Edit, Entry, EntryKind, Root, Tree, apply, diff};

/// How often changes are made anew upon what others did meanwhile.
const ATTEMPTS: u32 = 100;

impl FileChanges {
    /// Makes all changes visible at once, and returns the commit they are in.
    ///
    /// When others changed the branch or commit meanwhile, these changes are
    /// made upon theirs: what both put is as here, what both appended to has
    /// both. They are durable on return.
    pub async fn finish(mut self) -> Result<CommitRow> {
        self.close().await?;
        self.spill().await?;
        for _ in 0..ATTEMPTS {
            self.writer.flush().await?;
            if let Some(row) = self.publish().await? {
                return Ok(row);
            }
        }
        let what = "others kept changing the same branch".to_owned();
        Err(RepoError::Busy { attempts: ATTEMPTS, what })
    }

    /// Publishes; or makes the changes anew upon what is there now, and
    /// returns nothing.
    async fn publish(&mut self) -> Result<Option<CommitRow>> {
        let root = stored(&self.root);
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
        }
        self.follow().await?;
        Ok(None)
    }

    /// Makes the changes anew upon what the target holds now.
    async fn follow(&mut self) -> Result<()> {
        let repos = self.repos.clone();
        let row = match &self.target {
            Target::Once { branch, .. } => match repos.inspect_branch(branch).await?.head {
                Some(head) => Some(repos.inspect_commit(&branch.repo.commit(head)).await?),
                None => None,
            },
            Target::Open { commit, .. } => Some(repos.inspect_commit(commit).await?),
        };
        let (encoded, theirs) = match &row {
            Some(row) => (row.root.encoded.clone(), root_of(&row.root)?),
            None => (Bytes::new(), Root::empty()),
        };
        self.rebase(theirs).await?;
        match (&mut self.target, row) {
            (Target::Once { head, .. }, None) => *head = None,
            (Target::Once { head, .. }, Some(row)) if !row.is_open() => *head = Some(row.commit.id),
            (target @ Target::Once { .. }, Some(row)) => {
                *target = Target::Open { commit: row.commit, expected: encoded };
            }
            (Target::Open { expected, .. }, _) => *expected = encoded,
        }
        Ok(())
    }

    async fn rebase(&mut self, theirs: Root) -> Result<()> {
        let nodes = self.repos.nodes.clone();
        let options = ApplyOptions { prune_parents: true };
        let root = apply(&nodes, &self.writer, &theirs, self.edits(theirs), options).await?;
        (self.base, self.root) = (theirs, root);
        // What was appended now begins where theirs ends.
        let tree = Tree::new(&nodes, theirs);
        for (path, before) in &mut self.continued {
            *before = tree.get(path).await?.as_ref().map_or(0, Entry::size);
        }
        Ok(())
    }

    /// These changes as edits of `theirs`.
    fn edits(&self, theirs: Root) -> impl Stream<Item = Result<(TreePath, Edit)>> + '_ {
        let tree = Tree::new(&self.repos.nodes, theirs);
        try_stream! {
            let mut ours =
                diff(&self.repos.nodes, &self.base, &self.root, &TreePath::root());
            // Below a file that took a directory's place nothing is left.
            let mut file: Option<TreePath> = None;
            while let Some(Change { path, new, .. }) = ours.try_next().await? {
                if file.as_ref().is_some_and(|file| path.starts_with(file)) {
                    continue;
                }
                let there = tree.get(&path).await?;
                let Some(new) = new else {
                    if there.is_some() {
                        yield (path, Edit::Remove);
                    }
                    continue;
                };
                let new = self.continue_theirs(&path, there.as_ref(), new).await?;
                file = (!new.is_dir()).then(|| path.clone());
                let clash = there.is_some_and(|there| there.is_dir() != new.is_dir());
                yield (path, if clash { Edit::Replace(new) } else { Edit::Put(new) });
            }
        }
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
