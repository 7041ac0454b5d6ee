//! The versioned half of pipelines: spec commits, output branches, jobs'
//! outputs. What a spec means is not known here.

use super::{Repos, Result};
use crate::catalog::{Job, JobRow};
use crate::catalog::{JobChange, Op, Pipeline, PipelineRow, StoredRoot};
use crate::model::{Branch, BranchName};

/// A pipeline version to create.
#[derive(Debug, Clone)]
pub struct PutPipeline {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The version it replaces; `None` to create the pipeline.
    pub replaces: Option<u64>,
    /// The effective spec, as the pipeline layer encodes it.
    pub spec: String,
    /// The tree of the spec commit, already durable.
    pub spec_root: StoredRoot,
    /// Mixed into every datum's hash.
    pub salt: String,
    /// The branches it reads, in input order. Their repos must exist.
    pub inputs: Vec<Branch>,
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
    /// commits and jobs that follow wherever every input has a head.
    pub async fn put_pipeline(&self, spec: &PutPipeline) -> Result<PipelineRow> {
        todo!()
    }

    /// One pipeline.
    pub async fn inspect_pipeline(&self, pipeline: &Pipeline) -> Result<PipelineRow> {
        todo!()
    }

    /// Cuts a pipeline's output branch from its inputs: commits open no jobs
    /// until it is started again. Running jobs go on.
    pub async fn stop_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        todo!()
    }

    /// Connects a stopped pipeline again; what it missed becomes one job.
    pub async fn start_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        todo!()
    }

    /// Deletes a pipeline with its jobs and repos, the output repo only unless
    /// `keep_repo`. Refused without `force` while others read its output.
    pub async fn delete_pipeline(
        &self,
        pipeline: &Pipeline,
        force: bool,
        keep_repo: bool,
    ) -> Result<()> {
        todo!()
    }

    /// Ends a job: finishes output and meta commit, sets the terminal state,
    /// in one step.
    pub async fn finish_job(&self, job: &Job, end: &FinishJob) -> Result<JobRow> {
        todo!()
    }

    /// Opens a new commit and job for a pipeline on the current heads, though
    /// nothing moved: `run pipeline`.
    pub async fn run_pipeline(&self, pipeline: &Pipeline) -> Result<JobRow> {
        todo!()
    }
}
