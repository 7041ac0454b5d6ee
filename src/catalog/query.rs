//! What to ask the catalog for.

use super::rows::{JobState, Origin, Pipeline};
use crate::model::{BranchName, ProjectName, Repo, Timestamp};

/// Which ancestor of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// So many parents back.
    Steps(u64),
    /// The one with this number; where a squash took it, the next that holds
    /// its data.
    Number(u64),
    /// The newest finished without error.
    Good,
    /// The newest finished without error at this time or before.
    GoodAt(Timestamp),
}

/// How far to follow provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One edge.
    Direct,
    /// All the way.
    All,
}

/// Which commits of a repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitQuery {
    /// The repo.
    pub repo: Repo,
    /// Only those made on this branch.
    pub branch: Option<BranchName>,
    /// Only those of this origin.
    pub origin: Option<Origin>,
    /// Only those with a greater `seq`.
    pub after: Option<u64>,
    /// Only those with a lesser `seq`.
    pub before: Option<u64>,
    /// Oldest first rather than newest first.
    pub oldest_first: bool,
    /// At most so many.
    pub limit: usize,
}

impl CommitQuery {
    /// All commits of `repo`, newest first.
    #[must_use]
    pub fn newest(repo: Repo) -> Self {
        Self {
            repo,
            branch: None,
            origin: None,
            after: None,
            before: None,
            oldest_first: false,
            limit: usize::MAX,
        }
    }
}

/// Which jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobQuery {
    /// Only those of this project.
    pub project: Option<ProjectName>,
    /// Only those of this pipeline.
    pub pipeline: Option<Pipeline>,
    /// Only those in one of these states; empty: any state.
    pub states: Vec<JobState>,
    /// Only those with a lesser `seq`.
    pub before: Option<u64>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
}
