//! What is pending over what is there: projects, repos, branches, pipelines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{
    BranchRow, Catalog, CommitRow, Op, Pipeline, PipelineRow, ProjectRow, RepoRow, Result,
};
use crate::model::{Branch, Commit, ProjectName, Repo};

/// Rows that differ from those of the catalog below; `None` for those that
/// will be gone.
#[derive(Clone)]
pub struct Rows {
    pub base: Arc<dyn Catalog>,
    /// The wiring before anything was read.
    pub wiring: u64,
    /// The writes, in order.
    pub ops: Vec<Op>,
    pub projects: BTreeMap<ProjectName, ProjectRow>,
    pub repos: BTreeMap<Repo, Option<RepoRow>>,
    /// Repos of which nothing below counts any more.
    pub emptied: BTreeSet<Repo>,
    pub branches: BTreeMap<Branch, Option<BranchRow>>,
    pub commits: BTreeMap<Commit, CommitRow>,
    pub pipelines: BTreeMap<Pipeline, PipelineRow>,
}

impl Rows {
    pub fn new(base: Arc<dyn Catalog>, wiring: u64) -> Self {
        Self {
            base,
            wiring,
            ops: Vec::new(),
            projects: BTreeMap::new(),
            repos: BTreeMap::new(),
            emptied: BTreeSet::new(),
            branches: BTreeMap::new(),
            commits: BTreeMap::new(),
            pipelines: BTreeMap::new(),
        }
    }

    pub async fn projects(&self) -> Result<Vec<ProjectRow>> {
        let there = self.base.projects().await?.into_iter().map(|row| (row.name.clone(), row));
        let mut rows: BTreeMap<_, _> = there.collect();
        rows.extend(self.projects.clone());
        Ok(rows.into_values().collect())
    }

    pub async fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>> {
        match self.projects.get(name) {
            Some(row) => Ok(Some(row.clone())),
            None => self.base.project(name).await,
        }
    }

    pub async fn repos(&self, project: Option<&ProjectName>) -> Result<Vec<RepoRow>> {
        let within = |row: &&RepoRow| project.is_none_or(|project| row.repo.project == *project);
        let mut known = BTreeSet::new();
        let mut rows = Vec::new();
        for row in self.base.repos(project).await? {
            known.insert(row.repo.clone());
            match self.repos.get(&row.repo) {
                Some(changed) => rows.extend(changed.clone()),
                None => rows.push(row),
            }
        }
        let fresh = self.repos.iter().filter(|(repo, _)| !known.contains(repo));
        let fresh = fresh.filter_map(|(_, row)| row.as_ref()).filter(within).cloned();
        Ok(fresh.chain(rows).collect())
    }

    pub async fn repo(&self, repo: &Repo) -> Result<Option<RepoRow>> {
        match self.repos.get(repo) {
            Some(row) => Ok(row.clone()),
            None => self.base.repo(repo).await,
        }
    }

    pub async fn branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        let below = match self.emptied.contains(repo) {
            true => Vec::new(),
            false => self.base.branches(repo).await?,
        };
        let known: BTreeSet<_> = below.iter().map(|row| row.branch.clone()).collect();
        let fresh = self.branches.values().flatten();
        let fresh = fresh.filter(|row| row.branch.repo == *repo && !known.contains(&row.branch));
        let mut rows: Vec<_> = fresh.cloned().collect();
        rows.extend(below.into_iter().filter_map(|row| self.changed(row)));
        Ok(rows)
    }

    /// A branch of the catalog below as it will be.
    fn changed(&self, row: BranchRow) -> Option<BranchRow> {
        match self.branches.get(&row.branch) {
            Some(changed) => changed.clone(),
            None if self.emptied.contains(&row.branch.repo) => None,
            None => Some(row),
        }
    }

    pub async fn branch(&self, branch: &Branch) -> Result<Option<BranchRow>> {
        match self.branches.get(branch) {
            Some(row) => Ok(row.clone()),
            None if self.emptied.contains(&branch.repo) => Ok(None),
            None => self.base.branch(branch).await,
        }
    }

    pub async fn downstream(&self, branches: &[Branch]) -> Result<Vec<BranchRow>> {
        // Whatever derives from a pending branch may derive from these, too.
        let mut roots = branches.to_vec();
        roots.extend(self.branches.keys().cloned());
        let below = self.base.downstream(&roots).await?.into_iter();
        let below = below.filter_map(|row| self.changed(row));
        let pending = self.branches.values().flatten().cloned();
        let rows = below.chain(pending).map(|row| (row.branch.clone(), row));
        let mut rows: BTreeMap<_, _> = rows.collect();
        let mut reached: BTreeSet<_> = branches.iter().cloned().collect();
        let mut found = Vec::new();
        loop {
            let derives = |row: &BranchRow| row.provenance.iter().any(|up| reached.contains(up));
            let next: Vec<_> =
                rows.values().filter(|row| derives(row)).map(|row| row.branch.clone()).collect();
            if next.is_empty() {
                return Ok(found);
            }
            for branch in next {
                let fresh = reached.insert(branch.clone());
                found.extend(rows.remove(&branch).filter(|_| fresh));
            }
        }
    }

    pub async fn pipelines(&self, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>> {
        let within = |p: &Pipeline| project.is_none_or(|project| p.project == *project);
        let below = self.base.pipelines(project).await?;
        let known: BTreeSet<_> = below.iter().map(|row| row.pipeline.clone()).collect();
        let fresh = self.pipelines.iter().filter(|(p, _)| within(p) && !known.contains(p));
        let mut rows: Vec<_> = fresh.map(|(_, row)| row.clone()).collect();
        let now = |row: PipelineRow| self.pipelines.get(&row.pipeline).cloned().unwrap_or(row);
        rows.extend(below.into_iter().map(now));
        Ok(rows)
    }

    pub async fn pipeline(&self, pipeline: &Pipeline) -> Result<Option<PipelineRow>> {
        match self.pipelines.get(pipeline) {
            Some(row) => Ok(Some(row.clone())),
            None => self.base.pipeline(pipeline).await,
        }
    }

    pub async fn pipeline_versions(&self, pipeline: &Pipeline) -> Result<Vec<PipelineRow>> {
        let mut rows: Vec<_> = self.pipelines.get(pipeline).cloned().into_iter().collect();
        rows.extend(self.base.pipeline_versions(pipeline).await?);
        rows.dedup_by_key(|row| row.version);
        Ok(rows)
    }
}
