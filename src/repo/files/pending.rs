//! Changes not yet in a tree.

use std::collections::BTreeMap;

use crate::model::TreePath;
use crate::tree::{Edit, Entry, EntryKind, Root};

/// What a pending change takes in memory beyond what it holds, roughly.
const OVERHEAD: usize = 256;

/// Changes by path, the latest of each: what a tree is edited with.
#[derive(Default)]
pub(super) struct Pending {
    changes: BTreeMap<TreePath, Change>,
    size: usize,
    grafts: usize,
}

/// What happens at one path.
#[derive(Default)]
struct Change {
    /// Whether whatever was there goes first, and all below it.
    removed: bool,
    put: Option<Put>,
}

enum Put {
    Entry(Entry),
    /// A copy of a directory of another tree.
    Copy(Root, TreePath),
}

/// What is known of a path without looking into the tree.
pub(super) enum Known {
    /// This is there.
    Entry(Entry),
    /// Nothing is there: it was removed.
    Removed,
    /// Whatever the tree says.
    Nothing,
}

impl Change {
    fn size(&self) -> usize {
        let content = match &self.put {
            Some(Put::Entry(entry)) => match &entry.kind {
                EntryKind::File(content) => match content.chunks().len() {
                    0 => content.size() as usize,
                    count => count * size_of::<crate::chunk::ChunkRef>(),
                },
                EntryKind::Symlink(target) => target.len(),
                EntryKind::Dir => 0,
            },
            Some(Put::Copy(..)) | None => 0,
        };
        OVERHEAD + content
    }

    fn is_copy(&self) -> bool {
        matches!(self.put, Some(Put::Copy(..)))
    }
}

impl Pending {
    /// Bytes the changes take, roughly.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether `path` lies at or below a directory that is to be copied: then
    /// nothing is known of it before the copy is made.
    pub fn is_copied(&self, path: &TreePath) -> bool {
        self.grafts > 0
            && (self.changes.get(path).is_some_and(Change::is_copy)
                || path.ancestors().any(|dir| self.changes.get(&dir).is_some_and(Change::is_copy)))
    }

    /// What the changes say about `path`, which is not copied.
    pub fn lookup(&self, path: &TreePath) -> Known {
        if let Some(change) = self.changes.get(path) {
            match &change.put {
                Some(Put::Entry(entry)) => return Known::Entry(entry.clone()),
                Some(Put::Copy(..)) => return Known::Nothing,
                None => {}
            }
            if change.removed {
                return Known::Removed;
            }
        }
        match path.ancestors().any(|dir| self.changes.get(&dir).is_some_and(|c| c.removed)) {
            true => Known::Removed,
            false => Known::Nothing,
        }
    }

    /// Puts an entry; what is below a directory stays.
    pub fn put(&mut self, path: TreePath, entry: Entry) {
        // A change that was not there before counts for nothing so far.
        let before = self.changes.get(&path).map_or(0, Change::size);
        let change = self.changes.entry(path).or_default();
        change.put = Some(Put::Entry(entry));
        self.size = self.size.saturating_sub(before) + change.size();
    }

    /// Puts a copy in place of whatever is at `path` and below it.
    pub fn copy(&mut self, path: TreePath, from: Root, source: TreePath) {
        self.remove(&path);
        let change = self.changes.entry(path).or_default();
        change.put = Some(Put::Copy(from, source));
        self.grafts += 1;
    }

    /// Removes `path` and everything below it.
    pub fn remove(&mut self, path: &TreePath) {
        let below = self.changes.range(path..).take_while(|(at, _)| at.starts_with(path));
        let gone: Vec<TreePath> = below.map(|(at, _)| at.clone()).collect();
        for path in gone {
            if let Some(change) = self.changes.remove(&path) {
                self.size = self.size.saturating_sub(change.size());
                self.grafts -= usize::from(change.is_copy());
            }
        }
        let change = Change { removed: true, put: None };
        self.size += change.size();
        self.changes.insert(path.clone(), change);
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The paths at which something is put whatever was there: files, links,
    /// and whole directories that were removed first.
    pub fn replaced(&self) -> impl Iterator<Item = &TreePath> {
        let replaced = |change: &Change| {
            change.removed || !matches!(&change.put, Some(Put::Entry(entry)) if entry.is_dir())
        };
        self.changes.iter().filter(move |(_, change)| replaced(change)).map(|(path, _)| path)
    }

    /// The changes as edits in path order; none are left.
    pub fn take(&mut self) -> Vec<(TreePath, Edit)> {
        let mut edits = Vec::with_capacity(self.changes.len());
        for (path, change) in std::mem::take(self).changes {
            let edit = match change.put {
                Some(Put::Entry(entry)) => Some(Edit::Put(entry)),
                Some(Put::Copy(source, from)) => Some(Edit::Graft { source, path: from }),
                None => None,
            };
            if change.removed {
                edits.push((path.clone(), Edit::Remove));
            }
            edits.extend(edit.map(|edit| (path, edit)));
        }
        edits
    }
}
