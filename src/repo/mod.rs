//! Use cases: what commands, services and the controller ask for.
//!
//! [`Repos`] reads rows from the catalog, decides in pure functions what must
//! change, and applies that as one batch by compare-and-swap; when what was
//! read has changed meanwhile it reads again. Persisted data always comes
//! first: packs, tree nodes, commit object, then the catalog row.

mod branches;
mod commits;
mod deletion;
mod derive;
mod error;
mod file_sets;
mod files;
mod fsck;
mod graph;
mod lineage;
mod nearest;
pub mod object;
mod pipelines;
mod projects;
mod removal;
mod resolve;
mod retention;
mod sets;
mod together;
mod transactions;
mod triggers;
mod wait;

use std::sync::Arc;

pub use branches::CreateBranch;
pub use commits::{FinishCommit, ListCommits, OneShot, StartCommit};
pub use error::{RepoError, Result};
pub use file_sets::{FileRange, FileSetLimits, file_sets_repo};
pub use files::{
    ChangeNote, DiffSide, Fetch, FileChange, FileChanges, FileInfo, FileStream, NewFile,
    file_name_of_url,
};
pub use fsck::{Fsck, FsckSummary, Problem, RebuildSummary};
pub use pipelines::{FinishJob, PutPipeline};
pub use projects::{RepoInfo, project_defaults_key};
pub use retention::Events;
pub use sets::CommitSet;
pub use together::Together;
pub use transactions::{
    Base, COMMITTED_KEPT, OpenTransaction, StageError, Swept, TransactionFilter, UNCOMMITTED_KEPT,
};
pub use wait::Subscription;

use crate::catalog::{Catalog, CatalogError};
use crate::chunk::Blobs;
use crate::model::Clock;
use crate::store::Store;
use crate::tree::{NodeCache, Nodes};

/// All use cases on projects, repos, branches and commits. A cheap clone.
#[derive(Clone)]
pub struct Repos {
    pub(in crate::repo) catalog: Arc<dyn Catalog>,
    pub(in crate::repo) blobs: Blobs,
    pub(in crate::repo) clock: Arc<dyn Clock>,
    pub(in crate::repo) nodes: Nodes,
    /// Held while the object of a finished commit is written anew with its row.
    pub(in crate::repo) rewriting: Arc<tokio::sync::Mutex<()>>,
    /// Held while commits and then their objects are removed.
    pub(in crate::repo) removing: Arc<tokio::sync::Mutex<()>>,
    /// Where what is planned is gathered, when it is not to happen at once.
    together: Option<Arc<together::Gathering>>,
}

/// Bytes of decoded tree nodes kept in memory.
const NODE_CACHE: usize = 48 << 20;

impl Repos {
    /// The use cases over an open catalog and the store its commits live in.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        let nodes = Nodes::new(blobs.clone(), NodeCache::new(NODE_CACHE));
        Self {
            catalog,
            blobs,
            clock,
            nodes,
            rewriting: Arc::default(),
            removing: Arc::default(),
            together: None,
        }
    }

    /// The catalog, for layers that keep their own rows there: the controller,
    /// mounts, secrets.
    #[must_use]
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The blobs that trees and files are made of.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The nodes of trees, with the cache before them.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The object store below.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.blobs.store()
    }

    /// The clock and source of ids.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

/// Counts how often a plan met a conflict: each means that somebody else got
/// on, so many in a row mean that something is wrong.
struct Attempts(u32);

impl Attempts {
    const MOST: u32 = 100;

    const fn new() -> Self {
        Self(0)
    }

    /// Whether to read and plan again after `error`; anything but a conflict,
    /// or one too many, is the answer.
    fn again(&mut self, error: CatalogError) -> Result<()> {
        let CatalogError::Conflict { what } = error else { return Err(error.into()) };
        self.0 += 1;
        match self.0 < Self::MOST {
            true => Ok(()),
            false => Err(RepoError::Busy { attempts: self.0, what }),
        }
    }
}

#[cfg(test)]
mod tests;
