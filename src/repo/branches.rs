//! Branches.

use super::graph::{Changes, Derived};
use super::nearest::nearest;
use super::{Attempts, RepoError, Repos, Result};
use crate::catalog::{BranchRow, CommitRow, Op, Trigger};
use crate::model::{Branch, CommitId, Ref, Repo, RepoKind};

/// What a branch shall be.
#[derive(Debug, Clone, Default)]
pub struct CreateBranch {
    /// Where its head goes, a ref in the same repo; `None` leaves it.
    pub head: Option<Ref>,
    /// The branches it derives from. `None` leaves them.
    pub provenance: Option<Vec<Branch>>,
    /// What else moves it. `None` leaves it.
    pub trigger: Option<Trigger>,
}

impl Repos {
    /// Creates a branch or changes an existing one, and derives what follows
    /// from a head or provenance that moved: output commits of every branch
    /// downstream, and their jobs.
    pub async fn create_branch(&self, branch: &Branch, spec: &CreateBranch) -> Result<BranchRow> {
        self.repo_row(&branch.repo).await?;
        let mut attempts = Attempts::new();
        loop {
            let wiring = self.same_wiring().await?;
            let before = self.catalog.branch(branch).await?;
            let head = match &spec.head {
                Some(head) => Some(self.resolve(&branch.repo, head).await?),
                None => None,
            };
            self.check_branch(branch, before.as_ref(), head.as_ref(), spec).await?;
            let mut ops = vec![wiring];
            ops.extend(self.branch_ops(branch, before.as_ref(), head.as_ref(), spec).await?);
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_branch(branch).await,
                Err(e) => attempts.again(e)?,
            }
        }
    }

    async fn check_branch(
        &self,
        branch: &Branch,
        before: Option<&BranchRow>,
        head: Option<&CommitRow>,
        spec: &CreateBranch,
    ) -> Result<()> {
        if let Some(pipeline) = self.pipeline_of(branch).await? {
            let what = format!("branch {branch} is the output of pipeline {}", pipeline.pipeline);
            return Err(RepoError::refused(what, "update the pipeline instead"));
        }
        let provenance = wanted(before, spec);
        if head.is_some() && !provenance.is_empty() {
            let what = format!("cannot set the head of {branch}: it derives from other branches");
            return Err(RepoError::refused(what, "remove its provenance first"));
        }
        if head.is_some()
            && let Some(open) = self.open_head(branch, before).await?
        {
            return Err(RepoError::NotFinished { commit: open.commit });
        }
        if let Some(trigger) = &spec.trigger {
            self.check_trigger(branch, trigger, &provenance).await?;
        }
        self.check_provenance(branch, &provenance).await
    }

    /// The open commit at the head of a branch of which there may be only one.
    async fn open_head(
        &self,
        branch: &Branch,
        row: Option<&BranchRow>,
    ) -> Result<Option<CommitRow>> {
        let Some(id) = row.and_then(|row| row.head) else { return Ok(None) };
        let head = self.catalog.commit(&branch.repo.commit(id)).await?;
        let own = |row: &CommitRow| row.branch.as_ref() == Some(&branch.name);
        Ok(head.filter(|row| row.is_open() && own(row)))
    }

    /// Provenance must lead to other repos that exist, and never back.
    pub(super) async fn check_provenance(
        &self,
        branch: &Branch,
        provenance: &[Branch],
    ) -> Result<()> {
        let below = match provenance {
            [] => Vec::new(),
            _ => self.catalog.downstream(std::slice::from_ref(branch)).await?,
        };
        for upstream in provenance {
            self.repo_row(&upstream.repo).await?;
            if upstream.repo == branch.repo {
                let what = format!("branch {branch} cannot derive from its own repo");
                return Err(RepoError::refused(what, "name a branch of another repo"));
            }
            if below.iter().any(|row| row.branch == *upstream) {
                let what = format!("branch {upstream} derives from {branch} already");
                return Err(RepoError::refused(what, "provenance must not lead in a circle"));
            }
        }
        Ok(())
    }

    async fn branch_ops(
        &self,
        branch: &Branch,
        before: Option<&BranchRow>,
        head: Option<&CommitRow>,
        spec: &CreateBranch,
    ) -> Result<Vec<Op>> {
        let provenance = wanted(before, spec);
        let mut changes = Changes::default();
        if let Some(row) = head.filter(|row| !row.is_open()) {
            changes.heads.insert(branch.clone(), row.commit.id);
        }
        if before.is_none_or(|row| row.provenance != provenance) && !provenance.is_empty() {
            changes.rewired.insert(branch.clone(), provenance.clone());
        }
        let Derived { guards, plan } = self.derive(&changes, self.fresh_set()).await?;
        let mut ops = guards;
        ops.extend(self.create_missing(&provenance).await?);
        let head = head.map(|row| row.commit.id);
        ops.extend(self.put_branch(branch, before, head, &provenance, spec.trigger.as_ref()));
        ops.extend(plan.into_ops());
        Ok(ops)
    }

    /// Creates, without heads, the branches that are missing.
    pub(super) async fn create_missing(&self, branches: &[Branch]) -> Result<Vec<Op>> {
        let mut missing: Vec<Branch> = Vec::new();
        for branch in branches {
            if !missing.contains(branch) && self.catalog.branch(branch).await?.is_none() {
                missing.push(branch.clone());
            }
        }
        let create = |branch| self.put_branch(&branch, None, None, &[], None);
        Ok(missing.into_iter().flat_map(create).collect())
    }

    /// Creates a branch or brings it to what it shall be.
    pub(super) fn put_branch(
        &self,
        branch: &Branch,
        before: Option<&BranchRow>,
        head: Option<CommitId>,
        provenance: &[Branch],
        trigger: Option<&Trigger>,
    ) -> Vec<Op> {
        let (branch, provenance) = (branch.clone(), provenance.to_vec());
        let Some(before) = before else {
            let (trigger, created) = (trigger.cloned(), self.clock.now());
            return vec![Op::CreateBranch(BranchRow {
                branch,
                head,
                provenance,
                trigger,
                created,
            })];
        };
        let mut ops = Vec::new();
        if head.is_some() && head != before.head {
            let expected = before.head;
            ops.push(Op::MoveHead { branch: branch.clone(), expected, new: head });
        }
        if provenance != before.provenance {
            let expected = before.provenance.clone();
            ops.push(Op::SetProvenance { branch: branch.clone(), expected, new: provenance });
        }
        if trigger.is_some() {
            ops.push(Op::SetTrigger { branch, trigger: trigger.cloned() });
        }
        ops
    }

    /// One branch.
    pub async fn inspect_branch(&self, branch: &Branch) -> Result<BranchRow> {
        match self.catalog.branch(branch).await? {
            Some(row) => Ok(row),
            None => Err(self.no_branch(branch).await?),
        }
    }

    /// The error that says so, with the nearest name.
    pub(super) async fn no_branch(&self, branch: &Branch) -> Result<RepoError> {
        self.repo_row(&branch.repo).await?;
        let known = self.catalog.branches(&branch.repo).await?;
        let names = known.iter().map(|row| row.branch.name.as_str());
        let nearest = nearest(branch.name.as_str(), names);
        let nearest = nearest.map(|name| format!("{}@{name}", branch.repo));
        Ok(RepoError::NotFound { kind: "branch", name: branch.to_string(), nearest })
    }

    /// The branches of a repo, newest first.
    pub async fn list_branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        self.repo_row(repo).await?;
        Ok(self.catalog.branches(repo).await?)
    }

    /// Deletes a branch; its commits stay. Without `force` no branch may
    /// derive from it; with `force` those lose that input.
    pub async fn delete_branch(&self, branch: &Branch, force: bool) -> Result<()> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_branch(branch).await?;
            if let Some(pipeline) = self.pipeline_of(branch).await? {
                let what = format!("branch {branch} is the output of {}", pipeline.pipeline);
                return Err(RepoError::refused(what, "delete the pipeline instead"));
            }
            let mut ops = self.detach_branch(branch, force).await?;
            ops.push(Op::DeleteBranch { branch: branch.clone(), expected: row.head });
            match self.catalog.apply(ops).await {
                Ok(()) => return Ok(()),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// Takes a branch out of the provenance of all others.
    pub(super) async fn detach_branch(&self, branch: &Branch, force: bool) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        for row in self.catalog.downstream(std::slice::from_ref(branch)).await? {
            let mut new = row.provenance.clone();
            new.retain(|upstream| upstream != branch);
            if new == row.provenance {
                continue;
            }
            if !force {
                let what = format!("branch {} derives from {branch}", row.branch);
                return Err(RepoError::refused(what, self.remedy_for(&row.branch).await?));
            }
            ops.push(Op::SetProvenance { branch: row.branch, expected: row.provenance, new });
        }
        Ok(ops)
    }

    /// What to do about a branch that derives from something to be deleted.
    pub(super) async fn remedy_for(&self, derived: &Branch) -> Result<String> {
        Ok(match self.pipeline_named_as(&derived.repo).await? {
            Some(row) => format!("delete pipeline {} first, or use -f (--force)", row.pipeline),
            None => "delete that branch first, or use -f (--force)".to_owned(),
        })
    }

    /// Whether only derived commits belong on a branch.
    pub(super) async fn is_output(&self, branch: &Branch, row: Option<&BranchRow>) -> Result<bool> {
        let derived = row.is_some_and(|row| !row.provenance.is_empty());
        let system = branch.repo.kind != RepoKind::User;
        Ok(derived || system || self.pipeline_of(branch).await?.is_some())
    }
}

/// What a branch shall derive from.
fn wanted(before: Option<&BranchRow>, spec: &CreateBranch) -> Vec<Branch> {
    match (&spec.provenance, before) {
        (Some(provenance), _) => provenance.clone(),
        (None, Some(row)) => row.provenance.clone(),
        (None, None) => Vec::new(),
    }
}
