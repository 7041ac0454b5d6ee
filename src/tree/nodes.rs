//! Nodes from and to packs, and the cache of decoded ones.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::TreeError;
use super::codec::{decode_node, encode_node};
use super::key::Key;
use super::node::{Child, Item, Node, Record, Value};
use super::root::{Root, Top};
use super::wire::Malformed;
use crate::chunk::{Blobs, ChunkRef, PackWriter};
use crate::model::ChunkId;

/// A larger blob is no node: the boundary rule keeps them far below.
const NODE_BYTES_MAX: u32 = 1 << 20;

/// Decoded nodes, least recently used ones dropped beyond a byte budget.
///
/// One per process; a clone is the same cache.
#[derive(Clone)]
pub struct NodeCache(Arc<Mutex<Cached>>);

struct Cached {
    nodes: LruCache<ChunkId, (Arc<Node>, usize)>,
    bytes: usize,
    budget: usize,
    hits: u64,
    misses: u64,
}

/// Looks into a [`NodeCache`] since it was made, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Nodes that were in memory when they were wanted.
    pub hits: u64,
    /// Nodes that had to be read.
    pub misses: u64,
    /// Bytes of the nodes in memory, about.
    pub bytes: u64,
}

impl NodeCache {
    /// A cache that keeps about `budget` bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        let nodes = LruCache::unbounded();
        Self(Arc::new(Mutex::new(Cached { nodes, bytes: 0, budget, hits: 0, misses: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        // The cache is consistent between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &ChunkId) -> Option<Arc<Node>> {
        let mut cached = self.lock();
        let found = cached.nodes.get(id).map(|(node, _)| Arc::clone(node));
        match found.is_some() {
            true => cached.hits += 1,
            false => cached.misses += 1,
        }
        found
    }

    fn put(&self, id: ChunkId, node: Arc<Node>) {
        let weight = node.weight();
        let mut cached = self.lock();
        cached.bytes += weight;
        if let Some((_, (_, old))) = cached.nodes.push(id, (node, weight)) {
            cached.bytes -= old;
        }
        while cached.bytes > cached.budget {
            let Some((_, (_, dropped))) = cached.nodes.pop_lru() else { break };
            cached.bytes -= dropped;
        }
    }
}

impl fmt::Debug for NodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cached = self.lock();
        write!(
            f,
            "NodeCache({} nodes, {} of {} bytes)",
            cached.nodes.len(),
            cached.bytes,
            cached.budget
        )
    }
}

/// Where trees are read from: blobs, and the cache before them. A cheap clone.
#[derive(Debug, Clone)]
pub struct Nodes {
    blobs: Blobs,
    cache: NodeCache,
}

/// A node found by key, with what its neighbours imply.
pub(super) struct Located {
    pub node: Arc<Node>,
    /// The blob it came from.
    pub blob: ChunkRef,
    /// The first key of the next node of its level, if there is one.
    pub upper: Option<Key>,
    /// Whether it is the first of its level.
    pub leftmost: bool,
}

impl Nodes {
    /// Reads through `cache` from `blobs`.
    #[must_use]
    pub fn new(blobs: Blobs, cache: NodeCache) -> Self {
        Self { blobs, cache }
    }

    /// What the cache was asked so far, and what it holds.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        let cached = self.cache.lock();
        NodeStats { hits: cached.hits, misses: cached.misses, bytes: cached.bytes as u64 }
    }

    /// The blobs below.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The node `child` at `level`, whose first key is `first` where known.
    pub(super) async fn load(
        &self,
        child: &Child,
        level: u8,
        first: Option<&Key>,
    ) -> Result<Arc<Node>, TreeError> {
        let blob = child.blob.id;
        let node = match self.cache.get(&blob) {
            Some(node) => node,
            None => self.fetch(child).await?,
        };
        if node.level != level || first.is_some_and(|first| first != node.first()) {
            return Err(TreeError::Corrupt { blob, what: "it is not the node its parent names" });
        }
        Ok(node)
    }

    async fn fetch(&self, child: &Child) -> Result<Arc<Node>, TreeError> {
        let corrupt = |what| TreeError::Corrupt { blob: child.blob.id, what };
        if child.blob.len > NODE_BYTES_MAX {
            return Err(corrupt("it is too large"));
        }
        let bytes = self.blobs.read(&child.blob).await?;
        // Names and inline contents are slices of it: of a copy, for a slice of
        // a segment would keep the whole segment in memory with the node.
        let node =
            decode_node(Bytes::copy_from_slice(&bytes)).map_err(|Malformed(what)| corrupt(what))?;
        if node.totals() != child.totals {
            return Err(corrupt("its totals differ from what its parent says"));
        }
        let node = Arc::new(node);
        self.cache.put(child.blob.id, Arc::clone(&node));
        Ok(node)
    }

    pub(super) async fn load_top(&self, top: &Top) -> Result<Arc<Node>, TreeError> {
        self.load(&top.child, top.level, None).await
    }

    /// The node below the `at`-th item of `parent`.
    pub(super) async fn load_child(
        &self,
        parent: &Node,
        at: usize,
    ) -> Result<Arc<Node>, TreeError> {
        let Item { key, value } = &parent.items[at];
        self.load(child_of(value), parent.level - 1, Some(key)).await
    }

    /// The node of `level` that holds `key`, or would: the first one for keys
    /// before all.
    pub(super) async fn locate(
        &self,
        top: &Top,
        level: u8,
        key: &[u8],
    ) -> Result<Located, TreeError> {
        let node = self.load_top(top).await?;
        let mut found = Located { node, blob: top.child.blob, upper: None, leftmost: true };
        while found.node.level > level {
            let at = found.node.child_at(key);
            found.leftmost &= at == 0;
            if let Some(next) = found.node.items.get(at + 1) {
                found.upper = Some(next.key.clone());
            }
            found.blob = child_of(&found.node.items[at].value).blob;
            found.node = self.load_child(&found.node, at).await?;
        }
        Ok(found)
    }

    /// The item under exactly `key`.
    pub(super) async fn find(&self, root: &Root, key: &[u8]) -> Result<Option<Item>, TreeError> {
        let Some(top) = &root.0 else { return Ok(None) };
        let leaf = self.locate(top, 0, key).await?.node;
        let at = leaf.lower_bound(key);
        Ok(leaf.items.get(at).filter(|item| *item.key == *key).cloned())
    }

    /// The first item at or after `key`.
    pub(super) async fn seek(&self, root: &Root, key: &[u8]) -> Result<Option<Item>, TreeError> {
        let Some(top) = &root.0 else { return Ok(None) };
        let found = self.locate(top, 0, key).await?;
        match found.node.items.get(found.node.lower_bound(key)) {
            Some(item) => Ok(Some(item.clone())),
            None => match found.upper {
                // The next leaf starts there, so its first item is the answer.
                Some(next) => Ok(self.locate(top, 0, &next).await?.node.items.first().cloned()),
                None => Ok(None),
            },
        }
    }

    /// Stores a node; `known` are the blobs of the nodes it replaces.
    pub(super) async fn store(
        &self,
        writer: &PackWriter,
        node: Node,
        known: &[ChunkRef],
    ) -> Result<Item, TreeError> {
        let blob = writer.append_dedup(encode_node(&node), known).await?;
        let child = Child { blob, hash: node.hash(), totals: node.totals() };
        let key = node.first().clone();
        self.cache.put(blob.id, Arc::new(node));
        Ok(Item { key, value: Value::Child(child) })
    }
}

/// The child an inner node's item names.
///
/// # Panics
///
/// On a record: decoding and building both keep records to leaves.
pub(super) fn child_of(value: &Value) -> &Child {
    match value {
        Value::Child(child) => child,
        Value::Record(_) => unreachable!("a node above the leaves holds children"),
    }
}

/// The record a leaf's item holds.
///
/// # Panics
///
/// On a child: decoding and building both keep children out of leaves.
pub(super) fn record_of(value: &Value) -> &Record {
    match value {
        Value::Record(record) => record,
        Value::Child(_) => unreachable!("a leaf holds records"),
    }
}
