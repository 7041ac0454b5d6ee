//! A catalog from what the store alone knows.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;

use super::Problem;
use crate::catalog::{BranchRow, CommitRow, Op, ProjectRow, RepoRow};
use crate::model::{Branch, Commit, CommitId, Timestamp};
use crate::repo::{RepoError, Repos, Result, object};

/// Operations in one batch.
const BATCH: usize = 500;

/// What was rebuilt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RebuildSummary {
    /// Repos.
    pub repos: u64,
    /// Branches.
    pub branches: u64,
    /// Commits.
    pub commits: u64,
    /// Objects that could not be used.
    pub problems: u64,
}

/// What the order of commits depends on.
struct Link {
    started: Timestamp,
    finished: Timestamp,
    branch: Option<Branch>,
    before: Vec<Commit>,
}

impl Repos {
    /// Fills an empty catalog from the commit objects of the store: projects,
    /// repos, commits with parents and provenance, and branches, each at the
    /// newest commit made on it.
    ///
    /// Lost is what no commit tells: empty repos, descriptions of repos,
    /// moved heads, open commits, pipelines (their specs are in the spec
    /// repos), jobs, secrets. Memory grows with the number of commits, by a
    /// few hundred bytes each. Refused when the catalog holds repos.
    pub async fn rebuild(&self, mut tell: impl FnMut(&Problem) + Send) -> Result<RebuildSummary> {
        if !self.catalog.repos(None).await?.is_empty() {
            let what = "the catalog is not empty";
            return Err(RepoError::refused(what, "move it away, then rebuild"));
        }
        self.ensure_default_project().await?;
        let mut summary = RebuildSummary::default();
        let links = self.read_links(&mut summary, &mut tell).await?;
        summary.repos = self.rebuild_repos(&links).await?;
        let order = in_order(&links);
        for left_out in links.keys().filter(|commit| !order.contains_key(*commit)) {
            summary.problems += 1;
            let what = "it is among its own ancestors".to_owned();
            tell(&Problem::Object { commit: left_out.clone(), what });
        }
        summary.commits = self.rebuild_commits(&links, &order).await?;
        summary.branches = self.rebuild_branches(&links, &order).await?;
        Ok(summary)
    }

    /// Whether the catalog is empty though the store holds commits.
    pub(super) async fn is_rebuildable(&self) -> Result<bool> {
        if !self.catalog.repos(None).await?.is_empty() {
            return Ok(false);
        }
        let mut objects = self.store().list(object::ALL);
        Ok(objects.try_next().await?.is_some())
    }

    async fn read_links(
        &self,
        summary: &mut RebuildSummary,
        tell: &mut (impl FnMut(&Problem) + Send),
    ) -> Result<BTreeMap<Commit, Link>> {
        let mut links = BTreeMap::new();
        let mut objects = self.store().list(object::ALL);
        while let Some(info) = objects.try_next().await? {
            let problem = match object::commit_of(&info.key) {
                None => Problem::Orphan { key: info.key },
                Some(commit) => match self.stored(&commit).await? {
                    Ok(row) => {
                        links.insert(commit, link(row));
                        continue;
                    }
                    Err(what) => Problem::Object { commit, what },
                },
            };
            summary.problems += 1;
            tell(&problem);
        }
        Ok(links)
    }

    /// The commit an object holds, or what is wrong with it.
    async fn stored(&self, commit: &Commit) -> Result<Result<CommitRow, String>> {
        let stored = self.store().get(&object::key(commit)).await?;
        Ok(match object::decode(&stored) {
            Err(e) => Err(e.to_string()),
            Ok(row) if row.commit != *commit => Err(format!("it is of commit {}", row.commit)),
            Ok(row) if row.is_open() => Err("its commit is open".into()),
            Ok(row) => Ok(row),
        })
    }

    async fn rebuild_repos(&self, links: &BTreeMap<Commit, Link>) -> Result<u64> {
        let repos: BTreeSet<_> = links.keys().map(|commit| commit.repo.clone()).collect();
        let projects: BTreeSet<_> = repos.iter().map(|repo| repo.project.clone()).collect();
        let (created, description) = (self.clock.now(), String::new());
        let mut ops = Vec::new();
        for name in projects.into_iter().filter(|name| !name.is_default()) {
            let description = description.clone();
            ops.push(Op::CreateProject(ProjectRow { name, description, created }));
        }
        let count = repos.len() as u64;
        for repo in repos {
            let description = description.clone();
            ops.push(Op::CreateRepo(RepoRow { repo, description, created }));
        }
        self.catalog.apply(ops).await?;
        Ok(count)
    }

    async fn rebuild_commits(
        &self,
        links: &BTreeMap<Commit, Link>,
        order: &BTreeMap<Commit, usize>,
    ) -> Result<u64> {
        let mut sorted: Vec<_> = order.iter().map(|(commit, at)| (*at, commit)).collect();
        sorted.sort_unstable();
        let known = |commit: &Commit| links.contains_key(commit);
        for page in sorted.chunks(BATCH) {
            let mut ops = Vec::new();
            for (_, commit) in page {
                let Ok(mut row) = self.stored(commit).await? else { continue };
                let parent = |id: &CommitId| known(&commit.repo.commit(*id));
                row.parent = row.parent.filter(parent);
                row.provenance.retain(known);
                ops.push(Op::CreateCommit(row));
            }
            self.catalog.apply(ops).await?;
        }
        Ok(sorted.len() as u64)
    }

    async fn rebuild_branches(
        &self,
        links: &BTreeMap<Commit, Link>,
        order: &BTreeMap<Commit, usize>,
    ) -> Result<u64> {
        let mut heads: BTreeMap<&Branch, (Timestamp, usize, CommitId)> = BTreeMap::new();
        for (commit, at) in order {
            let link = &links[commit];
            if let Some(branch) = &link.branch {
                let newest = (link.finished, *at, commit.id);
                let head = heads.entry(branch).or_insert(newest);
                *head = newest.max(*head);
            }
        }
        let created = self.clock.now();
        let branch = |(branch, (_, _, head)): (&&Branch, &(_, _, CommitId))| {
            let (branch, head) = ((*branch).clone(), Some(*head));
            let (provenance, trigger) = (Vec::new(), None);
            Op::CreateBranch(BranchRow { branch, head, provenance, trigger, created })
        };
        self.catalog.apply(heads.iter().map(branch).collect()).await?;
        Ok(heads.len() as u64)
    }
}

fn link(row: CommitRow) -> Link {
    let parent = row.parent.map(|id| row.commit.repo.commit(id));
    let branch = row.branch.map(|name| row.commit.repo.branch(name));
    let before = row.provenance.into_iter().chain(parent).collect();
    Link { started: row.started, finished: row.finished.unwrap_or(row.started), branch, before }
}

/// The place of each commit in an order that has parents and upstream commits
/// first, else the older first. Commits in a circle have none.
fn in_order(links: &BTreeMap<Commit, Link>) -> BTreeMap<Commit, usize> {
    let mut waiting: BTreeMap<&Commit, usize> = BTreeMap::new();
    let mut after: BTreeMap<&Commit, Vec<&Commit>> = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for (commit, link) in links {
        let before: BTreeSet<_> = link.before.iter().filter(|c| links.contains_key(c)).collect();
        for upstream in &before {
            after.entry(upstream).or_default().push(commit);
        }
        match before.len() {
            0 => drop(ready.insert((link.started, commit))),
            count => drop(waiting.insert(commit, count)),
        }
    }
    let mut order = BTreeMap::new();
    while let Some((_, commit)) = ready.pop_first() {
        order.insert(commit.clone(), order.len());
        for next in after.get(commit).into_iter().flatten() {
            let left = waiting.get_mut(next).map_or(0, |left| {
                *left -= 1;
                *left
            });
            if left == 0 {
                ready.insert((links[*next].started, *next));
            }
        }
    }
    order
}
