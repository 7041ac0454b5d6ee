//! What a mount has in use, and what it has asked of the layers below.

use super::files::{Files, Node};
use super::transaction::NodeId;
use super::types::InodeNo;
use crate::chunk::CacheStats;
use crate::store::StoreStats;
use crate::tree::NodeStats;

/// Counts of the layers below a mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Inodes that the kernel holds.
    pub inodes: u64,
    /// Requests to the object store.
    pub store: StoreStats,
    /// Content in memory and on disk.
    pub cache: CacheStats,
    /// Tree nodes in memory.
    pub nodes: NodeStats,
}

impl Files {
    /// Counts so far; those of content belong to whoever shares it, too.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let inodes = self.inodes_in_use() as u64;
        let Some(repos) = &self.repos else { return Usage { inodes, ..Usage::default() } };
        let nodes = repos.source.nodes();
        let (store, cache) = (nodes.blobs().store().stats(), nodes.blobs().cache_stats());
        Usage { inodes, store, cache, nodes: nodes.stats() }
    }

    /// Whether `ino` is the top directory of a mount of repos, or the root of
    /// one of them.
    #[must_use]
    pub fn is_top_or_repo(&self, ino: InodeNo) -> bool {
        let found = self.repos.as_ref().and_then(|_| self.inodes.get(ino));
        found.is_some_and(|node| match node {
            Node::Top | Node::Transaction(_, NodeId::ROOT) => true,
            Node::Dir(_, path) => path.is_root(),
            Node::Group(_) | Node::Leaf(..) | Node::Transaction(..) => false,
        })
    }
}
