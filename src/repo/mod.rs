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
mod lineage;
mod pipelines;
mod projects;
mod resolve;
mod sets;
mod wait;

use std::sync::Arc;

pub use branches::CreateBranch;
pub use commits::{FinishCommit, ListCommits, OneShot, StartCommit};
pub use error::{RepoError, Result};
pub use pipelines::{FinishJob, PutPipeline};
pub use projects::RepoInfo;
pub use sets::CommitSet;
pub use wait::Subscription;

use crate::catalog::Catalog;
use crate::model::Clock;

/// All use cases on projects, repos, branches and commits. A cheap clone.
#[derive(Clone)]
pub struct Repos {
    pub(in crate::repo) catalog: Arc<dyn Catalog>,
    pub(in crate::repo) clock: Arc<dyn Clock>,
}

impl Repos {
    /// The use cases over an open catalog.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>) -> Self {
        Self { catalog, clock }
    }

    /// The catalog, for layers that keep their own rows there: the controller,
    /// mounts, secrets.
    #[must_use]
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The clock and source of ids.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}
