//! The changes of a transaction as edits of its base tree, with all content
//! stored.

use async_stream::try_stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::TransactionView;
use super::changes::{Change, Held, What};
use super::stored::Stored;
use crate::chunk::PackWriter;
use crate::model::TreePath;
use crate::tree::{Edit, Entry, EntryKind, Tree};
use crate::vfs::VfsError;

/// How many entries of a moved directory are read at once.
const PAGE: usize = 512;

impl TransactionView {
    /// What has to be done to the base, in path order, nothing below a graft.
    ///
    /// Content goes to `writer` while the stream is read and is durable after
    /// the writer's flush, but for what is in `stored` already. Costs what was
    /// changed. Seal the transaction first: what changes meanwhile may or may
    /// not be included.
    pub(super) fn edits<'a>(
        &'a self,
        writer: &'a PackWriter,
        mut stored: Stored,
    ) -> BoxStream<'a, Result<(TreePath, Edit), VfsError>> {
        Box::pin(try_stream! {
            let base = self.base();
            let changes = self.changes()?;
            let mut plan = Plan { base: &base, changes: Vec::new() };
            plan.level(&changes).await?;
            for Change { path, hides, what } in plan.changes {
                let edit = self.edit(&base, what, hides, writer, &mut stored).await?;
                yield (path, edit);
            }
        })
    }

    async fn edit(
        &self,
        base: &Tree,
        what: What,
        hides: bool,
        writer: &PackWriter,
        stored: &mut Stored,
    ) -> Result<Edit, VfsError> {
        let (kind, mode, mtime) = match what {
            What::Gone => return Ok(Edit::Remove),
            What::Moved { from, .. } => {
                return Ok(Edit::Graft { source: *base.root(), path: from });
            }
            What::Attributes { mode, mtime } | What::Directory { mode, mtime } => {
                (EntryKind::Dir, mode, mtime)
            }
            What::Symlink { target, mtime } => {
                (EntryKind::Symlink(target.to_string()), 0o777, mtime)
            }
            What::File { mode, mtime, content } => {
                let content = match content {
                    Held::Stored(content) => content,
                    Held::Small(file) => stored.small(&file, writer).await?,
                    Held::Staged(file) => stored.staged(&file, base, writer).await?,
                };
                (EntryKind::File(content), mode, mtime)
            }
        };
        let entry = Entry { kind, mode, mtime };
        Ok(if hides { Edit::Replace(entry) } else { Edit::Put(entry) })
    }
}

/// Turns changes into ones that an editor takes: nothing below a moved
/// directory.
struct Plan<'a> {
    base: &'a Tree,
    changes: Vec<Change>,
}

impl Plan<'_> {
    /// Plans `changes`, none of which lies in a moved directory above them.
    fn level<'s>(&'s mut self, changes: &'s [Change]) -> BoxFuture<'s, Result<(), VfsError>> {
        Box::pin(async move {
            let mut rest = changes;
            while let Some((first, others)) = rest.split_first() {
                let What::Moved { from, changed, .. } = &first.what else {
                    self.changes.push(first.clone());
                    rest = others;
                    continue;
                };
                let inside = others.partition_point(|c| c.path.starts_with(&first.path));
                let (below, after) = others.split_at(inside);
                rest = after;
                match below.is_empty() && !changed {
                    true => self.changes.push(first.clone()),
                    false => self.unfold(first, from, below).await?,
                }
            }
            Ok(())
        })
    }

    /// Plans the directory that was moved from `from` as a new one, its
    /// entries moved one by one where `below` says nothing else.
    async fn unfold(
        &mut self,
        top: &Change,
        from: &TreePath,
        below: &[Change],
    ) -> Result<(), VfsError> {
        let (mode, mtime) = match &top.what {
            What::Moved { mode, mtime, .. } | What::Attributes { mode, mtime } => (*mode, *mtime),
            What::Gone | What::Directory { .. } | What::Symlink { .. } | What::File { .. } => {
                return Err(VfsError::Invalid("only directories unfold"));
            }
        };
        let what = What::Directory { mode, mtime };
        self.changes.push(Change { path: top.path.clone(), hides: top.hides, what });
        let (mut rest, mut after) = (below, None::<String>);
        loop {
            let page = self.base.list(from, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, entry) in page {
                let path = top.path.join(&name)?;
                // Names that the base does not have come in between.
                let before = rest.partition_point(|c| c.path < path);
                self.level(&rest[..before]).await?;
                let own = rest[before..].partition_point(|c| c.path.starts_with(&path));
                let (own, others) = rest[before..].split_at(own);
                rest = others;
                self.child(path, from.join(&name)?, entry, own).await?;
            }
        }
        self.level(rest).await
    }

    /// Plans what was `entry` at `from` and is now at `path`, where `own` are
    /// the changes there and below.
    async fn child(
        &mut self,
        path: TreePath,
        from: TreePath,
        entry: Entry,
        own: &[Change],
    ) -> Result<(), VfsError> {
        let Entry { kind, mode, mtime } = entry;
        let moved = || What::Moved { from: from.clone(), mode, mtime, changed: false };
        match own.split_first() {
            None => {
                let what = match kind {
                    EntryKind::Dir => moved(),
                    EntryKind::File(content) => {
                        What::File { mode, mtime, content: Held::Stored(content) }
                    }
                    EntryKind::Symlink(target) => What::Symlink { target: target.into(), mtime },
                };
                self.changes.push(Change { path, hides: false, what });
                Ok(())
            }
            Some((first, below)) if first.path == path => match &first.what {
                What::Attributes { .. } => Box::pin(self.unfold(first, &from, below)).await,
                What::Gone => self.level(below).await,
                What::Moved { .. }
                | What::Directory { .. }
                | What::Symlink { .. }
                | What::File { .. } => self.level(own).await,
            },
            Some(_) => {
                let top = Change { path, hides: false, what: moved() };
                Box::pin(self.unfold(&top, &from, own)).await
            }
        }
    }
}
