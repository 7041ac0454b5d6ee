//! What can go wrong with a tree.

use crate::chunk::ChunkError;
use crate::model::{ChunkId, InvalidPath, TreePath};

/// Why a tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A blob of the tree could not be read or written.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A node or chunk list is not what its writer wrote.
    #[error("tree node {blob} is corrupt: {what}")]
    Corrupt {
        /// The blob that holds it.
        blob: ChunkId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The bytes of a root are not what [`Root::encode`](super::Root::encode) wrote.
    #[error("a tree's root is corrupt: {what}")]
    CorruptRoot {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something was to be put below a file or a symbolic link.
    #[error("cannot put {path}: {file} is not a directory")]
    NotADirectory {
        /// What was to be put.
        path: TreePath,
        /// What stands in its way.
        file: TreePath,
    },
    /// A file was to be put where a directory is, without saying replace.
    #[error("cannot put a file at {path}: it is a directory")]
    IsADirectory {
        /// The directory.
        path: TreePath,
    },
    /// A directory was to be put where a file is, without saying replace.
    #[error("cannot make directory {path}: it is a file")]
    IsAFile {
        /// The file.
        path: TreePath,
    },
    /// Something was to be grafted from where nothing is.
    #[error("{path} does not exist")]
    NotFound {
        /// The missing path.
        path: TreePath,
    },
    /// An entry cannot be stored.
    #[error("entry {path} is invalid: {rule}")]
    InvalidEntry {
        /// Where it was to be put.
        path: TreePath,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Edits did not come in path order.
    #[error("edits are out of order: {path} after {previous}")]
    Unordered {
        /// The edit that came too late.
        path: TreePath,
        /// The edit before it.
        previous: TreePath,
    },
    /// A path that no tree can hold, for example too long after a graft.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}
