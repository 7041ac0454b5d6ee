//! When the base is another one: what others changed shows.

use std::sync::Arc;

use futures::StreamExt as _;

use super::node::{Body, Data, Node};
use super::state::{Known, State};
use super::{NodeId, TransactionView};
use crate::model::TreePath;
use crate::tree::{Change, Entry, EntryKind, Root, diff};
use crate::vfs::VfsError;

/// A name that a kernel may remember wrongly.
#[derive(Debug)]
pub(in crate::vfs) struct Refreshed {
    pub(in crate::vfs) parent: NodeId,
    pub(in crate::vfs) name: Arc<str>,
    /// A file whose content is another now.
    pub(in crate::vfs) node: Option<NodeId>,
}

impl TransactionView {
    /// Brings what memory knows of unchanged names up to the base. Costs what
    /// differs; on an error it can be called again.
    pub(super) async fn refresh(&self) -> Result<(), VfsError> {
        let (new, before) = {
            let state = self.lock();
            (state.base.clone(), state.unrefreshed.clone())
        };
        let mut found = Vec::new();
        // What this transaction has committed first: its files are known from
        // there.
        for from in before.iter().rev() {
            let mut changes = diff(new.nodes(), from.root(), new.root(), &TreePath::root());
            while let Some(change) = changes.next().await {
                let change = change?;
                found.extend(bring_up(&mut self.lock(), change, *from.root())?);
            }
        }
        let mut state = self.lock();
        state.refreshed.extend(found);
        state.unrefreshed.clear();
        state.mark_head();
        Ok(())
    }

    /// The names that differ since the base was another; each is told once.
    pub(in crate::vfs) fn take_refreshed(&self) -> Vec<Refreshed> {
        // A process that goes on tells of them again.
        std::mem::take(&mut self.lock().refreshed)
    }
}

/// The node at `path` as far as it is in memory.
fn known(state: &State, path: &TreePath) -> Option<NodeId> {
    path.components().try_fold(NodeId::ROOT, |dir, name| match state.known(dir, name) {
        Ok(Known::Node(id)) => Some(id),
        Ok(Known::Absent | Known::InBase(_)) | Err(_) => None,
    })
}

/// Makes what is known at the path of `change`, a difference from the tree
/// `from`, what it is now.
fn bring_up(state: &mut State, change: Change, from: Root) -> Result<Option<Refreshed>, VfsError> {
    let Some(dir) = change.path.parent() else { return Ok(None) };
    let Some(parent) = known(state, &dir) else { return Ok(None) };
    if !state.node(parent)?.is_dir() {
        // What was below a directory is gone with it.
        return Ok(None);
    }
    let name: Arc<str> = change.path.file_name().into();
    // What was changed again since the commit is ours.
    if state.dir(parent)?.overrides.contains_key(&name) {
        return Ok(None);
    }
    let id = state.dir(parent)?.clean.get(&name).copied();
    let node = match id {
        Some(id) if !replace(state.node_mut(id)?, change.new) => {
            let root = match is_from(state.node(id)?, change.old.as_ref()) {
                true => from,
                false => state.known_root(),
            };
            state.let_go(id, (parent, &name), root)?;
            None
        }
        id => id,
    };
    Ok(Some(Refreshed { parent, name, node }))
}

/// Whether `node` is as `entry` says.
fn is_from(node: &Node, entry: Option<&Entry>) -> bool {
    match (&node.body, entry.map(|entry| &entry.kind)) {
        (Body::File(Data::Base(known)), Some(EntryKind::File(content))) => known == content,
        (Body::Dir(_), Some(EntryKind::Dir)) => true,
        (Body::Dir(_) | Body::File(_) | Body::Symlink(_), _) => false,
    }
}

/// Makes `node` what `entry` says; `false` when it is something else now.
fn replace(node: &mut Node, entry: Option<Entry>) -> bool {
    let Some(Entry { kind, mode, mtime }) = entry else { return false };
    match (&mut node.body, kind) {
        (Body::Dir(_), EntryKind::Dir) => {}
        (Body::File(Data::Base(old)), EntryKind::File(new)) => *old = new,
        (Body::Symlink(old), EntryKind::Symlink(new)) if **old == *new => {}
        (Body::Dir(_) | Body::File(_) | Body::Symlink(_), _) => return false,
    }
    (node.mode, node.mtime) = (mode, mtime);
    true
}
