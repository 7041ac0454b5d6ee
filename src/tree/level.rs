//! Rebuilding the nodes that edits touch, one level feeding the next.
//!
//! Each level takes deletions of key ranges and new items in key order, reads
//! the old nodes they fall into, and cuts old and new items into nodes anew.
//! Where a cut coincides with an old node's start the old nodes are kept
//! unread up to the next edit. The level above gets the same two kinds of
//! edits: the range of the nodes that were replaced, and the new nodes.

use futures::future::BoxFuture;

use super::TreeError;
use super::key::Key;
use super::node::{Child, Item, LEVEL_MAX, Node, NodeBuilder};
use super::nodes::{Located, Nodes, child_of};
use super::root::{Root, Top};
use crate::chunk::{ChunkRef, PackWriter};

/// How many replaced nodes are remembered: a new node that equals an old one
/// equals one of the last few.
const REPLACED_MAX: usize = 4;

/// What all levels of one rebuild share.
#[derive(Clone)]
pub(super) struct Rebuild {
    pub nodes: Nodes,
    pub writer: PackWriter,
    pub old: Root,
}

/// One level of the tree being rebuilt.
pub(super) struct Level {
    rebuild: Rebuild,
    level: u8,
    builder: NodeBuilder,
    /// The old node whose items are being taken over, and the next of them.
    source: Option<(Located, usize)>,
    /// Where the next unread old node starts; the end key when none is left.
    next_old: Key,
    /// Old items before this position are dropped.
    dropped: Key,
    /// Blobs of the old nodes the current node replaces.
    replaced: Vec<ChunkRef>,
    /// Whether any node of this level stayed as it was.
    kept: bool,
    /// How many nodes this level wrote.
    written: usize,
    above: Option<Box<Level>>,
}

impl Level {
    pub fn new(rebuild: &Rebuild, level: u8) -> Self {
        let exists = rebuild.old.0.is_some_and(|top| level <= top.level);
        Self {
            rebuild: rebuild.clone(),
            level,
            builder: NodeBuilder::new(level),
            source: None,
            next_old: if exists { Key::start() } else { Key::end() },
            dropped: Key::start(),
            replaced: Vec::new(),
            kept: false,
            written: 0,
            above: None,
        }
    }

    /// Drops the old items from `from` up to but without `to`.
    ///
    /// `from` is not before any position given earlier.
    pub async fn delete(&mut self, from: &Key, to: &Key) -> Result<(), TreeError> {
        self.take_over(from).await?;
        if *to > self.dropped {
            self.dropped = to.clone();
        }
        Ok(())
    }

    /// Puts an item in place of an old one with its key, if there is one.
    ///
    /// Keys come in strictly increasing order.
    pub async fn put(&mut self, item: Item) -> Result<(), TreeError> {
        self.take_over(&item.key).await?;
        let after = item.key.successor();
        if after > self.dropped {
            self.dropped = after;
        }
        self.push(item).await
    }

    async fn push(&mut self, item: Item) -> Result<(), TreeError> {
        match self.builder.push(item) {
            true => self.close().await,
            false => Ok(()),
        }
    }

    /// Moves the old items before `key` into the new nodes; leaves whole old
    /// nodes alone where the new cuts coincide with theirs.
    async fn take_over(&mut self, key: &Key) -> Result<(), TreeError> {
        loop {
            if let Some(item) = self.old_item() {
                if item.key >= *key {
                    return Ok(());
                }
                let live = (item.key >= self.dropped).then(|| item.clone());
                self.step();
                if let Some(item) = live {
                    self.push(item).await?;
                }
                continue;
            }
            if *key <= self.next_old {
                return Ok(());
            }
            let in_step = self.builder.items().is_empty() && self.dropped <= self.next_old;
            if in_step && *key == Key::end() {
                self.kept = true;
                return Ok(());
            }
            self.read_old(if in_step { key.clone() } else { self.dropped.clone() }, in_step)
                .await?;
        }
    }

    /// The next item of the old node at hand.
    fn old_item(&self) -> Option<&Item> {
        self.source.as_ref().and_then(|(old, at)| old.node.items.get(*at))
    }

    fn step(&mut self) {
        if let Some((_, at)) = &mut self.source {
            *at += 1;
        }
    }

    /// Opens the old node that holds `key`, or the next unread one if that
    /// lies further on. Unread nodes before it are kept when the cuts are
    /// `in_step`, and replaced otherwise.
    fn read_old(&mut self, key: Key, in_step: bool) -> BoxFuture<'_, Result<(), TreeError>> {
        Box::pin(async move {
            let Some(top) = &self.rebuild.old.0 else { return Ok(()) };
            let at = key.max(self.next_old.clone());
            let old = self.rebuild.nodes.locate(top, self.level, &at).await?;
            let first = if old.leftmost { Key::start() } else { old.node.first().clone() };
            self.kept |= in_step && first > self.next_old;
            let from = if in_step { first } else { self.next_old.clone() };
            self.next_old = old.upper.clone().unwrap_or_else(Key::end);
            self.remember(old.blob);
            self.source = Some((old, 0));
            let to = self.next_old.clone();
            self.above().delete(&from, &to).await
        })
    }

    fn remember(&mut self, blob: ChunkRef) {
        if self.replaced.len() == REPLACED_MAX {
            self.replaced.remove(0);
        }
        self.replaced.push(blob);
    }

    fn above(&mut self) -> &mut Self {
        // Every inner node but the last of a level has two children or more,
        // so a tree this high has more leaves than memory has bytes.
        debug_assert!(self.level < LEVEL_MAX, "a tree is not that high");
        let (rebuild, level) = (&self.rebuild, self.level + 1);
        self.above.get_or_insert_with(|| Box::new(Self::new(rebuild, level)))
    }

    /// Stores the node collected so far and hands it to the level above.
    fn close(&mut self) -> BoxFuture<'_, Result<(), TreeError>> {
        Box::pin(async move {
            let node = self.builder.take();
            let replaced = std::mem::take(&mut self.replaced);
            let item = self.store(node, &replaced).await?;
            // The old node at hand may give items to the next new node too.
            self.replaced.extend(replaced.last());
            self.written += 1;
            self.above().put(item).await
        })
    }

    async fn store(&self, node: Node, replaced: &[ChunkRef]) -> Result<Item, TreeError> {
        self.rebuild.nodes.store(&self.rebuild.writer, node, replaced).await
    }

    /// Ends the level and those above it; the root of the new tree.
    pub fn finish(mut self) -> BoxFuture<'static, Result<Root, TreeError>> {
        Box::pin(async move {
            self.take_over(&Key::end()).await?;
            let alone = self.written == 0 && !self.kept;
            match self.builder.items() {
                [] if alone => return Ok(Root::empty()),
                [only] if alone && self.level > 0 => {
                    let child = *child_of(&only.value);
                    return lowest(&self.rebuild.nodes, self.level - 1, child).await;
                }
                [] => {}
                [_, ..] => self.close().await?,
            }
            match self.above.take() {
                Some(above) => above.finish().await,
                None => Ok(self.rebuild.old),
            }
        })
    }
}

/// The root of a tree with one node at `level`: the lowest level with one.
async fn lowest(nodes: &Nodes, mut level: u8, mut child: Child) -> Result<Root, TreeError> {
    while level > 0 {
        let node = nodes.load(&child, level, None).await?;
        let [only] = &node.items[..] else { break };
        (level, child) = (level - 1, *child_of(&only.value));
    }
    Ok(Root(Some(Top { level, child })))
}
