//! Use cases: what commands, services and the controller ask for.
//!
//! [`Repos`] reads rows from the catalog, decides in pure functions what must
//! change, and applies that as one batch by compare-and-swap; when what was
//! read has changed meanwhile it reads again. Persisted data always comes
//! first: packs, tree nodes, commit object, then the catalog row.

mod branches;
mod commits;
mod derive;
mod error;
mod fsck;
mod graph;
mod lineage;
mod nearest;
pub mod object;
mod pipelines;
mod projects;
mod removal;
mod resolve;
mod sets;
mod triggers;
mod wait;

use std::sync::Arc;

pub use branches::CreateBranch;
pub use commits::{FinishCommit, ListCommits, OneShot, StartCommit};
pub use error::{RepoError, Result};
pub use fsck::{Fsck, FsckSummary, Problem, RebuildSummary};
pub use pipelines::{FinishJob, PutPipeline};
pub use projects::RepoInfo;
pub use sets::CommitSet;
pub use wait::Subscription;

use crate::catalog::{Catalog, CatalogError};
use crate::chunk::Blobs;
use crate::model::Clock;
use crate::store::Store;

/// All use cases on projects, repos, branches and commits. A cheap clone.
#[derive(Clone)]
pub struct Repos {
    pub(in crate::repo) catalog: Arc<dyn Catalog>,
    pub(in crate::repo) blobs: Blobs,
    pub(in crate::repo) clock: Arc<dyn Clock>,
}

impl Repos {
    /// The use cases over an open catalog and the store its commits live in.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        Self { catalog, blobs, clock }
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
