//! What a transaction changed, for whoever commits it.

use std::sync::Arc;

use super::TransactionView;
use super::node::{Body, Data, Dir, Node, NodeId, Override};
use super::small::Small;
use super::staged::Staged;
use super::state::State;
use crate::chunk::Content;
use crate::model::{Timestamp, TreePath};
use crate::vfs::VfsError;

/// One change relative to the base, at one path.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// Whether the base has an entry there, which what is here replaces with
    /// everything below it.
    pub hides: bool,
    /// What is there now.
    pub what: What,
}

/// What a path holds after the transaction.
#[derive(Debug, Clone)]
pub enum What {
    /// Nothing, and nothing below it.
    Gone,
    /// A directory of the base, elsewhere there, with all that is below it.
    Moved {
        /// Its path in the base.
        from: TreePath,
        /// Permission bits.
        mode: u32,
        /// Modification time.
        mtime: Timestamp,
        /// Whether these two differ from those in the base.
        changed: bool,
    },
    /// The same directory as in the base with other attributes.
    Attributes {
        /// Permission bits.
        mode: u32,
        /// Modification time.
        mtime: Timestamp,
    },
    /// A new directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Modification time.
        mtime: Timestamp,
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: Arc<str>,
        /// Modification time.
        mtime: Timestamp,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Modification time.
        mtime: Timestamp,
        /// Its content.
        content: Held,
    },
}

/// The content of a changed file.
#[derive(Debug, Clone)]
pub enum Held {
    /// As stored already.
    Stored(Content),
    /// To be read from among the small files.
    Small(SmallFile),
    /// To be read from the staging directory.
    Staged(StagedFile),
}

/// The content of a small file, to be read by whoever commits it.
#[derive(Debug, Clone)]
pub struct SmallFile(pub(super) Arc<Small>);

/// A staged file, to be read by whoever commits it.
#[derive(Debug, Clone)]
pub struct StagedFile(pub(super) Arc<Staged>);

impl StagedFile {
    /// Names the file within its transaction; hard links share it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.file
    }

    /// Bytes in the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }
}

impl TransactionView {
    /// Everything that differs from the base, in directory order. Costs what
    /// was changed, not what exists.
    pub fn changes(&self) -> Result<Vec<Change>, VfsError> {
        let state = self.lock();
        let mut changes = Vec::new();
        let mut paths = vec![TreePath::root()];
        visit(&state, |depth, name, over, what| {
            paths.truncate(depth + 1);
            let above = &paths[depth];
            let path = above.join(name).map_err(|_| too_long(above, name))?;
            paths.push(path.clone());
            changes.extend(what.map(|(hides, what)| Change {
                path,
                hides: hides && over.hides,
                what,
            }));
            Ok(())
        })?;
        Ok(changes)
    }

    /// How many paths differ from the base.
    pub fn change_count(&self) -> Result<usize, VfsError> {
        let mut count = 0;
        visit(&self.lock(), |_, _, _, what| {
            count += usize::from(what.is_some());
            Ok(())
        })?;
        Ok(count)
    }

    /// Whether anything differs from the base.
    pub fn is_changed(&self) -> Result<bool, VfsError> {
        Ok(self.change_count()? > 0)
    }
}

fn too_long(above: &TreePath, name: &str) -> VfsError {
    let above = above.absolute();
    VfsError::Damaged(format!("{above}/{name} is longer than a path may be: rename what it is in"))
}

/// Passes every override to `seen`, in directory order, with how many
/// directories it lies in and, where it is a change, whether that may hide
/// what the base has.
fn visit(
    state: &State,
    mut seen: impl FnMut(usize, &Arc<str>, &Override, Option<(bool, What)>) -> Result<(), VfsError>,
) -> Result<(), VfsError> {
    let root = state.dir(NodeId::ROOT)?;
    let mut open = vec![(root, root.overrides.iter())];
    while let Some((dir, rest)) = open.last_mut() {
        let Some((name, over)) = rest.next() else {
            open.pop();
            continue;
        };
        let dir = *dir;
        let depth = open.len() - 1;
        let Some(child) = over.node else {
            seen(depth, name, over, Some((true, What::Gone)))?;
            continue;
        };
        let node = state.node(child)?;
        let in_place = node.origin.is_some() && node.origin == expected(dir, name);
        seen(depth, name, over, what(node, in_place).map(|what| (!in_place, what)))?;
        if let Body::Dir(dir) = &node.body {
            open.push((dir, dir.overrides.iter()));
        }
    }
    Ok(())
}

/// Where in the base an unmoved `name` of `dir` comes from.
fn expected(dir: &Dir, name: &str) -> Option<TreePath> {
    // Where a directory was moved from its names may not fit.
    dir.base.as_ref()?.join(name).ok()
}

fn what(node: &Node, in_place: bool) -> Option<What> {
    if in_place && !node.changed {
        return None; // only on the way to a change
    }
    let (mode, mtime) = (node.mode, node.mtime);
    Some(match &node.body {
        Body::Dir(dir) => match &dir.base {
            Some(_) if in_place => What::Attributes { mode, mtime },
            Some(from) => What::Moved { from: from.clone(), mode, mtime, changed: node.changed },
            None => What::Directory { mode, mtime },
        },
        Body::Symlink(target) => What::Symlink { target: Arc::clone(target), mtime },
        Body::File(Data::Base(content)) => {
            What::File { mode, mtime, content: Held::Stored(content.clone()) }
        }
        Body::File(Data::Small(small)) => {
            What::File { mode, mtime, content: Held::Small(SmallFile(Arc::clone(small))) }
        }
        Body::File(Data::Staged(staged)) => {
            What::File { mode, mtime, content: Held::Staged(StagedFile(Arc::clone(staged))) }
        }
    })
}
