//! Leaves and records in order, read ahead.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::TreeError;
use super::key::Key;
use super::node::{Item, Node};
use super::nodes::Nodes;
use super::root::Root;

/// The most leaves fetched before they are asked for.
const AHEAD_MAX: usize = 16;

/// The leaves between two keys, in order.
///
/// Memory: one node per level, and the leaves read ahead, whose number grows
/// with use so that a short look stays cheap.
struct Leaves {
    nodes: Nodes,
    end: Key,
    /// Inner nodes on the way to the next leaf, each with its next child.
    path: Vec<(Arc<Node>, usize)>,
    ahead: FuturesOrdered<BoxFuture<'static, Result<Arc<Node>, TreeError>>>,
    window: usize,
}

impl Leaves {
    async fn open(nodes: &Nodes, root: &Root, start: &Key, end: Key) -> Result<Self, TreeError> {
        let (path, ahead) = (Vec::new(), FuturesOrdered::new());
        let mut leaves = Self { nodes: nodes.clone(), end, path, ahead, window: 1 };
        let Some(top) = &root.0 else { return Ok(leaves) };
        let mut node = nodes.load_top(top).await?;
        while node.level > 0 {
            let at = node.child_at(start);
            if node.level == 1 {
                leaves.path.push((node, at));
                return Ok(leaves);
            }
            let below = nodes.load_child(&node, at).await?;
            leaves.path.push((node, at + 1));
            node = below;
        }
        leaves.ahead.push_back(Box::pin(async move { Ok(node) }));
        Ok(leaves)
    }

    async fn next(&mut self) -> Result<Option<Arc<Node>>, TreeError> {
        while self.ahead.len() < self.window {
            let Some((parent, at)) = self.advance().await? else { break };
            let nodes = self.nodes.clone();
            self.ahead.push_back(Box::pin(async move { nodes.load_child(&parent, at).await }));
        }
        self.window = (self.window * 2).min(AHEAD_MAX);
        self.ahead.next().await.transpose()
    }

    /// The next leaf, as a child of its parent.
    async fn advance(&mut self) -> Result<Option<(Arc<Node>, usize)>, TreeError> {
        while let Some((node, next)) = self.path.last_mut() {
            let at = *next;
            match node.items.get(at) {
                None => {
                    self.path.pop();
                }
                Some(item) if item.key >= self.end => self.path.clear(),
                Some(_) => {
                    *next += 1;
                    let node = Arc::clone(node);
                    if node.level == 1 {
                        return Ok(Some((node, at)));
                    }
                    self.path.push((self.nodes.load_child(&node, at).await?, 0));
                }
            }
        }
        Ok(None)
    }
}

/// The items of the leaves between two keys, in order.
pub(super) struct Records {
    leaves: Leaves,
    start: Key,
    leaf: Option<(Arc<Node>, usize)>,
}

impl Records {
    /// Items from `start` on, up to but without `end`.
    pub async fn open(nodes: &Nodes, root: &Root, start: Key, end: Key) -> Result<Self, TreeError> {
        let leaves = Leaves::open(nodes, root, &start, end).await?;
        Ok(Self { leaves, start, leaf: None })
    }

    pub async fn next(&mut self) -> Result<Option<Item>, TreeError> {
        loop {
            if let Some((leaf, next)) = &mut self.leaf
                && let Some(item) = leaf.items.get(*next)
            {
                *next += 1;
                return Ok((item.key < self.leaves.end).then(|| item.clone()));
            }
            let Some(leaf) = self.leaves.next().await? else { return Ok(None) };
            let first = leaf.lower_bound(&self.start);
            self.leaf = Some((leaf, first));
        }
    }
}
