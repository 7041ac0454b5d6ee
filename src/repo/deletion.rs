//! Deleting pipelines, and the objects of all that is deleted.

use bytes::Bytes;

use super::commits::FinishCommit;
use super::pipelines::output_branch;
use super::{Attempts, Repos, Result, object};
use crate::catalog::{CommitQuery, CommitRow, Op, Pipeline, PipelineRow};
use crate::model::{Commit, Repo, RepoKind};

/// What deleting a pipeline takes.
struct EndOfPipeline {
    ops: Vec<Op>,
    /// Commits that go.
    gone: Vec<Commit>,
    /// Commits whose objects were written as they will be.
    closed: Vec<Commit>,
}

/// The setting with the keys of the objects that are being removed, a line
/// each.
const REMOVING: &str = "removing";

/// The commits of a repo that is to go.
pub(super) struct CommitsOf {
    /// Hold as long as no branch of it has moved.
    pub guards: Vec<Op>,
    /// The commits.
    pub all: Vec<Commit>,
}

impl Repos {
    /// Deletes a pipeline with its jobs and repos, the output repo only unless
    /// `keep_repo`. Refused without `force` while others read its output.
    pub async fn delete_pipeline(
        &self,
        pipeline: &Pipeline,
        force: bool,
        keep_repo: bool,
    ) -> Result<()> {
        let _removing = self.removing.lock().await;
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_pipeline(pipeline).await?;
            let mut end = self.delete_ops(&row, force, keep_repo).await?;
            end.ops.push(self.note_removal(&end.gone).await?);
            match self.catalog.apply(end.ops).await {
                Ok(()) => return self.delete_objects().await,
                Err(e) => {
                    for commit in &end.closed {
                        self.restore_object(commit).await?;
                    }
                    attempts.again(e)?;
                }
            }
        }
    }

    async fn delete_ops(
        &self,
        row: &PipelineRow,
        force: bool,
        keep_repo: bool,
    ) -> Result<EndOfPipeline> {
        let Pipeline { project, name } = &row.pipeline;
        let repo = |kind| Repo::of_pipeline(project, name, kind);
        let mut ops = vec![Op::DeletePipeline(row.pipeline.clone())];
        let mut repos = vec![repo(RepoKind::Meta), repo(RepoKind::Spec)];
        let mut closed = Vec::new();
        match keep_repo {
            true => ops.extend(self.close_output(row, &mut closed).await?),
            false => {
                ops.extend(self.detach_repo(&repo(RepoKind::User), force).await?);
                repos.insert(0, repo(RepoKind::User));
            }
        }
        let mut gone = Vec::new();
        for repo in repos {
            if self.catalog.repo(&repo).await?.is_some() {
                let commits = self.commits_of(&repo).await?;
                ops.extend(commits.guards);
                gone.extend(commits.all);
                ops.push(Op::DeleteRepo(repo));
            }
        }
        ops.extend(self.drop_waiting(row, &[]).await?);
        Ok(EndOfPipeline { ops, gone, closed })
    }

    /// Makes a pipeline's output branch one like any other: nothing above it,
    /// nothing open on it. The commits whose objects it wrote go to `closed`.
    async fn close_output(&self, row: &PipelineRow, written: &mut Vec<Commit>) -> Result<Vec<Op>> {
        let output = output_branch(row);
        let Some(branch) = self.catalog.branch(&output).await? else { return Ok(Vec::new()) };
        let mut ops = self.put_branch(&output, Some(&branch), None, &[], None);
        let mut at = branch.head;
        while let Some(id) = at {
            let commit = self.inspect_commit(&output.repo.commit(id)).await?;
            if !commit.is_open() {
                break;
            }
            let error = Some(format!("pipeline {} was deleted", row.pipeline));
            let end = FinishCommit { root: None, description: None, error };
            let closed = self.finished(commit.clone(), &end);
            written.push(closed.commit.clone());
            self.write_object(&closed).await?;
            ops.extend(finish_op(&commit, &closed));
            at = commit.parent;
        }
        Ok(ops)
    }

    /// The commits of a repo, to remove their objects once it is gone: by then
    /// another may have its name.
    pub(super) async fn commits_of(&self, repo: &Repo) -> Result<CommitsOf> {
        let heads = self.catalog.branches(repo).await?.into_iter();
        let guard = |row: crate::catalog::BranchRow| Op::ExpectHead {
            branch: row.branch,
            expected: row.head,
        };
        let mut commits = CommitsOf { guards: heads.map(guard).collect(), all: Vec::new() };
        let mut query = CommitQuery::newest(repo.clone());
        query.limit = 1000;
        loop {
            let page = self.catalog.commits(&query).await?;
            let Some(last) = page.last() else { return Ok(commits) };
            query.before = Some(last.seq);
            commits.all.extend(page.into_iter().map(|row| row.commit));
        }
    }

    /// Notes, in the step that removes commits, that their objects go, too: what
    /// a crash keeps from going then goes at the next start, and no rebuild
    /// brings it back. Only while [`Repos::removing`] is held.
    pub(super) async fn note_removal(&self, gone: &[Commit]) -> Result<Op> {
        let before = self.catalog.setting(REMOVING).await?.unwrap_or_default();
        let mut keys = before.to_vec();
        for commit in gone {
            keys.extend(object::key(commit).as_bytes());
            keys.push(b'\n');
        }
        Ok(Op::PutSetting { key: REMOVING.to_owned(), value: keys.into() })
    }

    /// Removes the objects of removed commits. Only while
    /// [`Repos::removing`] is held.
    pub(super) async fn delete_objects(&self) -> Result<()> {
        let noted = self.catalog.setting(REMOVING).await?.unwrap_or_default();
        if noted.is_empty() {
            return Ok(());
        }
        for key in String::from_utf8_lossy(&noted).lines() {
            let Some(commit) = object::commit_of(key) else { continue };
            if self.catalog.commit(&commit).await?.is_none() {
                self.store().delete(key).await?;
            }
        }
        let done = Op::PutSetting { key: REMOVING.to_owned(), value: Bytes::new() };
        Ok(self.catalog.apply(vec![done]).await?)
    }

    /// Ends removals that a crash broke off.
    pub async fn resume_removals(&self) -> Result<()> {
        let _removing = self.removing.lock().await;
        self.delete_objects().await
    }
}

fn finish_op(open: &CommitRow, closed: &CommitRow) -> Option<Op> {
    Some(Op::FinishCommit {
        commit: closed.commit.clone(),
        expected: Some(open.root.encoded.clone()),
        root: closed.root.clone(),
        description: None,
        error: closed.error.clone(),
        finished: closed.finished?,
    })
}
