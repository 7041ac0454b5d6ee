//! Views of datums: for each a directory with a directory for each input.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::VfsError;
use super::place::{Group, Place, Top};
use super::transaction::TransactionView;
use super::types::{InodeNo, Invalidation};
use super::view::{Filter, Owner, PlacedView, View};
use crate::model::{Timestamp, TreePath};
use crate::tree::{Nodes, Root, Tree};

/// One input of a datum: what of which tree it sees under which name.
#[derive(Debug, Clone)]
pub struct InputView {
    /// The directory's name.
    pub name: String,
    /// The tree.
    pub root: Root,
    /// The paths that are shown, with everything below them.
    pub paths: Vec<TreePath>,
    /// Whose the files are; `None` for the mount's.
    pub owner: Option<Owner>,
}

/// The datum views that are open at the moment; a cheap clone.
#[derive(Clone)]
pub struct DatumViews(Arc<Open>);

struct Open {
    nodes: Nodes,
    views: Mutex<Views>,
}

#[derive(Default)]
struct Views {
    next: u64,
    tell: Option<mpsc::Sender<Invalidation>>,
    open: BTreeMap<Arc<str>, Place>,
}

impl DatumViews {
    /// No views yet; trees are read through `nodes`.
    #[must_use]
    pub fn new(nodes: Nodes) -> Self {
        Self(Arc::new(Open { nodes, views: Mutex::default() }))
    }

    /// Opens a view of `inputs` and answers the name of its directory, which
    /// is never used again.
    #[must_use]
    pub fn open(&self, inputs: Vec<InputView>, mtime: Timestamp) -> Arc<str> {
        let mut views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.next += 1;
        let name = format!("{:08x}", views.next);
        let places = inputs.into_iter().map(|InputView { name: input, root, paths, owner }| {
            let tree = Tree::new(&self.0.nodes, root);
            let view = View { tree, filter: Filter::new(paths), commit: None, mtime, owner };
            let placed = PlacedView::pinned(format!("{name}/{input}"), view);
            (Arc::from(input), Place::View(Arc::new(placed)))
        });
        let group = Group { name: name.clone(), places: places.collect() };
        let name: Arc<str> = name.into();
        views.open.insert(Arc::clone(&name), Place::Group(Arc::new(group)));
        name
    }

    /// Closes a view; what still uses it goes on until it lets go.
    pub fn close(&self, name: &str) {
        let mut views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = views.open.remove_entry(name);
        if let (Some((name, _)), Some(tell)) = (closed, &views.tell) {
            // Only saves the kernel's memory: no name is used again.
            drop(tell.try_send(Invalidation::Entry { parent: InodeNo::ROOT, name }));
        }
    }

    /// Where to say that a view was closed.
    pub(super) fn tell(&self, tell: mpsc::Sender<Invalidation>) {
        self.0.views.lock().unwrap_or_else(PoisonError::into_inner).tell = Some(tell);
    }
}

impl std::fmt::Debug for DatumViews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatumViews").finish_non_exhaustive()
    }
}

#[async_trait]
impl Top for DatumViews {
    async fn find(&self, name: &str) -> Result<Option<Place>, VfsError> {
        let views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(views.open.get(name).cloned())
    }

    async fn names(&self) -> Result<Vec<Arc<str>>, VfsError> {
        let views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(views.open.keys().cloned().collect())
    }

    fn transactions(&self) -> Vec<(Arc<str>, Arc<TransactionView>)> {
        Vec::new()
    }
}
