//! A writable view: a base tree, and what was changed since, kept in a
//! staging directory until it is committed.
//!
//! Names and attributes live in memory and in an append-only journal; changed
//! content lives in plain files. Both survive the death of the process at any
//! point ([`TransactionView::recover`]); what was synced survives that of the
//! machine. Nobody else sees any of it before the commit.

mod ahead;
mod attributes;
mod begin;
mod changes;
mod commit;
mod copies;
mod data;
mod depth;
pub mod directory;
mod edits;
mod ending;
mod holes;
pub mod journal;
mod mirror;
mod names;
mod node;
mod noted;
mod recover;
mod refresh;
mod reset;
mod resume;
mod small;
mod staged;
mod state;
mod stored;
mod sync;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::fcntl::Flock;
use tokio::sync::{RwLock, RwLockReadGuard};

pub use begin::begin;
pub use changes::{Change, Held, SmallFile, StagedFile, What};
pub use commit::Then;
pub use copies::Original;
pub use data::Allocate;
pub use directory::{Area, Left};
pub use mirror::Attach;
pub use node::{NodeId, Origin};
pub use noted::{Started, inspect};
pub(super) use refresh::Refreshed;
pub use resume::{Resumed, resume};

use self::mirror::Locked;
use self::staged::Staging;
use self::state::{Known, State};
use self::stored::Stored;
use super::VfsError;
use super::types::Attr;
use crate::model::{Clock, TransactionId, TreePath};
use crate::tree::Tree;

/// How many locks the copying up of files is spread over.
const COPIES: usize = 64;

/// A writable overlay over an immutable tree.
pub struct TransactionView {
    /// What its inodes are numbered by; stays when the transaction is followed
    /// by another.
    key: TransactionId,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Holds the staging directory.
    held: Mutex<Option<Flock<File>>>,
    tell_held: OnceLock<TellHeld>,
    /// Held for reading by every change, for writing while sealed.
    seal: RwLock<Seal>,
    /// What the next commit need not store. Held while one is under way.
    stored: tokio::sync::Mutex<Stored>,
    copying: [tokio::sync::Mutex<()>; COPIES],
    /// Held while anything is made durable: who comes later waits for it and
    /// finds it done.
    syncing: tokio::sync::Mutex<()>,
}

/// Hears by what a staging directory is held.
type TellHeld = Box<dyn Fn(&File) + Send + Sync>;

/// Whether a transaction takes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    Open,
    Closed,
    /// Not before it is known what the last commit has become.
    Unsettled,
}

/// Where a transaction stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Open,
    Unsettled(String),
    Conflict(String),
    /// Given up, without another that goes on.
    Aborted(String),
}

impl std::fmt::Debug for TransactionView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionView").field("started", &self.started()).finish_non_exhaustive()
    }
}

/// Keeps a node in memory; worth one lookup.
struct Pin<'a> {
    view: &'a TransactionView,
    id: NodeId,
}

impl Pin<'_> {
    /// Makes the pin a lookup that the kernel takes back.
    fn keep(self) -> NodeId {
        let id = self.id;
        std::mem::forget(self);
        id
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.view.lock().forget(self.id, 1);
    }
}

impl TransactionView {
    fn assemble(clock: Arc<dyn Clock>, lock: Flock<File>, state: State) -> Self {
        let copying = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let (seal, syncing) = (RwLock::new(Seal::Open), tokio::sync::Mutex::default());
        let stored = tokio::sync::Mutex::default();
        let (key, held) = (state.started.id, Mutex::new(Some(lock)));
        let (state, tell_held) = (Mutex::new(state), OnceLock::new());
        Self { key, clock, state, held, tell_held, seal, stored, copying, syncing }
    }

    /// What the transaction is about now, relative to its last commit.
    #[must_use]
    pub fn started(&self) -> Started {
        self.lock().started.clone()
    }

    /// What the inodes of this view are numbered by.
    #[must_use]
    pub fn key(&self) -> TransactionId {
        self.key
    }

    fn staging(&self) -> Arc<Staging> {
        Arc::clone(&self.lock().staging)
    }

    /// The tree the changes are relative to.
    #[must_use]
    pub fn base(&self) -> Tree {
        self.lock().base.clone()
    }

    /// What stat tells of `id`, under a number that the caller decides.
    pub fn attr(&self, id: NodeId) -> Result<Attr, VfsError> {
        Ok(self.lock().node(id)?.attr())
    }

    /// The target of a symlink.
    pub fn readlink(&self, id: NodeId) -> Result<Arc<str>, VfsError> {
        match &self.lock().node(id)?.body {
            node::Body::Symlink(target) => Ok(Arc::clone(target)),
            node::Body::File(_) | node::Body::Dir(_) => Err(VfsError::Invalid("not a symlink")),
        }
    }

    /// The path of `id`; `None` when it has been removed.
    pub(in crate::vfs) fn path_of(&self, id: NodeId) -> Option<TreePath> {
        self.lock().path(id).ok().flatten()
    }

    /// Takes back `count` lookups.
    pub fn forget(&self, id: NodeId, count: u64) {
        self.lock().forget(id, count);
    }

    fn lock(&self) -> Locked<'_> {
        Locked(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits while a commit is under way; fails once the transaction is over.
    async fn writable(&self) -> Result<RwLockReadGuard<'_, Seal>, VfsError> {
        let seal = self.seal.read().await;
        match *seal {
            Seal::Open => Ok(seal),
            Seal::Closed => Err(VfsError::ReadOnly),
            Seal::Unsettled => Err(VfsError::Unavailable(
                "the last commit may have gone through; commit again to find out".into(),
            )),
        }
    }

    fn pinned(&self, state: &mut State, id: NodeId) -> Result<Pin<'_>, VfsError> {
        state.node(id)?;
        state.look_up(id, 1);
        Ok(Pin { view: self, id })
    }

    /// The node `name` in `dir`, kept in memory; `None` when there is none.
    async fn pin(&self, dir: NodeId, name: &str) -> Result<Option<Pin<'_>>, VfsError> {
        loop {
            let (base, path, generation) = {
                let mut state = self.lock();
                match state.known(dir, name)? {
                    Known::Node(id) => return self.pinned(&mut state, id).map(Some),
                    Known::Absent => return Ok(None),
                    Known::InBase(path) => (state.base.clone(), path, state.generation),
                }
            };
            let entry = base.get(&path).await?;
            let mut state = self.lock();
            if state.generation != generation {
                continue;
            }
            // Somebody else may have been faster.
            let id = match (state.known(dir, name)?, entry) {
                (Known::Node(id), _) => id,
                (Known::InBase(path), Some(entry)) => state.add_base(dir, name, path, entry)?,
                (Known::Absent, _) | (Known::InBase(_), None) => return Ok(None),
            };
            return self.pinned(&mut state, id).map(Some);
        }
    }
}
