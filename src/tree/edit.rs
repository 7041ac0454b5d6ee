//! One change to one path.

use super::Entry;
use super::Root;
use crate::model::TreePath;

/// What [`apply`](super::apply) does at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Puts an entry. Missing parent directories are added. A directory
    /// keeps what is below it; a file where a directory is, or a directory
    /// where a file is, is an error.
    Put(Entry),
    /// Puts an entry in place of whatever is at the path and below it.
    Replace(Entry),
    /// Removes the path and everything below it; nothing happens where there
    /// is nothing. At the root it removes everything.
    Remove,
    /// Puts a copy of `path` of another tree, with everything below it, in
    /// place of whatever is at the path and below it. Copies entries, reads
    /// no content. At the root it becomes the whole tree.
    Graft {
        /// The tree to copy from; may be the tree being edited.
        source: Root,
        /// What to copy from it.
        path: TreePath,
    },
}
