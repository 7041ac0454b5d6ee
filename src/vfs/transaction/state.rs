//! A transaction's names and attributes: everything that happens under its
//! one lock, without waiting for anything.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::journal::{Journal, Record};
use super::mirror::{Entry as Mirrored, Marks, Mirror};
use super::node::{Body, Data, Dir, Node, NodeId, Override, Place};
use super::refresh::Refreshed;
use super::small::Small;
use super::staged::{Staged, Staging};
use super::{Standing, Started};
use crate::model::{NAME_MAX, Timestamp, TransactionId, TreePath};
use crate::tree::{Entry, Root, Tree};
use crate::vfs::VfsError;

#[derive(Debug)]
pub(super) struct State {
    /// What the transaction is about now.
    pub(super) started: Started,
    /// What the transaction started from, or was last committed as.
    pub(super) base: Tree,
    pub(super) standing: Standing,
    /// Counts the bases.
    pub(super) generation: u64,
    /// `None` while a journal is replayed.
    pub(super) journal: Option<Journal>,
    /// Whether the power was lost: the times of staged files may be others than
    /// the journal that is replayed says.
    pub(super) lost_power: bool,
    pub(super) staging: Arc<Staging>,
    /// Staged files written to since they were last synced.
    pub(super) unsynced: Vec<Arc<Staged>>,
    /// Up to where the journal and what it tells of were synced.
    pub(super) synced: u64,
    /// Staged files below this number may be in the synced part of the journal.
    pub(super) durable_files: u64,
    /// Such files that are no longer needed once the journal is synced again.
    pub(super) removed: Vec<Arc<Staged>>,
    /// Small content likewise.
    pub(super) removed_small: Vec<Arc<Small>>,
    /// Trees that came before the base, while names that they have may still
    /// be taken for those of the base.
    pub(super) unrefreshed: Vec<Tree>,
    /// Names that a kernel has yet to be told of.
    pub(super) refreshed: Vec<Refreshed>,
    /// Why something that was written may never reach the disk.
    pub(super) unkept: Option<String>,
    /// The description of the commit that is under way.
    pub(super) committing: Option<String>,
    /// Where another process would go on from, and what is not there yet.
    pub(super) mirror: Option<Mirror>,
    pub(super) marks: Marks,
    /// What the mirrored transaction's inodes are numbered by.
    pub(super) key: Option<TransactionId>,
    pub(super) nodes: HashMap<NodeId, Node>,
    pub(super) next_node: u64,
    next_file: u64,
}

/// What memory knows of a name.
pub(super) enum Known {
    Node(NodeId),
    Absent,
    /// Only the base can tell, at this path.
    InBase(TreePath),
}

impl State {
    pub(super) fn new(base: Tree, started: Started, staging: Arc<Staging>, at: Timestamp) -> Self {
        let body = Body::Dir(Dir { base: Some(TreePath::root()), ..Dir::default() });
        let mut root = Node::new(body, 0o755, at, (NodeId::ROOT, "".into()));
        root.places.clear();
        root.lookups = 1;
        let nodes = HashMap::from([(NodeId::ROOT, root)]);
        Self {
            started,
            base,
            standing: Standing::Open,
            generation: 0,
            journal: None,
            lost_power: false,
            staging,
            unsynced: Vec::new(),
            synced: 0,
            durable_files: 0,
            removed: Vec::new(),
            removed_small: Vec::new(),
            unrefreshed: Vec::new(),
            refreshed: Vec::new(),
            unkept: None,
            committing: None,
            mirror: None,
            marks: Marks::default(),
            key: None,
            nodes,
            next_node: 2,
            next_file: 1,
        }
    }

    pub(super) fn node(&self, id: NodeId) -> Result<&Node, VfsError> {
        self.nodes.get(&id).ok_or(VfsError::Stale)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, VfsError> {
        self.mark(id);
        self.nodes.get_mut(&id).ok_or(VfsError::Stale)
    }

    /// Counts `count` lookups more of `id`, if it is there.
    pub(super) fn look_up(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups += count;
        }
    }

    /// The files with staged content that have a name, and one name of each.
    /// Costs what was changed.
    pub(super) fn staged_paths(&self) -> Result<Vec<(NodeId, TreePath)>, VfsError> {
        let mut found = Vec::new();
        let mut dirs = vec![(NodeId::ROOT, TreePath::root())];
        while let Some((dir, path)) = dirs.pop() {
            for (name, over) in &self.dir(dir)?.overrides {
                let Some(id) = over.node else { continue };
                let node = self.node(id)?;
                match &node.body {
                    Body::Dir(_) => dirs.push((id, path.join(name)?)),
                    Body::File(Data::Small(_) | Data::Staged(_)) if is_first(node, dir, name) => {
                        found.push((id, path.join(name)?));
                    }
                    Body::File(_) | Body::Symlink(_) => {}
                }
            }
        }
        Ok(found)
    }

    /// Makes `base`, which holds everything there is, the base. Costs what was
    /// changed, and what is known below moved directories.
    pub(super) fn settle(&mut self, base: Tree) -> Result<(), VfsError> {
        let mut settled = Vec::new();
        let mut next = vec![(NodeId::ROOT, TreePath::root())];
        while let Some((id, path)) = next.pop() {
            for (name, child) in self.settle_node(id, path.clone())? {
                if self.node(child)?.is_dir() || is_first(self.node(child)?, id, &name) {
                    next.push((child, path.join(&name)?));
                }
            }
            settled.push(id);
        }
        self.base = base;
        self.standing = Standing::Open;
        self.generation += 1;
        self.split_links(&settled)?;
        // What is below a directory goes before it.
        settled.into_iter().rev().for_each(|id| self.prune(id));
        Ok(())
    }

    /// Makes `id` what the base has at `path`; answers what is to follow below.
    fn settle_node(
        &mut self,
        id: NodeId,
        path: TreePath,
    ) -> Result<Vec<(Arc<str>, NodeId)>, VfsError> {
        self.note(Mirrored::Cleared(id.0));
        let node = self.node_mut(id)?;
        (node.changed, node.origin, node.copied) = (false, Some(path.clone()), None);
        node.attributes.clear();
        let Body::Dir(dir) = &mut node.body else { return Ok(Vec::new()) };
        // What is known of a directory that moved has moved with it.
        let moved = dir.base.as_ref() != Some(&path);
        dir.base = Some(path);
        let clean = dir.clean.iter().filter(|_| moved);
        let mut below: Vec<_> = clean.map(|(name, id)| (Arc::clone(name), *id)).collect();
        let entries = std::mem::take(&mut dir.overrides);
        let kept = entries.into_iter().filter_map(|(name, over)| Some((name, over.node?)));
        for (name, child) in kept {
            dir.clean.insert(Arc::clone(&name), child);
            below.push((name, child));
        }
        Ok(below)
    }

    /// Leaves every file one name that it is known by: once committed, hard
    /// links are files of their own, also where the base has had the same.
    fn split_links(&mut self, settled: &[NodeId]) -> Result<(), VfsError> {
        for id in settled {
            let places = &mut self.node_mut(*id)?.places;
            if places.len() < 2 {
                continue;
            }
            let others = places.split_off(1);
            let kept = places.first().cloned();
            let kept = kept.map(|(parent, name)| Refreshed { parent, name, node: Some(*id) });
            self.refreshed.extend(kept);
            for (parent, name) in others {
                self.node_mut(parent)?.dir_mut()?.clean.remove(&name);
                self.refreshed.push(Refreshed { parent, name, node: None });
            }
        }
        Ok(())
    }

    /// Whether there may be changes. Costs nothing.
    pub(super) fn is_touched(&self) -> Result<bool, VfsError> {
        Ok(!self.dir(NodeId::ROOT)?.overrides.is_empty())
    }

    pub(super) fn nodes_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Node)> {
        self.nodes.iter_mut()
    }

    pub(super) fn dir(&self, id: NodeId) -> Result<&Dir, VfsError> {
        self.node(id)?.dir()
    }

    /// What is known of `name` in `dir`.
    pub(super) fn known(&self, dir: NodeId, name: &str) -> Result<Known, VfsError> {
        let dir = self.dir(dir)?;
        if let Some(over) = dir.overrides.get(name) {
            return Ok(over.node.map_or(Known::Absent, Known::Node));
        }
        Ok(match (dir.clean.get(name), &dir.base) {
            (Some(id), _) => Known::Node(*id),
            // The directory may have moved, and have room for longer names now.
            (None, Some(base)) if name.len() <= NAME_MAX => {
                base.join(name).map_or(Known::Absent, Known::InBase)
            }
            (None, Some(_)) => return Err(VfsError::NameTooLong),
            (None, None) => Known::Absent,
        })
    }

    /// Adds the node of a base entry that was not known yet.
    pub(super) fn add_base(
        &mut self,
        dir: NodeId,
        name: &str,
        path: TreePath,
        entry: Entry,
    ) -> Result<NodeId, VfsError> {
        let name: Arc<str> = name.into();
        let id = self.add(Node::of_base(entry, path, (dir, Arc::clone(&name))));
        self.node_mut(dir)?.dir_mut()?.clean.insert(name, id);
        Ok(id)
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, node);
        self.mark(id);
        id
    }

    /// The number that the next staged file gets.
    pub(super) fn next_file(&self) -> u64 {
        self.next_file
    }

    /// A number for a new staged file.
    pub(super) fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// Keeps `file` from being handed out again.
    pub(super) fn used_file(&mut self, file: u64) {
        self.next_file = self.next_file.max(file + 1);
    }

    /// The path of a node; `None` when it has been removed.
    pub(super) fn path(&self, id: NodeId) -> Result<Option<TreePath>, VfsError> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let Some((parent, name)) = self.node(at)?.places.first() else { return Ok(None) };
            names.push(Arc::clone(name));
            at = *parent;
        }
        let root = TreePath::root();
        Ok(Some(names.iter().rev().try_fold(root, |path, name| path.join(name))?))
    }

    /// The path of `name` in `dir`, which must not have been removed.
    pub(super) fn child_path(&self, dir: NodeId, name: &str) -> Result<TreePath, VfsError> {
        let dir = self.path(dir)?.ok_or(VfsError::NotFound)?;
        Ok(dir.join(name)?)
    }

    /// Whether `dir` is `of` or lies below it.
    pub(super) fn is_within(&self, dir: NodeId, of: NodeId) -> Result<bool, VfsError> {
        let mut at = dir;
        while at != of {
            match self.node(at)?.places.first() {
                Some((parent, _)) => at = *parent,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Writes `record` down before what it tells is done.
    pub(super) fn log(&mut self, record: &Record) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(record))?;
        self.note_record(record);
        Ok(())
    }

    /// Makes the way from the root to `id` visible to whoever collects the
    /// changes.
    pub(super) fn touch(&mut self, id: NodeId) -> Result<(), VfsError> {
        let mut at = id;
        while let Some((parent, name)) = self.node(at)?.places.first().cloned() {
            let dir = self.node_mut(parent)?.dir_mut()?;
            if dir.clean.remove(&name).is_none() {
                break; // an override's parents are overrides
            }
            dir.overrides.insert(name, Override { hides: true, node: Some(at) });
            self.mark(at);
            at = parent;
        }
        Ok(())
    }

    /// Notes that the content of `id` changes at `at`.
    pub(super) fn modified(&mut self, id: NodeId, at: Timestamp) -> Result<(), VfsError> {
        if std::mem::take(&mut self.node_mut(id)?.timed)
            && let Some(path) = self.path(id)?
        {
            let (mode, uid, gid, mtime) = (None, None, None, Some(at));
            self.log(&Record::Attributes { path, mode, uid, gid, mtime })?;
        }
        let node = self.node_mut(id)?;
        (node.mtime, node.ctime, node.changed) = (at, at, true);
        self.touch(id)
    }

    /// Whether the base has `name`, which must be known, in `dir`.
    fn hides(&self, dir: NodeId, name: &str) -> Result<bool, VfsError> {
        let dir = self.dir(dir)?;
        let clean = || dir.clean.contains_key(name);
        Ok(dir.overrides.get(name).map_or_else(clean, |over| over.hides))
    }

    /// Adds a new node under a name that is known to be free.
    pub(super) fn create(
        &mut self,
        (dir, name): Place,
        body: Body,
        mode: u32,
        at: Timestamp,
    ) -> Result<NodeId, VfsError> {
        self.dir(dir)?;
        let mut node = Node::new(body, mode, at, (dir, Arc::clone(&name)));
        node.places.clear();
        let id = self.add(node);
        self.attach(id, (dir, name), at)?;
        Ok(id)
    }

    /// Gives `id` one more name, which is known to be free.
    pub(super) fn attach(
        &mut self,
        id: NodeId,
        (dir, name): Place,
        at: Timestamp,
    ) -> Result<(), VfsError> {
        let hides = self.hides(dir, &name)?;
        let over = Override { hides, node: Some(id) };
        self.note(Mirrored::Unhidden { dir: dir.0, name: name.to_string() });
        self.node_mut(dir)?.dir_mut()?.overrides.insert(Arc::clone(&name), over);
        let node = self.node_mut(id)?;
        node.places.push((dir, name));
        node.ctime = at;
        self.modified(dir, at)
    }

    /// Takes the name `name` in `dir` from the node that is known to have it.
    pub(super) fn detach(
        &mut self,
        id: NodeId,
        from: &Place,
        at: Timestamp,
    ) -> Result<(), VfsError> {
        let (dir, name) = from;
        let hides = self.hides(*dir, name)?;
        let entries = self.node_mut(*dir)?.dir_mut()?;
        entries.clean.remove(name);
        match hides {
            true => entries.overrides.insert(Arc::clone(name), Override { hides, node: None }),
            false => entries.overrides.remove(name),
        };
        let (dir, name) = (dir.0, name.to_string());
        self.note(match hides {
            true => Mirrored::Hidden { dir, name },
            false => Mirrored::Unhidden { dir, name },
        });
        let node = self.node_mut(id)?;
        node.places.retain(|place| place != from);
        node.ctime = at;
        self.modified(from.0, at)
    }

    /// Forgets that `id`, as in the tree `root`, is `name` in `dir`.
    pub(super) fn let_go(
        &mut self,
        id: NodeId,
        (dir, name): (NodeId, &str),
        root: Root,
    ) -> Result<(), VfsError> {
        self.node_mut(dir)?.dir_mut()?.clean.remove(name);
        self.cast_off(id, root);
        Ok(())
    }

    /// Takes back `count` lookups and drops what nobody needs any more.
    pub(super) fn forget(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.prune(id);
    }

    /// Gives up a staged file that nothing needs any more.
    pub(super) fn discard(&mut self, staged: &Arc<Staged>) {
        match staged.file < self.durable_files {
            // A journal that still speaks of it may be all that is left after
            // the loss of power.
            true => self.removed.push(Arc::clone(staged)),
            false => self.remove_later(Arc::clone(staged)),
        }
    }

    /// Gives up what only `body` needed.
    pub(super) fn discard_content(&mut self, body: Body) {
        match body {
            Body::File(Data::Staged(staged)) => self.discard(&staged),
            Body::File(Data::Small(small)) => self.removed_small.push(small),
            Body::File(Data::Base(_)) | Body::Dir(_) | Body::Symlink(_) => {}
        }
    }

    /// Drops `id` when no kernel knows it and the base tells all about it, or
    /// nothing leads to it; then its parent likewise.
    pub(super) fn prune(&mut self, id: NodeId) {
        let mut at = id;
        while let Some(parent) = self.prune_one(at) {
            at = parent;
        }
    }

    fn prune_one(&mut self, id: NodeId) -> Option<NodeId> {
        let node = self.nodes.get(&id).filter(|node| node.lookups == 0 && id != NodeId::ROOT)?;
        let Some((parent, name)) = node.places.first().cloned() else {
            if let Some(node) = self.nodes.remove(&id) {
                self.discard_content(node.body);
            }
            self.mark(id);
            return None;
        };
        let busy = node.dir().is_ok_and(|dir| !dir.clean.is_empty() || !dir.overrides.is_empty());
        let siblings = self.nodes.get_mut(&parent)?.dir_mut().ok()?;
        if busy || siblings.clean.get(&name) != Some(&id) {
            return None;
        }
        siblings.clean.remove(&name);
        self.nodes.remove(&id);
        self.mark(id);
        Some(parent)
    }
}

/// Whether the first name of `node` is `name` in `dir`.
fn is_first(node: &Node, dir: NodeId, name: &str) -> bool {
    node.places.first().is_some_and(|(parent, known)| *parent == dir && &**known == name)
}
