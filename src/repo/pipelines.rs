//! The versioned half of pipelines: spec commits, output branches, jobs'
//! outputs. What a spec means is not known here.

use std::collections::BTreeMap;

use super::commits::FinishCommit;
use super::graph::Changes;
use super::nearest::nearest_name;
use super::{Attempts, RepoError, Repos, Result, object};
use crate::catalog::{
    CatalogError, CommitQuery, CommitRow, Job, JobChange, JobRow, JobState, Op, Origin, Pipeline,
    PipelineRow, PipelineState, StoredRoot, Trigger,
};
use crate::model::{Branch, BranchName, Commit, CommitId, Repo, RepoKind};

/// A pipeline version to create.
#[derive(Debug, Clone)]
pub struct PutPipeline {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The version it replaces; `None` to create the pipeline.
    pub replaces: Option<u64>,
    /// The effective spec, as the pipeline layer encodes it.
    pub spec: String,
    /// The spec as its author wrote it, before any defaults.
    pub user_spec: String,
    /// The tree of the spec commit, already durable.
    pub spec_root: StoredRoot,
    /// Mixed into every datum's hash.
    pub salt: String,
    /// The branches it reads, in input order. Their repos must exist.
    pub inputs: Vec<Branch>,
    /// Those of them that a trigger moves.
    pub triggers: BTreeMap<Branch, Trigger>,
    /// Repos of its own among those, with what they say about themselves:
    /// created with it where they are missing.
    pub own_repos: Vec<(Repo, String)>,
    /// The branch it writes in its output repo.
    pub output_branch: BranchName,
    /// What the output repo says about itself.
    pub description: String,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub struct FinishJob {
    /// The terminal state and what else changes about the job.
    pub change: JobChange,
    /// The output tree; `None` for a job that failed or was killed, whose
    /// output commit then carries the reason as its error.
    pub output: Option<StoredRoot>,
    /// The datum table; kept for failed jobs too when given.
    pub meta: Option<StoredRoot>,
    /// More to write in the same step, e.g. `DeleteDatums`.
    pub also: Vec<Op>,
}

impl Repos {
    /// Creates a pipeline or its next version in one step: output, spec and
    /// meta repo, spec commit, branches with their provenance, and the output
    /// commits and jobs that follow wherever every input has a head. An update
    /// leaves the jobs of older versions to whoever runs them.
    pub async fn put_pipeline(&self, spec: &PutPipeline) -> Result<PipelineRow> {
        self.inspect_project(&spec.pipeline.project).await?;
        let mut attempts = Attempts::new();
        loop {
            let mut ops = vec![self.same_wiring().await?];
            let before = self.catalog.pipeline(&spec.pipeline).await?;
            self.check_pipeline(spec, before.as_ref()).await?;
            let commit = self.spec_commit(spec).await?;
            ops.extend(self.pipeline_ops(spec, before.as_ref(), commit.clone()).await?);
            self.write_object(&commit).await?;
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_pipeline(&spec.pipeline).await,
                Err(e @ CatalogError::Conflict { .. }) => {
                    // What is left behind here fsck finds.
                    drop(self.store().delete(&object::key(&commit.commit)).await);
                    attempts.again(e)?;
                }
                // It may have been written.
                Err(e) => return Err(e.into()),
            }
        }
    }

    async fn check_pipeline(&self, spec: &PutPipeline, before: Option<&PipelineRow>) -> Result<()> {
        let name = spec.pipeline.to_string();
        match (before.map(|row| row.version), spec.replaces) {
            (None, Some(_)) => return Err(self.no_pipeline(&spec.pipeline).await?),
            (Some(_), None) => return Err(RepoError::Exists { kind: "pipeline", name }),
            (Some(now), Some(seen)) if now != seen => {
                let what = format!("pipeline {name} is at version {now}, not {seen}");
                return Err(RepoError::refused(what, "inspect it and update again"));
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        let output = Repo::of_pipeline(&spec.pipeline.project, &spec.pipeline.name, RepoKind::User);
        if before.is_none() && self.holds_user_data(&output).await? {
            let name = output.to_string();
            return Err(RepoError::Exists { kind: "repo", name });
        }
        let missing = self.missing_repos(spec).await?;
        let is_there = |branch: &&Branch| missing.iter().all(|(repo, _)| *repo != branch.repo);
        let inputs: Vec<Branch> = spec.inputs.iter().filter(is_there).cloned().collect();
        self.check_provenance(&output.branch(spec.output_branch.clone()), &inputs).await
    }

    /// The pipeline's own repos that are not there yet.
    async fn missing_repos(&self, spec: &PutPipeline) -> Result<Vec<(Repo, String)>> {
        let mut missing: Vec<(Repo, String)> = Vec::new();
        for (repo, description) in &spec.own_repos {
            let known = missing.iter().any(|(other, _)| other == repo);
            if !known && self.catalog.repo(repo).await?.is_none() {
                self.inspect_project(&repo.project).await?;
                missing.push((repo.clone(), description.clone()));
            }
        }
        Ok(missing)
    }

    /// Whether a repo exists that is not merely the output another pipeline of
    /// this name left behind.
    async fn holds_user_data(&self, repo: &Repo) -> Result<bool> {
        if self.catalog.repo(repo).await?.is_none() {
            return Ok(false);
        }
        let mut query = CommitQuery::newest(repo.clone());
        query.limit = 1;
        let newest = self.catalog.commits(&query).await?;
        Ok(newest.first().is_none_or(|row| row.origin == Origin::User))
    }

    async fn pipeline_ops(
        &self,
        spec: &PutPipeline,
        before: Option<&PipelineRow>,
        commit: CommitRow,
    ) -> Result<Vec<Op>> {
        if self.catalog.commit(&commit.commit).await?.is_some() {
            let what = format!("pipeline {} changes twice in one step", spec.pipeline);
            return Err(RepoError::refused(what, "change it once, or in two transactions"));
        }
        let set = commit.commit.id;
        let row = self.pipeline_row(spec, before, set);
        let wiring = self.wiring_of(&row, row.stopped);
        let spec_branch = spec_branch(&row.pipeline);
        let mut changes = Changes { rewired: wiring.clone(), ..Changes::default() };
        changes.heads.insert(spec_branch.clone(), set);
        changes.pipelines.insert(output_branch(&row), row.clone());
        let derived = self.derive(&changes, set).await?;
        let mut ops = derived.guards;
        ops.extend(self.create_repos(spec).await?);
        ops.extend(self.put_triggers(&spec.triggers).await?);
        let plain = spec.inputs.iter().filter(|input| !spec.triggers.contains_key(input));
        ops.extend(self.create_missing(&plain.cloned().collect::<Vec<_>>()).await?);
        ops.push(Op::CreateCommit(commit));
        let spec_row = self.catalog.branch(&spec_branch).await?;
        ops.extend(self.put_branch(&spec_branch, spec_row.as_ref(), Some(set), &[], None));
        ops.extend(self.cut_old_output(before, &row).await?);
        for (branch, provenance) in wiring {
            let before = self.catalog.branch(&branch).await?;
            ops.extend(self.put_branch(&branch, before.as_ref(), None, &provenance, None));
        }
        if let Some(before) = before {
            ops.extend(self.drop_waiting(before, &row.inputs).await?);
        }
        ops.push(Op::PutPipeline { expected: before.map(|row| row.version), row });
        ops.extend(derived.plan.into_ops());
        Ok(ops)
    }

    async fn spec_commit(&self, spec: &PutPipeline) -> Result<CommitRow> {
        let branch = spec_branch(&spec.pipeline);
        let now = self.clock.now();
        Ok(CommitRow {
            commit: branch.repo.commit(self.fresh_set()),
            seq: 0,
            number: 0,
            parent: self.catalog.branch(&branch).await?.and_then(|row| row.head),
            branch: Some(branch.name),
            origin: Origin::User,
            description: String::new(),
            author: String::new(),
            started: now,
            finished: Some(now),
            error: None,
            root: spec.spec_root.clone(),
            provenance: Vec::new(),
        })
    }

    fn pipeline_row(
        &self,
        spec: &PutPipeline,
        before: Option<&PipelineRow>,
        spec_commit: CommitId,
    ) -> PipelineRow {
        let stopped = before.is_some_and(|row| row.stopped);
        PipelineRow {
            pipeline: spec.pipeline.clone(),
            version: before.map_or(1, |row| row.version + 1),
            spec_commit,
            spec: spec.spec.clone(),
            user_spec: spec.user_spec.clone(),
            salt: spec.salt.clone(),
            inputs: spec.inputs.clone(),
            output_branch: spec.output_branch.clone(),
            state: if stopped { PipelineState::Paused } else { PipelineState::Starting },
            reason: String::new(),
            stopped,
            created: self.clock.now(),
        }
    }

    /// What output and meta branch derive from; nothing when `cut`.
    pub(super) fn wiring_of(&self, row: &PipelineRow, cut: bool) -> BTreeMap<Branch, Vec<Branch>> {
        let mut provenance = Vec::new();
        for branch in row.inputs.iter().cloned().chain([spec_branch(&row.pipeline)]) {
            if !cut && !provenance.contains(&branch) {
                provenance.push(branch);
            }
        }
        [output_branch(row), meta_branch(row)].map(|b| (b, provenance.clone())).into()
    }

    async fn create_repos(&self, spec: &PutPipeline) -> Result<Vec<Op>> {
        let Pipeline { project, name } = &spec.pipeline;
        let own = self.missing_repos(spec).await?.into_iter();
        let create = |(repo, description)| Op::CreateRepo(self.new_repo(&repo, description));
        let mut ops: Vec<Op> = own.map(create).collect();
        for kind in [RepoKind::User, RepoKind::Spec, RepoKind::Meta] {
            let repo = Repo::of_pipeline(project, name, kind);
            let description = match kind {
                RepoKind::User => spec.description.clone(),
                RepoKind::Spec | RepoKind::Meta => String::new(),
            };
            match self.catalog.repo(&repo).await? {
                None => ops.push(Op::CreateRepo(self.new_repo(&repo, description))),
                Some(row) if row.description != description => {
                    ops.push(Op::DescribeRepo { repo, description });
                }
                Some(_) => {}
            }
        }
        Ok(ops)
    }

    /// Cuts the branches that the version before wrote, where they differ.
    async fn cut_old_output(
        &self,
        before: Option<&PipelineRow>,
        row: &PipelineRow,
    ) -> Result<Vec<Op>> {
        match before {
            Some(old) if old.output_branch != row.output_branch => self.rewire(old, true).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Connects output and meta branch, or cuts them from their inputs.
    async fn rewire(&self, row: &PipelineRow, cut: bool) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        for (branch, provenance) in self.wiring_of(row, cut) {
            let before = self.catalog.branch(&branch).await?;
            ops.extend(self.put_branch(&branch, before.as_ref(), None, &provenance, None));
        }
        Ok(ops)
    }

    /// One pipeline.
    pub async fn inspect_pipeline(&self, pipeline: &Pipeline) -> Result<PipelineRow> {
        match self.catalog.pipeline(pipeline).await? {
            Some(row) => Ok(row),
            None => Err(self.no_pipeline(pipeline).await?),
        }
    }

    async fn no_pipeline(&self, pipeline: &Pipeline) -> Result<RepoError> {
        self.inspect_project(&pipeline.project).await?;
        let known = self.catalog.pipelines(None).await?;
        let known = known.iter().map(|row| (&row.pipeline.project, row.pipeline.name.as_str()));
        let nearest = nearest_name((&pipeline.project, pipeline.name.as_str()), known);
        let name = pipeline.to_string();
        Ok(RepoError::NotFound { kind: "pipeline", name, nearest })
    }

    /// Cuts a pipeline's output branch from its inputs: commits open no jobs
    /// until it is started again. What becomes of jobs that run is up to who
    /// runs them.
    pub async fn stop_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_pipeline(pipeline).await?;
            let mut ops = self.rewire(&row, true).await?;
            ops.push(state_op(&row, PipelineState::Paused, true));
            match self.catalog.apply(ops).await {
                Ok(()) => return Ok(()),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// Connects a stopped pipeline again; what it missed becomes one job.
    pub async fn start_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        let mut attempts = Attempts::new();
        loop {
            let wiring = self.same_wiring().await?;
            let row = self.inspect_pipeline(pipeline).await?;
            self.check_provenance(&output_branch(&row), &row.inputs).await?;
            let rewired = self.wiring_of(&row, false);
            let changes = Changes { rewired, ..Changes::default() };
            let derived = self.derive(&changes, self.fresh_set()).await?;
            let mut ops = vec![wiring];
            ops.extend(derived.guards);
            ops.extend(self.create_missing(&row.inputs).await?);
            ops.extend(self.rewire(&row, false).await?);
            ops.push(state_op(&row, PipelineState::Running, false));
            ops.extend(derived.plan.into_ops());
            match self.catalog.apply(ops).await {
                Ok(()) => return Ok(()),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// Opens a new commit and job for a pipeline on the current heads, though
    /// nothing moved: `run pipeline`.
    pub async fn run_pipeline(&self, pipeline: &Pipeline) -> Result<JobRow> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_pipeline(pipeline).await?;
            if row.stopped {
                let what = format!("pipeline {pipeline} is stopped");
                return Err(RepoError::refused(what, "start it first"));
            }
            let rewired = self.wiring_of(&row, false);
            let forced = rewired.keys().cloned().collect();
            let changes = Changes { rewired, forced, ..Changes::default() };
            let derived = self.derive(&changes, self.fresh_set()).await?;
            let job = derived.plan.jobs.iter().find(|job| job.job.pipeline == *pipeline);
            let Some(job) = job.map(|row| row.job.clone()) else {
                let what = format!("pipeline {pipeline} cannot run: an input has no commit yet");
                return Err(RepoError::refused(what, "put data into its inputs first"));
            };
            let mut ops = derived.guards;
            ops.extend(derived.plan.into_ops());
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_job(&job).await,
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// One job.
    pub async fn inspect_job(&self, job: &Job) -> Result<JobRow> {
        if let Some(row) = self.catalog.job(job).await? {
            return Ok(row);
        }
        self.inspect_pipeline(&job.pipeline).await?;
        Err(RepoError::NotFound { kind: "job", name: job.to_string(), nearest: None })
    }

    /// Ends a job: finishes output and meta commit, sets the terminal state,
    /// in one step. [`RepoError::Finished`] when it has ended already.
    pub async fn finish_job(&self, job: &Job, end: &FinishJob) -> Result<JobRow> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_job(job).await?;
            if row.state.is_terminal() {
                return Err(RepoError::Finished { commit: row.output });
            }
            let mut ops = Vec::new();
            let meta = Repo { kind: RepoKind::Meta, ..row.output.repo.clone() }.commit(job.id);
            for (commit, root) in [(&row.output, &end.output), (&meta, &end.meta)] {
                ops.extend(self.end_commit(commit, root.as_ref(), &end.change).await?);
            }
            let expected = live_states();
            ops.push(Op::UpdateJob { job: job.clone(), expected, change: end.change.clone() });
            ops.extend(end.also.iter().cloned());
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_job(job).await,
                Err(e) => {
                    self.restore_object(&row.output).await?;
                    self.restore_object(&meta).await?;
                    attempts.again(e)?;
                }
            }
        }
    }

    /// Finishes a commit of a job; without a tree it carries why.
    async fn end_commit(
        &self,
        commit: &Commit,
        root: Option<&StoredRoot>,
        change: &JobChange,
    ) -> Result<Vec<Op>> {
        let open = match self.catalog.commit(commit).await? {
            Some(row) if row.is_open() => row,
            _ => return Ok(Vec::new()),
        };
        let error = match root {
            Some(_) => None,
            None => Some(why(change)),
        };
        let end = FinishCommit { root: root.cloned(), description: None, error };
        let finished = self.finished(open.clone(), &end);
        self.write_object(&finished).await?;
        self.finish_ops(&open, &finished).await
    }
}

fn why(change: &JobChange) -> String {
    let state = change.state.map_or("ended", JobState::as_str);
    match change.reason.as_deref() {
        Some(reason) if !reason.is_empty() => reason.to_owned(),
        _ => format!("the job is {state}"),
    }
}

fn live_states() -> Vec<JobState> {
    JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect()
}

fn state_op(row: &PipelineRow, state: PipelineState, stopped: bool) -> Op {
    Op::SetPipelineState { pipeline: row.pipeline.clone(), state, reason: String::new(), stopped }
}

pub(super) fn output_branch(row: &PipelineRow) -> Branch {
    let Pipeline { project, name } = &row.pipeline;
    Repo::of_pipeline(project, name, RepoKind::User).branch(row.output_branch.clone())
}

fn meta_branch(row: &PipelineRow) -> Branch {
    let Pipeline { project, name } = &row.pipeline;
    Repo::of_pipeline(project, name, RepoKind::Meta).branch(row.output_branch.clone())
}

fn spec_branch(pipeline: &Pipeline) -> Branch {
    let Pipeline { project, name } = pipeline;
    Repo::of_pipeline(project, name, RepoKind::Spec).branch(BranchName::master())
}
