//! Joining two changes of one tree, path by path.

use async_stream::try_stream;
use futures::Stream;

use super::apply::{ApplyOptions, apply};
use super::diff::{Difference, Differences};
use super::key::Key;
use super::node::Record;
use super::nodes::{Nodes, record_of};
use super::read::resolve;
use super::{Edit, Root, TreeError};
use crate::chunk::PackWriter;
use crate::model::TreePath;

/// The most conflicts a [`Merge`] names.
const CONFLICTS_MAX: usize = 1000;

/// What came of a [`merge`].
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// Both changes in one tree.
    Merged(Root),
    /// The paths that both changed in ways that exclude each other: never
    /// none, at most 1000. Nothing was written.
    Conflicts(Vec<Conflict>),
}

/// One path that cannot hold what both sides want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the other side changed.
    pub path: TreePath,
    /// What stands against it: the same path, or a file that one side has
    /// where the other has a directory.
    pub against: TreePath,
}

/// `ours` with all that changed from `base` to `theirs`.
///
/// Changes to different paths join, equal changes are one. A directory that
/// one side removes stays when the other put something into it. Entries that
/// differ only in time are the same, and `ours` wins. The cost follows both
/// changes.
pub async fn merge(
    nodes: &Nodes,
    writer: &PackWriter,
    base: &Root,
    ours: &Root,
    theirs: &Root,
) -> Result<Merge, TreeError> {
    if base.hash() == theirs.hash() || ours.hash() == theirs.hash() {
        return Ok(Merge::Merged(*ours));
    }
    if base.hash() == ours.hash() {
        return Ok(Merge::Merged(*theirs));
    }
    let sides = Sides { nodes: nodes.clone(), base: *base, ours: *ours, theirs: *theirs };
    let conflicts = sides.conflicts().await?;
    if !conflicts.is_empty() {
        return Ok(Merge::Conflicts(conflicts));
    }
    let merged = apply(nodes, writer, ours, sides.edits(), ApplyOptions::default()).await?;
    Ok(Merge::Merged(merged))
}

#[derive(Clone)]
struct Sides {
    nodes: Nodes,
    base: Root,
    ours: Root,
    theirs: Root,
}

/// Whether a side has a file or link where a directory may be wanted.
fn is_file(record: Option<&Record>) -> bool {
    record.is_some_and(|record| !record.is_dir())
}

impl Sides {
    fn changes(&self, to: &Root, below: &TreePath) -> Differences {
        Differences::new(&self.nodes, &self.base, to, below)
    }

    /// Where theirs cannot be joined to ours.
    async fn conflicts(&self) -> Result<Vec<Conflict>, TreeError> {
        let mut found = Vec::new();
        let mut theirs = self.changes(&self.theirs, &TreePath::root());
        while let Some(change) = theirs.next().await? {
            if found.len() == CONFLICTS_MAX {
                break;
            }
            let path = change.key.to_path()?;
            if let Some(against) = self.conflict(&path, &change).await? {
                found.push(Conflict { path, against });
            }
        }
        Ok(found)
    }

    /// What in ours stands against one change of theirs.
    async fn conflict(
        &self,
        path: &TreePath,
        change: &Difference,
    ) -> Result<Option<TreePath>, TreeError> {
        let ours = self.find(&self.ours, path).await?;
        if !same(ours.as_ref(), change.old.as_ref()) && !same(ours.as_ref(), change.new.as_ref()) {
            return Ok(Some(path.clone()));
        }
        if is_file(change.new.as_ref()) && change.old.as_ref().is_some_and(Record::is_dir) {
            return self.put_below(path).await;
        }
        match change.new {
            Some(_) => self.file_above(path).await,
            None => Ok(None),
        }
    }

    /// Something ours put below `path` that the base does not have.
    async fn put_below(&self, path: &TreePath) -> Result<Option<TreePath>, TreeError> {
        let mut ours = self.changes(&self.ours, path);
        while let Some(change) = ours.next().await? {
            if change.new.is_some() && change.key != Key::of(path) {
                return Ok(Some(change.key.to_path()?));
            }
        }
        Ok(None)
    }

    /// A file of ours that stands where `path` needs a directory.
    async fn file_above(&self, path: &TreePath) -> Result<Option<TreePath>, TreeError> {
        for dir in path.ancestors().skip(1) {
            let ours = self.find(&self.ours, &dir).await?;
            if !is_file(ours.as_ref()) {
                continue;
            }
            // A file that the base has too is theirs to replace.
            if !same(ours.as_ref(), self.find(&self.base, &dir).await?.as_ref()) {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    async fn find(&self, root: &Root, path: &TreePath) -> Result<Option<Record>, TreeError> {
        let item = self.nodes.find(root, &Key::of(path)).await?;
        Ok(item.map(|item| record_of(&item.value).clone()))
    }

    /// Their changes as edits of ours.
    fn edits(&self) -> impl Stream<Item = Result<(TreePath, Edit), TreeError>> + use<> {
        let sides = self.clone();
        try_stream! {
            let mut theirs = sides.changes(&sides.theirs, &TreePath::root());
            while let Some(change) = theirs.next().await? {
                let path = change.key.to_path()?;
                if let Some(edit) = sides.edit(&path, change).await? {
                    yield (path, edit);
                }
            }
        }
    }

    async fn edit(&self, path: &TreePath, change: Difference) -> Result<Option<Edit>, TreeError> {
        match change.new {
            Some(new) => {
                let entry = resolve(&self.nodes, &new).await?;
                // What ours has put into a directory that both have made stays.
                let ours = self.find(&self.ours, path).await?;
                Ok(Some(match ours.is_some_and(|ours| ours.is_dir() != new.is_dir()) {
                    true => Edit::Replace(entry),
                    false => Edit::Put(entry),
                }))
            }
            None if change.old.is_some_and(|old| old.is_dir()) => {
                Ok(self.put_below(path).await?.is_none().then_some(Edit::Remove))
            }
            None => Ok(Some(Edit::Remove)),
        }
    }
}

/// Whether two records, if any, say the same.
fn same(a: Option<&Record>, b: Option<&Record>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same_content(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
