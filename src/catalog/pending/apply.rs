//! Writes: the guards of the catalog below, on what is pending.

use bytes::Bytes;

use super::commits::FRESH;
use super::rows::Rows;
use crate::catalog::{BranchRow, CatalogError, CommitRow, Op, PipelineRow, Result, StoredRoot};
use crate::model::{Branch, Commit, CommitId, Repo, Timestamp};

fn conflict(what: impl std::fmt::Display) -> CatalogError {
    CatalogError::Conflict { what: what.to_string() }
}

impl Rows {
    /// Writes one operation here, and keeps it for the catalog below.
    pub async fn write(&mut self, op: Op) -> Result<()> {
        // Expected once, before everything else: what is pending changes it.
        if let Op::ExpectWiring(_) = op {
            return Ok(());
        }
        let kept = op.clone();
        self.change(op).await?;
        self.ops.push(kept);
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "one arm per operation")]
    async fn change(&mut self, op: Op) -> Result<()> {
        match op {
            Op::CreateProject(row) => {
                if self.project(&row.name).await?.is_some() {
                    return Err(conflict(format_args!("project {} exists", row.name)));
                }
                self.projects.insert(row.name.clone(), row);
            }
            Op::CreateRepo(row) => {
                if self.repo(&row.repo).await?.is_some() {
                    return Err(conflict(format_args!("repo {} exists", row.repo)));
                }
                self.repos.insert(row.repo.clone(), Some(row));
            }
            Op::DescribeRepo { repo, description } => {
                let gone = || conflict(format_args!("repo {repo} is gone"));
                let mut row = self.repo(&repo).await?.ok_or_else(gone)?;
                row.description = description;
                self.repos.insert(repo, Some(row));
            }
            Op::DeleteRepo(repo) => self.delete_repo(&repo).await?,
            Op::CreateBranch(row) => self.create_branch(row).await?,
            Op::MoveHead { branch, expected, new } => {
                let mut row = self.at_head(&branch, expected).await?;
                if let Some(id) = new {
                    self.known(&branch.repo.commit(id)).await?;
                }
                row.head = new;
                self.branches.insert(branch, Some(row));
            }
            Op::SetProvenance { branch, expected, new } => {
                let mut row = self.known_branch(&branch).await?;
                if row.provenance != expected {
                    return Err(conflict(format_args!("the provenance of {branch} has changed")));
                }
                row.provenance = new;
                self.branches.insert(branch, Some(row));
            }
            Op::SetTrigger { branch, trigger } => {
                let mut row = self.known_branch(&branch).await?;
                row.trigger = trigger;
                self.branches.insert(branch, Some(row));
            }
            Op::DeleteBranch { branch, expected } => {
                self.at_head(&branch, expected).await?;
                if !self.downstream(std::slice::from_ref(&branch)).await?.is_empty() {
                    return Err(conflict(format_args!("a branch derives from {branch}")));
                }
                self.branches.insert(branch, None);
            }
            Op::ExpectHead { branch, expected } => {
                self.at_head(&branch, expected).await.map(drop)?;
            }
            Op::ExpectOpen { commit, open } => {
                if self.known(&commit).await?.is_open() != open {
                    return Err(conflict(format_args!("commit {commit} has changed")));
                }
            }
            Op::CreateCommit(row) => self.create_commit(row).await?,
            Op::FinishCommit { commit, expected, root, description, error, finished } => {
                let expected = expected.as_ref();
                let row = self.finished(&commit, expected, root, finished).await?;
                let description = description.unwrap_or(row.description);
                self.commits.insert(commit, CommitRow { description, error, ..row });
            }
            Op::PutPipeline { row, expected } => self.put_pipeline(row, expected).await?,
            // Nobody asks for jobs that do not run yet.
            Op::CreateJob(_) => {}
            op @ (Op::ExpectWiring(_)
            | Op::DescribeProject { .. }
            | Op::DeleteProject(_)
            | Op::SetRoot { .. }
            | Op::DescribeCommit { .. }
            | Op::Reparent { .. }
            | Op::DeleteCommit(_)
            | Op::SetPipelineState { .. }
            | Op::DeletePipeline(_)
            | Op::UpdateJob { .. }
            | Op::AddJobProgress { .. }
            | Op::DeleteJob(_)
            | Op::CreateDatums { .. }
            | Op::RenewDatums { .. }
            | Op::CompleteDatum { .. }
            | Op::ReleaseDatums { .. }
            | Op::DeleteDatums(_)
            | Op::CreateTransaction(_)
            | Op::UpdateTransaction { .. }
            | Op::RenewTransaction { .. }
            | Op::ExpectLapsed { .. }
            | Op::ExpectStaged { .. }
            | Op::DeleteTransaction(_)
            | Op::PutGathered { .. }
            | Op::DeleteGathered { .. }
            | Op::CreateFileSet(_)
            | Op::RenewFileSet { .. }
            | Op::DropFileSets(_)
            | Op::PutSecret(_)
            | Op::DeleteSecret(_)
            | Op::CreatePack(_)
            | Op::DeletePack(_)
            | Op::TakeLease { .. }
            | Op::DropLease { .. }
            | Op::Acknowledge { .. }
            | Op::TrimEvents { .. }
            | Op::PutSetting { .. }
            | Op::DeleteSetting(_)) => return Err(refused(&op)),
        }
        Ok(())
    }

    async fn known_branch(&self, branch: &Branch) -> Result<BranchRow> {
        let gone = || conflict(format_args!("branch {branch} is gone"));
        self.branch(branch).await?.ok_or_else(gone)
    }

    async fn at_head(&self, branch: &Branch, expected: Option<CommitId>) -> Result<BranchRow> {
        let row = self.known_branch(branch).await?;
        match row.head == expected {
            true => Ok(row),
            false => Err(conflict(format_args!("the head of {branch} has moved"))),
        }
    }

    async fn known(&self, commit: &Commit) -> Result<CommitRow> {
        let gone = || conflict(format_args!("commit {commit} is gone"));
        self.commit(commit).await?.ok_or_else(gone)
    }

    async fn delete_repo(&mut self, repo: &Repo) -> Result<()> {
        if self.repo(repo).await?.is_none() {
            return Err(conflict(format_args!("repo {repo} is gone")));
        }
        let branches = self.branches(repo).await?.into_iter().map(|row| row.branch);
        let branches: Vec<_> = branches.collect();
        let mut derived = self.downstream(&branches).await?;
        derived.retain(|row| row.branch.repo != *repo);
        if !derived.is_empty() {
            return Err(conflict(format_args!("a branch derives from repo {repo}")));
        }
        self.branches.retain(|branch, _| branch.repo != *repo);
        self.commits.retain(|commit, _| commit.repo != *repo);
        self.emptied.insert(repo.clone());
        self.repos.insert(repo.clone(), None);
        Ok(())
    }

    async fn create_branch(&mut self, row: BranchRow) -> Result<()> {
        let branch = &row.branch;
        if self.repo(&branch.repo).await?.is_none() || self.branch(branch).await?.is_some() {
            return Err(conflict(format_args!("branch {branch} exists, or its repo is gone")));
        }
        for upstream in &row.provenance {
            self.known_branch(upstream).await?;
        }
        if let Some(head) = row.head {
            self.known(&branch.repo.commit(head)).await?;
        }
        self.branches.insert(branch.clone(), Some(row));
        Ok(())
    }

    async fn create_commit(&mut self, mut row: CommitRow) -> Result<()> {
        if self.commit(&row.commit).await?.is_some() {
            return Err(conflict(format_args!("commit {} exists", row.commit)));
        }
        row.number = match row.parent {
            Some(parent) => self.known(&row.commit.repo.commit(parent)).await?.number + 1,
            None => 1,
        };
        row.seq = FRESH + self.commits.len() as u64;
        self.commits.insert(row.commit.clone(), row);
        Ok(())
    }

    async fn finished(
        &self,
        commit: &Commit,
        expected: Option<&Bytes>,
        root: StoredRoot,
        finished: Timestamp,
    ) -> Result<CommitRow> {
        let row = self.known(commit).await?;
        if !row.is_open() || expected.is_some_and(|expected| *expected != row.root.encoded) {
            return Err(conflict(format_args!("commit {commit} has changed")));
        }
        Ok(CommitRow { root, finished: Some(finished), ..row })
    }

    async fn put_pipeline(&mut self, row: PipelineRow, expected: Option<u64>) -> Result<()> {
        let found = self.pipeline(&row.pipeline).await?.map(|row| row.version);
        if found != expected {
            return Err(conflict(format_args!("pipeline {} was updated", row.pipeline)));
        }
        self.pipelines.insert(row.pipeline.clone(), row);
        Ok(())
    }
}

/// What cannot wait.
fn refused(op: &Op) -> CatalogError {
    let named = format!("{op:?}");
    let name = named.split([' ', '(', '{']).next().unwrap_or_default();
    CatalogError::Failed { message: format!("{name} cannot be planned ahead") }
}
