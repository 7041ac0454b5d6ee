//! What users do to pipelines and jobs.

use std::collections::BTreeMap;

use super::edits::apply_all;
use super::error::{ControllerError, Result};
use super::finish::stored;
use super::planning::recorded;
use super::ticks::crons;
use super::{Controller, root_of};
use crate::catalog::{
    Job, JobQuery, JobState, Op, Pipeline, PipelineRow, PipelineState, StoredRoot, Trigger,
};
use crate::chunk::FileWriter;
use crate::model::{Branch, CommitId, Repo};
use crate::pipeline::datum::Origins;
use crate::pipeline::record::DatumRecord;
use crate::pipeline::spec::{Leaf, PipelineSpec};
use crate::repo::{PutPipeline, RepoError, Repos};
use crate::tree::{ApplyOptions, Edit, Entry, Root, Tree};

/// A pipeline to create or to update.
#[derive(Debug, Clone)]
pub struct CreatePipeline {
    /// What it does.
    pub spec: PipelineSpec,
    /// The spec as its author wrote it, before any defaults.
    pub written: String,
    /// Whether it may replace a pipeline of that name.
    pub update: bool,
    /// Whether an update runs every datum again.
    pub reprocess: bool,
}

/// The datums a spec would have on the present heads.
#[derive(Debug, Clone)]
pub struct DatumPreview {
    /// What would be recorded of each, in the order they would start.
    pub datums: Vec<DatumRecord>,
}

impl Controller {
    /// Creates a pipeline, or its next version. An update stops the jobs of
    /// the versions before.
    ///
    /// # Errors
    /// When the spec breaks a rule, cannot be run here, or names repos that
    /// do not exist. Nothing is changed then.
    pub async fn create_pipeline(&self, request: &CreatePipeline) -> Result<PipelineRow> {
        let row = self.put_pipeline(self.repos(), request, false).await?;
        self.settle_pipeline(&row).await?;
        Ok(self.repos().inspect_pipeline(&row.pipeline).await?)
    }

    /// The part of [`Self::create_pipeline`] that can happen together with
    /// other use cases, on the `repos` that plan those. A rehearsal stores
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::create_pipeline`].
    pub async fn put_pipeline(
        &self,
        repos: &Repos,
        request: &CreatePipeline,
        rehearsal: bool,
    ) -> Result<PipelineRow> {
        let spec = &request.spec;
        spec.validate()?;
        if let Some(reason) = self.executor().refuses(&spec.transform) {
            return Err(ControllerError::Refused { pipeline: spec.name.to_string(), reason });
        }
        let pipeline = Pipeline { project: spec.project.clone(), name: spec.name.clone() };
        let before = match request.update {
            true => repos.catalog().pipeline(&pipeline).await?,
            false => None,
        };
        let salt = self.salt(request, before.as_ref());
        let spec = PipelineSpec { salt: salt.clone(), ..spec.clone() };
        let text = recorded(&spec).to_string();
        let put = PutPipeline {
            pipeline,
            replaces: before.as_ref().map(|row| row.version),
            spec_root: match rehearsal {
                true => StoredRoot::default(),
                false => stored(&self.spec_tree(&text).await?),
            },
            spec: text,
            user_spec: request.written.clone(),
            salt,
            inputs: input_branches(&spec),
            triggers: triggers(&spec),
            own_repos: cron_repos(&spec),
            output_branch: spec.output_branch.clone(),
            description: spec.description.clone(),
        };
        Ok(repos.put_pipeline(&put).await?)
    }

    /// The rest: the jobs of older versions end, and the new one runs.
    pub async fn settle_pipeline(&self, row: &PipelineRow) -> Result<()> {
        if row.version > 1 {
            self.stop_jobs_before(row).await?;
        }
        match row.state {
            PipelineState::Starting => self.set_state(row, PipelineState::Running).await,
            PipelineState::Running
            | PipelineState::Restarting
            | PipelineState::Failure
            | PipelineState::Paused
            | PipelineState::Standby
            | PipelineState::Crashing => Ok(()),
        }
    }

    fn salt(&self, request: &CreatePipeline, before: Option<&PipelineRow>) -> String {
        match before {
            Some(row) if !request.reprocess => row.salt.clone(),
            None if !request.spec.salt.is_empty() => request.spec.salt.clone(),
            Some(_) | None => hex::encode(self.clock().random()),
        }
    }

    /// The tree of a spec commit: one file, `spec`.
    async fn spec_tree(&self, text: &str) -> Result<Root> {
        let writer = self.repos().blobs().writer();
        let mut content = FileWriter::new(&writer, &[]);
        content.write(text.to_owned().into()).await?;
        let entry = Entry::file(content.finish().await?, self.clock().now());
        let path =
            "spec".parse().map_err(|_| ControllerError::Job("the spec's path".to_owned()))?;
        let (edits, options) = (vec![(path, Edit::Put(entry))], ApplyOptions::default());
        let root = apply_all(self.nodes(), &writer, Root::empty(), edits, options).await?;
        writer.flush().await?;
        Ok(root)
    }

    async fn set_state(&self, row: &PipelineRow, state: PipelineState) -> Result<()> {
        let op = Op::SetPipelineState {
            pipeline: row.pipeline.clone(),
            state,
            reason: String::new(),
            stopped: row.stopped,
        };
        Ok(self.catalog().apply(vec![op]).await?)
    }

    async fn stop_jobs_before(&self, row: &PipelineRow) -> Result<()> {
        for job in self.live_jobs(&row.pipeline).await? {
            if job.version < row.version {
                self.end_replaced(&job.job, row.version).await?;
            }
        }
        Ok(())
    }

    /// Ends a job of a version that is no longer the pipeline's.
    pub(super) async fn end_replaced(&self, job: &Job, by: u64) -> Result<()> {
        let reason = format!("replaced by version {by} of the pipeline");
        self.end_job(job, JobState::Killed, reason).await
    }

    async fn live_jobs(&self, pipeline: &Pipeline) -> Result<Vec<crate::catalog::JobRow>> {
        let states = JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect();
        let pipeline = Some(pipeline.clone());
        let query = JobQuery { pipeline, states, ..JobQuery::default() };
        let mut rows = self.catalog().jobs(&query).await?;
        rows.sort_by_key(|row| row.seq);
        Ok(rows)
    }

    /// Stops a pipeline: commits start no jobs until it is started again. The
    /// programs of a job that runs are ended; it goes on with the datums that
    /// are left when the pipeline is started again.
    pub async fn stop_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        Ok(self.repos().stop_pipeline(pipeline).await?)
    }

    /// Starts a stopped pipeline; what it missed becomes one job.
    pub async fn start_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        Ok(self.repos().start_pipeline(pipeline).await?)
    }

    /// Stops a pipeline's jobs and deletes it with its repos, the output repo
    /// only unless `keep_repo`.
    pub async fn delete_pipeline(
        &self,
        pipeline: &Pipeline,
        force: bool,
        keep_repo: bool,
    ) -> Result<()> {
        let crons = crons(&self.repos().inspect_pipeline(pipeline).await?);
        self.repos().delete_pipeline(pipeline, force, keep_repo).await?;
        // A spec that cannot be read any more names none.
        for cron in crons.unwrap_or_default() {
            if cron.own_repo(pipeline.name.as_str()).as_ref() == Some(&cron.repo) {
                self.delete_ticks(&cron.repo).await?;
            }
        }
        // The loop finds the jobs gone and ends their programs.
        self.0.changed.notify_one();
        Ok(())
    }

    /// Deletes a repo of ticks, unless somebody else reads them.
    async fn delete_ticks(&self, repo: &Repo) -> Result<()> {
        match self.repos().delete_repo(repo, false).await {
            Ok(_) | Err(RepoError::NotFound { .. } | RepoError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a pipeline once more on the present heads.
    pub async fn run_pipeline(&self, pipeline: &Pipeline) -> Result<crate::catalog::JobRow> {
        Ok(self.repos().run_pipeline(pipeline).await?)
    }

    /// Ends a job's programs and the job. Nothing happens when it is over.
    pub async fn stop_job(&self, job: &Job) -> Result<()> {
        self.repos().inspect_job(job).await?;
        self.end_job(job, JobState::Killed, "stopped by the user".to_owned()).await
    }

    /// The datums that a spec's input has on the present heads.
    pub async fn preview_datums(&self, spec: &PipelineSpec) -> Result<DatumPreview> {
        spec.validate()?;
        let (mut trees, mut commits) = (Vec::new(), Vec::new());
        for leaf in spec.input.leaves() {
            let branch = leaf.repo().branch(leaf.watched());
            let row = self.repos().newest_finished(&branch).await?;
            let root = row.as_ref().map_or(Ok(Root::empty()), |row| root_of(&row.root))?;
            commits.push(row.map_or(CommitId::new([0; 16]), |row| row.commit.id));
            trees.push(Tree::new(self.nodes(), root));
        }
        let origins = Origins::of(&spec.input);
        let mut datums = self.evaluated(spec, &origins, &trees).await?;
        datums.sort_by(|a, b| a.datum.cmp_for_start(&b.datum).then(a.id.cmp(&b.id)));
        let record = |one| DatumRecord::planned(CommitId::new([0; 16]), one, &origins, &commits);
        Ok(DatumPreview { datums: datums.iter().map(record).collect() })
    }
}

/// The repos that the cron inputs of a spec tick in.
fn cron_repos(spec: &PipelineSpec) -> Vec<(Repo, String)> {
    let repo = |leaf: Leaf<'_>| match leaf {
        Leaf::Cron(cron) => {
            let description = format!("ticks of the cron input {} of {}", cron.name, spec.name);
            Some((cron.repo.clone(), description))
        }
        Leaf::Pfs(_) => None,
    };
    spec.input.leaves().into_iter().filter_map(repo).collect()
}

/// The branches a spec reads, each once, in input order.
fn input_branches(spec: &PipelineSpec) -> Vec<Branch> {
    let mut branches: Vec<Branch> = Vec::new();
    for leaf in spec.input.leaves() {
        let branch = leaf.repo().branch(leaf.branch());
        if !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    branches
}

/// The branches of a spec that a trigger moves.
fn triggers(spec: &PipelineSpec) -> BTreeMap<Branch, Trigger> {
    let trigger = |leaf: Leaf<'_>| match leaf {
        Leaf::Pfs(pfs) => Some((pfs.repo.branch(pfs.branch.clone()), pfs.trigger.clone()?)),
        Leaf::Cron(_) => None,
    };
    spec.input.leaves().into_iter().filter_map(trigger).collect()
}
