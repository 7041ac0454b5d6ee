//! What a mount has in use, and what it has asked of the layers below.

use std::path::{Path, PathBuf};

use super::files::{Files, Node};
use super::repos::directory_name;
use super::transaction::NodeId;
use super::types::InodeNo;
use crate::chunk::CacheStats;
use crate::store::StoreStats;
use crate::tree::NodeStats;

/// Counts of the layers below a mount.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Inodes that the kernel holds.
    pub inodes: u64,
    /// Requests to the object store.
    pub store: StoreStats,
    /// Content in memory and on disk.
    pub cache: CacheStats,
    /// Where content is kept on disk.
    pub cache_directory: Option<PathBuf>,
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
        let cache_directory = nodes.blobs().cache_directory().map(Path::to_owned);
        Usage { inodes, store, cache, cache_directory, nodes: nodes.stats() }
    }

    /// Where `ino` is, as a person would say it; `None` when it is gone. A file
    /// of a read-only view is named by its path within its repo alone, for
    /// several may show it.
    #[must_use]
    pub fn path_of(&self, ino: InodeNo) -> Option<String> {
        Some(match self.inodes.get(ino).ok()? {
            Node::Top => "/".to_owned(),
            Node::Group(group) => format!("/{}", group.name),
            Node::Dir(placed, path) => format!("/{}/{}", placed.place, path.as_str()),
            Node::Leaf(_, path, _) => path.as_str().to_owned(),
            Node::Transaction(transaction, id) => {
                let repo = directory_name(&transaction.started().branch.repo);
                format!("/{repo}/{}", transaction.path_of(id)?.as_str())
            }
        })
    }

    /// Whether `ino` is the top directory of a mount of repos, or the root of
    /// one of them.
    #[must_use]
    pub fn is_top_or_repo(&self, ino: InodeNo) -> bool {
        let found = self.repos.as_ref().and_then(|_| self.inodes.get(ino).ok());
        found.is_some_and(|node| match node {
            _ if ino == InodeNo::ROOT => true,
            Node::Top | Node::Transaction(_, NodeId::ROOT) => true,
            Node::Dir(_, path) => path.is_root(),
            Node::Group(_) | Node::Leaf(..) | Node::Transaction(..) => false,
        })
    }
}
