//! Projects and repos.

use super::{Repos, Result};
use crate::catalog::{BranchRow, ProjectRow, RepoRow};
use crate::model::{ProjectName, Repo, RepoKind};

/// A repo with what listings show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoInfo {
    /// Its row.
    pub row: RepoRow,
    /// Its branches, newest first.
    pub branches: Vec<BranchRow>,
    /// Bytes in the newest finished commit of `master`, or failing that of the
    /// newest branch.
    pub bytes: u64,
}

impl Repos {
    /// Creates a project.
    pub async fn create_project(&self, name: &ProjectName, description: &str) -> Result<()> {
        todo!()
    }

    /// Changes a project's description.
    pub async fn update_project(&self, name: &ProjectName, description: &str) -> Result<()> {
        todo!()
    }

    /// All projects by name; `default` is always there.
    pub async fn list_projects(&self) -> Result<Vec<ProjectRow>> {
        todo!()
    }

    /// One project.
    pub async fn inspect_project(&self, name: &ProjectName) -> Result<ProjectRow> {
        todo!()
    }

    /// Deletes a project; with `force` everything in it, else it must be
    /// empty. The default project stays, emptied.
    pub async fn delete_project(&self, name: &ProjectName, force: bool) -> Result<()> {
        todo!()
    }

    /// Creates a repo; with `update` one that exists gets the description.
    pub async fn create_repo(&self, repo: &Repo, description: &str, update: bool) -> Result<()> {
        todo!()
    }

    /// One repo with its branches and size.
    pub async fn inspect_repo(&self, repo: &Repo) -> Result<RepoInfo> {
        todo!()
    }

    /// Repos newest first: of one project or all, of one kind or all.
    pub async fn list_repos(
        &self,
        project: Option<&ProjectName>,
        kind: Option<RepoKind>,
    ) -> Result<Vec<RepoInfo>> {
        todo!()
    }

    /// Deletes a repo with its branches and commits. Without `force` no branch
    /// of another repo may derive from it; with `force` those lose that input.
    /// Refused while a pipeline writes it.
    pub async fn delete_repo(&self, repo: &Repo, force: bool) -> Result<()> {
        todo!()
    }
}
