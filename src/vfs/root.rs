//! Mounts whose root is a directory of one repo instead of that of all.

use super::VfsError;
use super::files::{Files, Node};
use super::inode::Identity;
use super::place::transaction_node;
use super::types::{InodeNo, Kind};
use crate::model::TreePath;

impl Files {
    /// The same with the directory `path` of the repo `name` for a root. To be
    /// called before a kernel asks for anything; a process that goes on with
    /// the [`Files::memory`] finds it so.
    ///
    /// Fails with [`VfsError::NotFound`] and [`VfsError::NotDirectory`]. A root
    /// that a later commit lacks is an empty directory.
    pub async fn rooted(self, name: &str, path: &TreePath) -> Result<Self, VfsError> {
        let mut at = InodeNo::ROOT;
        for name in std::iter::once(name).chain(path.components()) {
            // What was found stays looked up: nobody ever gives it back.
            let found = self.lookup(at, name).await?.attr.ok_or(VfsError::NotFound)?;
            if found.kind != Kind::Directory {
                return Err(VfsError::NotDirectory);
            }
            at = found.ino;
        }
        let root = identity(&self.node(at)?).ok_or(VfsError::Stale)?;
        self.inodes.make_root(root)?;
        Ok(self)
    }
}

/// What a directory is that can be a root; `None` of the top of all.
pub(super) fn identity(node: &Node) -> Option<Identity> {
    match node {
        Node::Dir(placed, path) => Some(placed.directory(path)),
        Node::Transaction(view, id) => Some(transaction_node(view, *id)),
        Node::Top | Node::Group(_) | Node::Leaf(..) => None,
    }
}
