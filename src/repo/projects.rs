//! Projects and repos.

use super::nearest::{nearest, nearest_name};
use super::{Attempts, RepoError, Repos, Result};
use crate::catalog::{Back, BranchRow, Op, ProjectRow, RepoRow};
use crate::model::{BranchName, ProjectName, Repo, RepoKind};

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

/// The key of the setting that holds what specs in a project leave out; it
/// goes with the project.
#[must_use]
pub fn project_defaults_key(project: &ProjectName) -> String {
    format!("defaults/project/{project}")
}

impl Repos {
    /// Creates a project.
    pub async fn create_project(&self, name: &ProjectName, description: &str) -> Result<()> {
        let exists = || RepoError::Exists { kind: "project", name: name.to_string() };
        if self.catalog.project(name).await?.is_some() || name.is_default() {
            return Err(exists());
        }
        match self.catalog.apply(vec![Op::CreateProject(self.new_project(name, description))]).await
        {
            Ok(()) => Ok(()),
            Err(e) => Attempts::new().again(e).and(Err(exists())),
        }
    }

    fn new_project(&self, name: &ProjectName, description: &str) -> ProjectRow {
        let created = self.clock.now();
        ProjectRow { name: name.clone(), description: description.to_owned(), created }
    }

    /// Creates the default project where it is missing.
    pub(super) async fn ensure_default_project(&self) -> Result<()> {
        let name = ProjectName::default_project();
        if self.catalog.project(&name).await?.is_some() {
            return Ok(());
        }
        match self.catalog.apply(vec![Op::CreateProject(self.new_project(&name, ""))]).await {
            Ok(()) => Ok(()),
            // Somebody else has just created it.
            Err(e) => Attempts::new().again(e),
        }
    }

    /// Changes a project's description.
    pub async fn update_project(&self, name: &ProjectName, description: &str) -> Result<()> {
        self.inspect_project(name).await?;
        let description = description.to_owned();
        let op = Op::DescribeProject { name: name.clone(), description };
        Ok(self.catalog.apply(vec![op]).await?)
    }

    /// All projects by name; `default` is always there.
    pub async fn list_projects(&self) -> Result<Vec<ProjectRow>> {
        self.ensure_default_project().await?;
        Ok(self.catalog.projects().await?)
    }

    /// One project.
    pub async fn inspect_project(&self, name: &ProjectName) -> Result<ProjectRow> {
        if name.is_default() {
            self.ensure_default_project().await?;
        }
        if let Some(row) = self.catalog.project(name).await? {
            return Ok(row);
        }
        let known = self.catalog.projects().await?;
        let nearest = nearest(name.as_str(), known.iter().map(|row| row.name.as_str()));
        Err(RepoError::NotFound { kind: "project", name: name.to_string(), nearest })
    }

    /// Deletes a project; with `force` everything in it, else it must be
    /// empty. The default project stays, emptied. Not atomic: what a failure
    /// interrupts can be repeated.
    pub async fn delete_project(&self, name: &ProjectName, force: bool) -> Result<()> {
        self.inspect_project(name).await?;
        let holds_something = !self.catalog.repos(Some(name)).await?.is_empty();
        if holds_something && !force {
            let what = format!("project {name} still holds repos");
            return Err(RepoError::refused(what, "delete them first, or all with -f (--force)"));
        }
        for pipeline in self.catalog.pipelines(Some(name)).await? {
            self.delete_pipeline(&pipeline.pipeline, true, false).await?;
        }
        for row in self.catalog.repos(Some(name)).await? {
            self.delete_repo(&row.repo, true).await?;
        }
        let mut ops = vec![Op::DeleteSetting(project_defaults_key(name))];
        if !name.is_default() {
            ops.push(Op::DeleteProject(name.clone()));
        }
        Ok(self.catalog.apply(ops).await?)
    }

    /// Creates a repo; with `update` one that exists gets the description.
    pub async fn create_repo(&self, repo: &Repo, description: &str, update: bool) -> Result<()> {
        self.inspect_project(&repo.project).await?;
        let mut attempts = Attempts::new();
        loop {
            let exists = self.catalog.repo(repo).await?.is_some();
            let description = description.to_owned();
            let op = match (exists, update) {
                (true, false) => {
                    return Err(RepoError::Exists { kind: "repo", name: repo.to_string() });
                }
                (true, true) => Op::DescribeRepo { repo: repo.clone(), description },
                (false, _) => Op::CreateRepo(self.new_repo(repo, description)),
            };
            match self.catalog.apply(vec![op]).await {
                Ok(()) => return Ok(()),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    pub(super) fn new_repo(&self, repo: &Repo, description: String) -> RepoRow {
        RepoRow { repo: repo.clone(), description, created: self.clock.now() }
    }

    /// One repo with its branches and size.
    pub async fn inspect_repo(&self, repo: &Repo) -> Result<RepoInfo> {
        let row = self.repo_row(repo).await?;
        self.repo_info(row).await
    }

    /// The row of a repo that must exist.
    pub(super) async fn repo_row(&self, repo: &Repo) -> Result<RepoRow> {
        if let Some(row) = self.catalog.repo(repo).await? {
            return Ok(row);
        }
        self.inspect_project(&repo.project).await?;
        let known = self.catalog.repos(None).await?;
        let same_kind = known.into_iter().map(|row| row.repo).filter(|o| o.kind == repo.kind);
        let known: Vec<_> = same_kind.map(|other| (other.project, other.name)).collect();
        let known = known.iter().map(|(project, name)| (project, name.as_str()));
        let nearest = nearest_name((&repo.project, repo.name.as_str()), known);
        Err(RepoError::NotFound { kind: "repo", name: repo.to_string(), nearest })
    }

    async fn repo_info(&self, row: RepoRow) -> Result<RepoInfo> {
        let branches = self.catalog.branches(&row.repo).await?;
        let master = BranchName::master();
        let shown = branches.iter().find(|b| b.branch.name == master).or(branches.first());
        let bytes = match shown.and_then(|branch| branch.head) {
            Some(head) => {
                let good = self.catalog.ancestor(&row.repo.commit(head), Back::Good).await?;
                good.map_or(0, |commit| commit.root.bytes)
            }
            None => 0,
        };
        Ok(RepoInfo { row, branches, bytes })
    }

    /// Repos newest first: of one project or all, of one kind or all.
    pub async fn list_repos(
        &self,
        project: Option<&ProjectName>,
        kind: Option<RepoKind>,
    ) -> Result<Vec<RepoInfo>> {
        if let Some(project) = project {
            self.inspect_project(project).await?;
        }
        let mut infos = Vec::new();
        for row in self.catalog.repos(project).await? {
            if kind.is_none_or(|kind| kind == row.repo.kind) {
                infos.push(self.repo_info(row).await?);
            }
        }
        Ok(infos)
    }

    /// Deletes a repo with its branches and commits. Without `force` no branch
    /// of another repo may derive from it; with `force` those lose that input.
    /// Refused while a pipeline writes it.
    pub async fn delete_repo(&self, repo: &Repo, force: bool) -> Result<()> {
        let _removing = self.removing.lock().await;
        let mut attempts = Attempts::new();
        loop {
            self.repo_row(repo).await?;
            if let Some(pipeline) = self.pipeline_named_as(repo).await? {
                let what = format!("repo {repo} belongs to pipeline {}", pipeline.pipeline);
                return Err(RepoError::refused(what, "delete the pipeline instead"));
            }
            let mut ops = self.detach_repo(repo, force).await?;
            let commits = self.commits_of(repo).await?;
            ops.extend(commits.guards);
            ops.push(Op::DeleteRepo(repo.clone()));
            if self.together.is_none() {
                ops.push(self.note_removal(&commits.all).await?);
            }
            match (self.catalog.apply(ops).await, &self.together) {
                (Ok(()), None) => return self.delete_objects().await,
                (Ok(()), Some(gathering)) => {
                    gathering.forget(commits.all);
                    return Ok(());
                }
                (Err(e), _) => attempts.again(e)?,
            }
        }
    }

    /// Takes a repo's branches out of the provenance of all others.
    pub(super) async fn detach_repo(&self, repo: &Repo, force: bool) -> Result<Vec<Op>> {
        let branches = self.catalog.branches(repo).await?;
        let branches: Vec<_> = branches.into_iter().map(|row| row.branch).collect();
        let mut ops = Vec::new();
        for row in self.catalog.downstream(&branches).await? {
            let mut new = row.provenance.clone();
            new.retain(|upstream| upstream.repo != *repo);
            if row.branch.repo == *repo || new == row.provenance {
                continue;
            }
            if !force {
                let what = format!("branch {} derives from repo {repo}", row.branch);
                return Err(RepoError::refused(what, self.remedy_for(&row.branch).await?));
            }
            ops.push(Op::SetProvenance { branch: row.branch, expected: row.provenance, new });
        }
        Ok(ops)
    }
}
