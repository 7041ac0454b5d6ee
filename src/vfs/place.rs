//! What the top directory of a mount holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::VfsError;
use super::inode::Identity;
use super::transaction::TransactionView;
use super::view::PlacedView;
use crate::model::TreePath;

/// A directory directly below the top of a mount, or below a group there.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A read-only tree.
    View(Arc<PlacedView>),
    /// A transaction.
    Transaction(Arc<TransactionView>),
    /// A directory of more of these.
    Group(Arc<Group>),
}

/// Some places under a common directory.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) places: BTreeMap<Arc<str>, Place>,
}

impl Place {
    /// The identity of the place's own directory.
    pub(super) fn identity(&self) -> Identity {
        match self {
            Self::View(view) => view.directory(&TreePath::root()),
            Self::Transaction(view) => transaction_node(view, super::transaction::NodeId::ROOT),
            Self::Group(group) => Identity::of("pfs inode group v1", &[group.name.as_bytes()]),
        }
    }
}

/// The identity of a node of a transaction.
pub(super) fn transaction_node(view: &TransactionView, id: super::transaction::NodeId) -> Identity {
    let transaction = view.key();
    Identity::of("pfs inode transaction v1", &[transaction.as_bytes(), &id.0.to_le_bytes()])
}

/// The top directory of a mount.
#[async_trait]
pub(super) trait Top: Send + Sync {
    /// The place called `name`.
    async fn find(&self, name: &str) -> Result<Option<Place>, VfsError>;

    /// The names that a listing shows, in order.
    async fn names(&self) -> Result<Vec<Arc<str>>, VfsError>;

    /// The transactions in this mount.
    fn transactions(&self) -> Vec<(Arc<str>, Arc<TransactionView>)>;
}
