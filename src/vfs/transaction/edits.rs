//! The changes of a transaction as edits of its base tree, with all content
//! stored.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_stream::try_stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::changes::{Change, Held, SmallFile, StagedFile, What};
use super::holes::data_in;
use super::{TransactionView, data};
use crate::chunk::{Content, PackWriter};
use crate::model::TreePath;
use crate::tree::{Edit, Entry, EntryKind, Tree};
use crate::vfs::VfsError;

/// A shorter hole of a staged file is read as the zeros it stands for.
const HOLE: u64 = 8 << 20;

/// How many entries of a moved directory are read at once.
const PAGE: usize = 512;

impl TransactionView {
    /// What has to be done to the base, in path order, nothing below a graft.
    ///
    /// Content goes to `writer` while the stream is read and is durable after
    /// the writer's flush. Costs what was changed. Seal the transaction first:
    /// what changes meanwhile may or may not be included.
    pub fn edits<'a>(
        &'a self,
        writer: &'a PackWriter,
    ) -> BoxStream<'a, Result<(TreePath, Edit), VfsError>> {
        Box::pin(try_stream! {
            let base = self.base();
            let changes = self.changes()?;
            let mut stored = HashMap::new();
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
        stored: &mut HashMap<u64, Content>,
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
                    Held::Small(file) => store_small(&file, writer).await?,
                    Held::Staged(file) => self.store(&file, writer, stored).await?,
                };
                (EntryKind::File(content), mode, mtime)
            }
        };
        let entry = Entry { kind, mode, mtime };
        Ok(if hides { Edit::Replace(entry) } else { Edit::Put(entry) })
    }

    /// The content of a staged file, stored once for all its names. Of a file
    /// that was copied up in part, only what differs from the base is read.
    async fn store(
        &self,
        file: &StagedFile,
        writer: &PackWriter,
        stored: &mut HashMap<u64, Content>,
    ) -> Result<Content, VfsError> {
        if let Some(content) = stored.get(&file.number()) {
            return Ok(content.clone());
        }
        let under = file.0.under.read().await;
        let opened = file.0.open()?;
        // A file without base is one that changed throughout.
        let below = under.content.clone().unwrap_or_default();
        let changed = match &under.content {
            Some(_) => under.dirty(file.size()),
            None => std::iter::once(0..file.size()).filter(|all| !all.is_empty()).collect(),
        };
        let changed = without_holes(&opened, changed, below.size())?;
        // Owned: a future that borrows from a closure is not `Send` for the compiler.
        let source = (self.base(), opened, Arc::new(under.clone()));
        let read = move |range| {
            let (base, opened, under) = source.clone();
            async move { data::read_blocks(&base, &opened, &under, range).await }
        };
        let content = below.splice(writer, &changed, file.size(), read).await?;
        stored.insert(file.number(), content.clone());
        Ok(content)
    }
}

async fn store_small(file: &SmallFile, writer: &PackWriter) -> Result<Content, VfsError> {
    let (small, size) = (Arc::clone(&file.0), file.0.size());
    let read = move |range: Range<u64>| {
        let small = Arc::clone(&small);
        async move { Ok::<_, VfsError>(small.read(range.start, range.end - range.start)?) }
    };
    Content::default().splice(writer, std::slice::from_ref(&(0..size)), size, read).await
}

/// `changed` without the holes of `file` behind `covered`; what is before it
/// must be said to be zero.
fn without_holes(
    file: &File,
    changed: Vec<Range<u64>>,
    covered: u64,
) -> io::Result<Vec<Range<u64>>> {
    let mut kept = Vec::with_capacity(changed.len());
    for range in changed {
        let middle = covered.clamp(range.start, range.end);
        let behind = match range.end - middle < HOLE {
            true => Vec::from_iter(std::iter::once(middle..range.end)),
            false => data_in(file, middle..range.end, HOLE)?,
        };
        let parts = std::iter::once(range.start..middle).chain(behind);
        kept.extend(parts.filter(|part| !part.is_empty()));
    }
    Ok(kept)
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
