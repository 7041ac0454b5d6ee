//! Composite keys: repo, branch, commit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BranchName, CommitId, PipelineName, ProjectName, RepoName};

/// What a repo is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepoKind {
    /// Data, put by users or written by a pipeline.
    User,
    /// The specs of one pipeline, a commit per version.
    Spec,
    /// Datum records and logs of one pipeline, a commit per job.
    Meta,
}

impl RepoKind {
    /// The kind as the API and the catalog spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Spec => "spec",
            Self::Meta => "meta",
        }
    }
}

/// A repo: project, name and kind together are unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Repo {
    /// The project the repo lives in.
    pub project: ProjectName,
    /// Its name there.
    pub name: RepoName,
    /// What it is for.
    pub kind: RepoKind,
}

impl Repo {
    /// The user repo `name` of `project`.
    #[must_use]
    pub fn user(project: ProjectName, name: RepoName) -> Self {
        Self { project, name, kind: RepoKind::User }
    }

    /// The repo of `kind` that belongs to a pipeline.
    #[must_use]
    pub fn of_pipeline(project: &ProjectName, pipeline: &PipelineName, kind: RepoKind) -> Self {
        Self { project: project.clone(), name: pipeline.repo_name(), kind }
    }

    /// The branch `name` of this repo.
    #[must_use]
    pub fn branch(&self, name: BranchName) -> Branch {
        Branch { repo: self.clone(), name }
    }

    /// The commit `id` of this repo.
    #[must_use]
    pub fn commit(&self, id: CommitId) -> Commit {
        Commit { repo: self.clone(), id }
    }
}

impl fmt::Display for Repo {
    /// `name`, `project/name` outside the default project, `.kind` appended
    /// for system repos.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.project.is_default() {
            write!(f, "{}/", self.project)?;
        }
        write!(f, "{}", self.name)?;
        match self.kind {
            RepoKind::User => Ok(()),
            RepoKind::Spec | RepoKind::Meta => write!(f, ".{}", self.kind.as_str()),
        }
    }
}

/// A branch of a repo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Branch {
    /// The repo.
    pub repo: Repo,
    /// The branch within it.
    pub name: BranchName,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.name)
    }
}

/// A commit of a repo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// The repo.
    pub repo: Repo,
    /// The commit within it; commits of one set share it across repos.
    pub id: CommitId,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.id)
    }
}
