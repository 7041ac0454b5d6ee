//! Reading a tree.

use std::ops::Range;

use async_stream::try_stream;
use futures::stream::BoxStream;

use super::cursor::Records;
use super::key::Key;
use super::long::load_content;
use super::node::{Item, Record, RecordHasher, RecordKind};
use super::nodes::{Nodes, record_of};
use super::root::Top;
use super::{Entry, EntryKind, Root, Stat, Totals, TreeError};
use crate::model::{NodeHash, TreePath};

/// One immutable tree, ready to be read. A cheap clone.
///
/// Every call reads only the nodes on the way to its answer, through the
/// process's [`NodeCache`](super::NodeCache).
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Nodes,
    root: Root,
}

impl Tree {
    /// The tree that `root` names.
    #[must_use]
    pub fn new(nodes: &Nodes, root: Root) -> Self {
        Self { nodes: nodes.clone(), root }
    }

    /// The handle of this tree.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where the nodes are read from.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The entry at `path`; `None` where there is none, and for the root.
    pub async fn get(&self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
        match self.nodes.find(&self.root, &Key::of(path)).await? {
            Some(item) => Ok(Some(resolve(&self.nodes, record_of(&item.value)).await?)),
            None => Ok(None),
        }
    }

    /// [`Tree::get`] without the content.
    pub async fn stat(&self, path: &TreePath) -> Result<Option<Stat>, TreeError> {
        let item = self.nodes.find(&self.root, &Key::of(path)).await?;
        Ok(item.map(|item| record_of(&item.value).into()))
    }

    /// What is directly in `dir`, in name order: at most `limit` entries,
    /// those after the name `after` where one is given.
    ///
    /// Costs the nodes that hold the answer: what lies below a directory is
    /// skipped. Fails with [`TreeError::NotFound`] or
    /// [`TreeError::NotADirectory`] when `dir` is no directory.
    pub async fn list(
        &self,
        dir: &TreePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, TreeError> {
        let mut entries = Vec::new();
        for (name, record) in self.children(dir, after, limit, Record::clone).await? {
            entries.push((name, resolve(&self.nodes, &record).await?));
        }
        Ok(entries)
    }

    /// [`Tree::list`] without the contents.
    pub async fn list_stats(
        &self,
        dir: &TreePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stat)>, TreeError> {
        self.children(dir, after, limit, stat).await
    }

    /// What `take` makes of the records directly in `dir`.
    async fn children<T>(
        &self,
        dir: &TreePath,
        after: Option<&str>,
        limit: usize,
        take: fn(&Record) -> T,
    ) -> Result<Vec<(String, T)>, TreeError> {
        self.check_dir(dir).await?;
        let Some(top) = &self.root.0 else { return Ok(Vec::new()) };
        let below = Key::below(dir);
        let start = match after {
            Some(name) => Key::after_child(&below, name),
            None => below.clone(),
        };
        let span = start..Key::after_subtree(dir);
        self.children_from(top, below.len(), span, limit, take).await
    }

    async fn check_dir(&self, dir: &TreePath) -> Result<(), TreeError> {
        if dir.is_root() {
            return Ok(());
        }
        match self.nodes.find(&self.root, &Key::of(dir)).await? {
            None => Err(TreeError::NotFound { path: dir.clone() }),
            Some(item) if record_of(&item.value).is_dir() => Ok(()),
            Some(_) => Err(TreeError::NotADirectory { path: dir.clone(), file: dir.clone() }),
        }
    }

    /// Items of `span` whose keys have one component from byte `prefix`.
    async fn children_from<T>(
        &self,
        top: &Top,
        prefix: usize,
        span: Range<Key>,
        limit: usize,
        take: fn(&Record) -> T,
    ) -> Result<Vec<(String, T)>, TreeError> {
        let Range { mut start, end } = span;
        let mut found = Vec::new();
        while found.len() < limit && start < end {
            let leaf = self.nodes.locate(top, 0, &start).await?;
            let items = &leaf.node.items;
            let mut at = leaf.node.lower_bound(&start);
            while let Some(item) = items.get(at).filter(|i| i.key < end && found.len() < limit) {
                let record = record_of(&item.value);
                let Some(name) = item.key.last_after(prefix) else {
                    let what = "an entry lies in no directory";
                    return Err(TreeError::Corrupt { blob: leaf.blob.id, what });
                };
                TreePath::check_name(name)?;
                found.push((name.to_owned(), take(record)));
                at += 1;
                if record.is_dir() {
                    start = item.key.after_all();
                    at += items[at..].partition_point(|i| i.key < start);
                }
            }
            // Another leaf is needed only when this one is used up.
            let Some(upper) = leaf.upper.filter(|_| at == items.len()) else { break };
            start = start.max(upper);
        }
        Ok(found)
    }

    /// Sums over `path` and, for a directory, over all below it (without the
    /// directory itself). `None` where there is no entry. O(log n).
    pub async fn totals(&self, path: &TreePath) -> Result<Option<Totals>, TreeError> {
        if path.is_root() {
            return Ok(Some(self.root.totals()));
        }
        let Some(item) = self.nodes.find(&self.root, &Key::of(path)).await? else {
            return Ok(None);
        };
        let record = record_of(&item.value);
        if !record.is_dir() {
            return Ok(Some(record.totals()));
        }
        let until = self.before(&Key::after_subtree(path)).await?;
        Ok(Some(until.without(self.before(&Key::below(path)).await?)))
    }

    /// Sums over all entries before `key`.
    async fn before(&self, key: &Key) -> Result<Totals, TreeError> {
        let Some(top) = &self.root.0 else { return Ok(Totals::default()) };
        let mut node = self.nodes.load_top(top).await?;
        let mut sums = Vec::new();
        let sum = |items: &[Item]| items.iter().map(|item| item.value.totals()).sum::<Totals>();
        while node.level > 0 {
            let at = node.child_at(key);
            sums.push(sum(&node.items[..at]));
            node = self.nodes.load_child(&node, at).await?;
        }
        sums.push(sum(&node.items[..node.lower_bound(key)]));
        Ok(sums.into_iter().sum())
    }

    /// Every entry below `dir` (without `dir`) in path order, starting after
    /// the path `after` where one is given.
    ///
    /// Memory is bounded; leaves are read ahead.
    #[must_use]
    pub fn walk(
        &self,
        dir: &TreePath,
        after: Option<&TreePath>,
    ) -> BoxStream<'static, Result<(TreePath, Entry), TreeError>> {
        let (nodes, records) = (self.nodes.clone(), self.below(dir, after));
        Box::pin(try_stream! {
            let mut records = records.await?;
            while let Some(item) = records.next().await? {
                let entry = resolve(&nodes, record_of(&item.value)).await?;
                yield (item.key.to_path()?, entry);
            }
        })
    }

    /// [`Tree::walk`] without the contents.
    #[must_use]
    pub fn walk_stats(
        &self,
        dir: &TreePath,
        after: Option<&TreePath>,
    ) -> BoxStream<'static, Result<(TreePath, Stat), TreeError>> {
        let records = self.below(dir, after);
        Box::pin(try_stream! {
            let mut records = records.await?;
            while let Some(item) = records.next().await? {
                yield (item.key.to_path()?, record_of(&item.value).into());
            }
        })
    }

    /// The records below `dir` and after `after`.
    fn below(
        &self,
        dir: &TreePath,
        after: Option<&TreePath>,
    ) -> impl Future<Output = Result<Records, TreeError>> + Send + use<> {
        let below = Key::below(dir);
        let start = after.map_or(below.clone(), |path| below.max(Key::of(path).successor()));
        let end = Key::after_subtree(dir);
        let Self { nodes, root } = self.clone();
        async move { Records::open(&nodes, &root, start, end).await }
    }

    /// A hash of the entry at `path` and of all below it: kinds, modes,
    /// contents and paths relative to `path`; neither places nor times, nor
    /// what `path` is called. `None` where there is no entry.
    ///
    /// The hash of the root is [`Root::hash`] and costs nothing. Any other
    /// directory is hashed entry by entry, since its nodes are cut with
    /// regard to its siblings: the cost follows the entries below it, and no
    /// content is read.
    pub async fn subtree_hash(&self, path: &TreePath) -> Result<Option<NodeHash>, TreeError> {
        if path.is_root() {
            return Ok(Some(self.root.hash()));
        }
        let own = Key::of(path);
        let mut records =
            Records::open(&self.nodes, &self.root, own.clone(), Key::after_subtree(path)).await?;
        let mut hasher = RecordHasher::new("pfs subtree v1");
        let mut found = false;
        while let Some(item) = records.next().await? {
            found = true;
            hasher.push(&item.key[own.len()..], record_of(&item.value));
        }
        Ok(found.then(|| hasher.finish()))
    }
}

fn stat(record: &Record) -> Stat {
    record.into()
}

/// The entry a record stands for.
pub(super) async fn resolve(nodes: &Nodes, record: &Record) -> Result<Entry, TreeError> {
    let kind = match &record.kind {
        RecordKind::Dir => EntryKind::Dir,
        RecordKind::File(content) => EntryKind::File(content.clone()),
        RecordKind::Long(long) => EntryKind::File(load_content(nodes, long).await?),
        RecordKind::Symlink(target) => EntryKind::Symlink(target.clone()),
    };
    Ok(Entry { kind, mode: record.mode, mtime: record.mtime })
}
