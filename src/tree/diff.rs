//! What differs between two trees.

use std::cmp::Ordering;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::BoxStream;

use super::key::Key;
use super::node::{Child, Node, Record};
use super::nodes::{Nodes, child_of, record_of};
use super::read::resolve;
use super::{Entry, Root, Stat, TreeError};
use crate::model::TreePath;

/// A path whose entry differs; at least one side is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The path.
    pub path: TreePath,
    /// The entry of the first tree.
    pub old: Option<Entry>,
    /// The entry of the second tree.
    pub new: Option<Entry>,
}

/// What differs from `old` to `new` at `below` and below it, in path order.
///
/// Entries that differ only in places or times are the same. Nodes that both
/// trees share are not read: the cost follows the changes, and memory is a
/// few nodes per level.
#[must_use]
pub fn diff(
    nodes: &Nodes,
    old: &Root,
    new: &Root,
    below: &TreePath,
) -> BoxStream<'static, Result<Change, TreeError>> {
    let mut pairs = Differences::new(nodes, old, new, below);
    Box::pin(try_stream! {
        while let Some(Difference { key, old, new }) = pairs.next().await? {
            let (old, new) = (entry(&pairs.nodes, old).await?, entry(&pairs.nodes, new).await?);
            yield Change { path: key.to_path()?, old, new };
        }
    })
}

/// [`Change`] without the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatChange {
    /// The path.
    pub path: TreePath,
    /// The entry of the first tree.
    pub old: Option<Stat>,
    /// The entry of the second tree.
    pub new: Option<Stat>,
}

/// [`diff`] without the contents.
#[must_use]
pub fn diff_stats(
    nodes: &Nodes,
    old: &Root,
    new: &Root,
    below: &TreePath,
) -> BoxStream<'static, Result<StatChange, TreeError>> {
    let mut pairs = Differences::new(nodes, old, new, below);
    let stat = |record: Option<Record>| record.as_ref().map(Stat::from);
    Box::pin(try_stream! {
        while let Some(Difference { key, old, new }) = pairs.next().await? {
            yield StatChange { path: key.to_path()?, old: stat(old), new: stat(new) };
        }
    })
}

async fn entry(nodes: &Nodes, record: Option<Record>) -> Result<Option<Entry>, TreeError> {
    match record {
        Some(record) => Ok(Some(resolve(nodes, &record).await?)),
        None => Ok(None),
    }
}

/// A key whose records differ.
pub(super) struct Difference {
    pub key: Key,
    pub old: Option<Record>,
    pub new: Option<Record>,
}

/// [`diff`] in terms of keys and records.
pub(super) struct Differences {
    nodes: Nodes,
    old: Side,
    new: Side,
}

/// What is left of one tree: nodes not read yet, and items of read ones.
struct Side {
    start: Key,
    end: Key,
    /// The top when nothing was read yet, and its level.
    top: Option<(Child, u8)>,
    /// Read nodes, each with its next item; those below come later.
    path: Vec<(Arc<Node>, usize)>,
}

/// What a side has next.
enum Front {
    /// A node not read yet, with the first key in it (none for the top).
    Node {
        child: Child,
        level: u8,
        first: Key,
    },
    Record {
        key: Key,
        record: Record,
    },
}

impl Differences {
    pub fn new(nodes: &Nodes, old: &Root, new: &Root, below: &TreePath) -> Self {
        let side = |root: &Root| Side {
            start: Key::of(below),
            end: Key::after_subtree(below),
            top: root.0.map(|top| (top.child, top.level)),
            path: Vec::new(),
        };
        Self { nodes: nodes.clone(), old: side(old), new: side(new) }
    }

    pub async fn next(&mut self) -> Result<Option<Difference>, TreeError> {
        loop {
            match (self.old.front(), self.new.front()) {
                (None, None) => return Ok(None),
                (Some(Front::Record { key, record }), None) => {
                    self.old.skip();
                    return Ok(Some(Difference { key, old: Some(record), new: None }));
                }
                (None, Some(Front::Record { key, record })) => {
                    self.new.skip();
                    return Ok(Some(Difference { key, old: None, new: Some(record) }));
                }
                (Some(Front::Node { .. }), None) => self.old.open(&self.nodes).await?,
                (None, Some(Front::Node { .. })) => self.new.open(&self.nodes).await?,
                (Some(old), Some(new)) => {
                    if let Some(found) = self.compare(old, new).await? {
                        return Ok(Some(found));
                    }
                }
            }
        }
    }

    /// Takes one step on the side that is behind, or on both.
    async fn compare(&mut self, old: Front, new: Front) -> Result<Option<Difference>, TreeError> {
        let order = old.first().cmp(new.first());
        match (old, new) {
            (Front::Record { key, record: old }, Front::Record { record: new, key: later }) => {
                return Ok(self.compare_records(order, key, old, later, new));
            }
            (Front::Record { key, record }, Front::Node { .. }) if order == Ordering::Less => {
                self.old.skip();
                return Ok(Some(Difference { key, old: Some(record), new: None }));
            }
            (Front::Node { .. }, Front::Record { key, record }) if order == Ordering::Greater => {
                self.new.skip();
                return Ok(Some(Difference { key, old: None, new: Some(record) }));
            }
            (Front::Record { .. }, Front::Node { .. }) => self.new.open(&self.nodes).await?,
            (Front::Node { .. }, Front::Record { .. }) => self.old.open(&self.nodes).await?,
            (Front::Node { child: a, level: x, .. }, Front::Node { child: b, level: y, .. }) => {
                self.compare_nodes(order, (a, x), (b, y)).await?;
            }
        }
        Ok(None)
    }

    fn compare_records(
        &mut self,
        order: Ordering,
        key: Key,
        old: Record,
        later: Key,
        new: Record,
    ) -> Option<Difference> {
        match order {
            Ordering::Less => {
                self.old.skip();
                Some(Difference { key, old: Some(old), new: None })
            }
            Ordering::Greater => {
                self.new.skip();
                Some(Difference { key: later, old: None, new: Some(new) })
            }
            Ordering::Equal => {
                self.old.skip();
                self.new.skip();
                let differ = !old.same_content(&new);
                differ.then_some(Difference { key, old: Some(old), new: Some(new) })
            }
        }
    }

    /// Skips a shared node; otherwise opens the one that starts first, so
    /// that the other can still turn out to be shared.
    async fn compare_nodes(
        &mut self,
        order: Ordering,
        (old, old_level): (Child, u8),
        (new, new_level): (Child, u8),
    ) -> Result<(), TreeError> {
        match order.then(new_level.cmp(&old_level)) {
            Ordering::Less => self.old.open(&self.nodes).await,
            Ordering::Greater => self.new.open(&self.nodes).await,
            Ordering::Equal if old.hash == new.hash => {
                self.old.skip();
                self.new.skip();
                Ok(())
            }
            Ordering::Equal => {
                let (old, new) =
                    futures::join!(self.old.open(&self.nodes), self.new.open(&self.nodes));
                old.and(new)
            }
        }
    }
}

impl Front {
    fn first(&self) -> &Key {
        match self {
            Self::Node { first, .. } => first,
            Self::Record { key, .. } => key,
        }
    }
}

impl Side {
    /// What comes next within the range.
    fn front(&mut self) -> Option<Front> {
        if let Some((child, level)) = self.top {
            return Some(Front::Node { child, level, first: Key::start() });
        }
        while let Some((node, at)) = self.path.last() {
            let Some(item) = node.items.get(*at) else {
                self.path.pop();
                continue;
            };
            if item.key >= self.end {
                self.path.clear();
                break;
            }
            let key = item.key.clone();
            return Some(match node.level {
                0 => Front::Record { key, record: record_of(&item.value).clone() },
                level => {
                    let child = *child_of(&item.value);
                    Front::Node { child, level: level - 1, first: key }
                }
            });
        }
        None
    }

    /// Steps over what comes next.
    fn skip(&mut self) {
        self.top = None;
        if let Some((_, at)) = self.path.last_mut() {
            *at += 1;
        }
    }

    /// Reads the node that comes next.
    async fn open(&mut self, nodes: &Nodes) -> Result<(), TreeError> {
        let node = match self.top.take() {
            Some((child, level)) => nodes.load(&child, level, None).await?,
            None => {
                // Only called when a node comes next.
                let Some((node, at)) = self.path.last_mut() else { return Ok(()) };
                *at += 1;
                nodes.load_child(node, *at - 1).await?
            }
        };
        let at = match node.level {
            0 => node.lower_bound(&self.start),
            _ => node.child_at(&self.start),
        };
        self.path.push((node, at));
        Ok(())
    }
}
