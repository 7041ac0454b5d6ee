//! Jobs and job sets.

use std::collections::HashMap;

use async_stream::try_stream;
use tonic::codegen::BoxStream;

use super::Pps;
use super::details::job_info;
use super::pipelines::unfiltered;
use crate::api::convert::{self, not_found};
use crate::api::pfs::resolve;
use crate::api::proto::{pfs_v2, pps_v2 as pb};
use crate::api::status::{Result, catalog, controller, missing, refused};
use crate::catalog::{Job, JobInput, JobQuery, JobRow, Op, Pipeline, PipelineRow};
use crate::model::{Commit, CommitId, ProjectName, Timestamp};

/// Jobs read from the catalog at once.
const PAGE: usize = 500;

/// Which jobs a listing shows, besides what the catalog selects by.
struct Filter {
    projects: Vec<ProjectName>,
    inputs: Vec<Commit>,
    mark: Option<Timestamp>,
    reverse: bool,
    /// The oldest version of each pipeline whose jobs are shown; `None`: all.
    since: Option<HashMap<Pipeline, u64>>,
}

impl Filter {
    fn keeps(&self, row: &JobRow) -> bool {
        let reads = |commit: &Commit| {
            let same =
                |input: &JobInput| input.commit == commit.id && input.branch.repo == commit.repo;
            row.inputs.iter().any(same)
        };
        let in_project =
            self.projects.is_empty() || self.projects.contains(&row.job.pipeline.project);
        let after_mark = self.mark.is_none_or(|mark| match self.reverse {
            true => row.created > mark,
            false => row.created < mark,
        });
        let in_history = self.since.as_ref().is_none_or(|since| {
            since.get(&row.job.pipeline).is_some_and(|since| row.version >= *since)
        });
        in_project && in_history && after_mark && self.inputs.iter().all(reads)
    }
}

/// Pipeline versions by key, read once per listing.
type Versions = HashMap<(Pipeline, u64), Option<PipelineRow>>;

impl Pps {
    pub(super) async fn inspect_job(&self, request: pb::InspectJobRequest) -> Result<pb::JobInfo> {
        let job = self.services.job(request.job.as_ref()).await?;
        let row = match request.wait {
            true => self.services.until_stopped(self.ended(&job)).await?,
            false => self.job(&job).await?,
        };
        self.job_info(&row, true, &mut Versions::new()).await
    }

    pub(super) async fn inspect_job_set(
        &self,
        request: pb::InspectJobSetRequest,
    ) -> Result<BoxStream<pb::JobInfo>> {
        let set = request.job_set.as_ref().ok_or_else(|| missing("job set"))?;
        let id = self.services.repos.resolve_set(&set.id).await.map_err(refused)?;
        let rows = self.job_set(id).await?;
        if rows.is_empty() && self.services.repos.inspect_commit_set(id).await.is_err() {
            return Err(not_found(format!("job set {id}")));
        }
        let pps = self.clone();
        let infos = try_stream! {
            let mut versions = Versions::new();
            for row in rows {
                let row = if request.wait { pps.ended(&row.job).await? } else { row };
                yield pps.job_info(&row, request.details, &mut versions).await?;
            }
        };
        Ok(self.services.while_running(infos))
    }

    pub(super) async fn list_job(
        &self,
        request: pb::ListJobRequest,
    ) -> Result<BoxStream<pb::JobInfo>> {
        unfiltered(&request.jq_filter)?;
        let pipeline = match request.pipeline.as_ref().filter(|p| !p.name.is_empty()) {
            Some(message) => {
                let pipeline = convert::pipeline(Some(message))?;
                Some(self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?)
            }
            None => None,
        };
        let filter = Filter {
            projects: convert::projects(&request.projects)?,
            inputs: self.input_commits(&request.input_commit).await?,
            mark: request.pagination_marker.as_ref().map(convert::timestamp),
            reverse: request.reverse,
            since: self.oldest_versions(request.history).await?,
        };
        let limit = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let rows = self.jobs(pipeline.map(|row| row.pipeline), filter, limit).await?;
        let (pps, details) = (self.clone(), request.details);
        Ok(Box::pin(try_stream! {
            let mut versions = Versions::new();
            for row in rows {
                yield pps.job_info(&row, details, &mut versions).await?;
            }
        }))
    }

    /// The oldest version of each pipeline with `history` earlier ones; `None`
    /// when that is negative: all versions.
    async fn oldest_versions(&self, history: i64) -> Result<Option<HashMap<Pipeline, u64>>> {
        let Ok(history) = u64::try_from(history) else { return Ok(None) };
        let rows = self.pipelines(&[]).await?.into_iter();
        Ok(Some(rows.map(|row| (row.pipeline, row.version.saturating_sub(history))).collect()))
    }

    /// Jobs that pass the filter: newest first, oldest first when reversed.
    async fn jobs(
        &self,
        pipeline: Option<Pipeline>,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<JobRow>> {
        let mut query = JobQuery { pipeline, limit: Some(PAGE), ..JobQuery::default() };
        let mut found = Vec::new();
        // From the newest on; reversed, the end of what is found is wanted.
        let enough = |found: &[JobRow]| !filter.reverse && found.len() >= limit;
        while !enough(&found) {
            let page = self.services.repos.catalog().jobs(&query).await;
            let page = page.map_err(|e| catalog(&e))?;
            let Some(last) = page.last() else { break };
            query.before = Some(last.seq);
            found.extend(page.into_iter().filter(|row| filter.keeps(row)));
        }
        if filter.reverse {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn input_commits(&self, messages: &[pfs_v2::Commit]) -> Result<Vec<Commit>> {
        let mut commits = Vec::with_capacity(messages.len());
        for message in messages {
            commits.push(resolve(&self.services, Some(message)).await?.commit);
        }
        Ok(commits)
    }

    pub(super) async fn list_job_set(
        &self,
        request: pb::ListJobSetRequest,
    ) -> Result<BoxStream<pb::JobSetInfo>> {
        unfiltered(&request.jq_filter)?;
        let filter = Filter {
            projects: convert::projects(&request.projects)?,
            inputs: Vec::new(),
            mark: request.pagination_marker.as_ref().map(convert::timestamp),
            reverse: request.reverse,
            since: None,
        };
        let limit = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let mut ids: Vec<CommitId> = Vec::new();
        for row in self.jobs(None, filter, usize::MAX).await? {
            if ids.len() < limit && !ids.contains(&row.job.id) {
                ids.push(row.job.id);
            }
        }
        let (pps, details) = (self.clone(), request.details);
        Ok(Box::pin(try_stream! {
            let mut versions = Versions::new();
            for id in ids {
                let mut jobs = Vec::new();
                for row in pps.job_set(id).await? {
                    jobs.push(pps.job_info(&row, details, &mut versions).await?);
                }
                yield pb::JobSetInfo { job_set: Some(pb::JobSet { id: id.to_string() }), jobs };
            }
        }))
    }

    /// The jobs under way, then every new one.
    pub(super) async fn subscribe_job(
        &self,
        request: pb::SubscribeJobRequest,
    ) -> Result<BoxStream<pb::JobInfo>> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        let (pps, details) = (self.clone(), request.details);
        let infos = try_stream! {
            let mut events = pps.services.repos.catalog().watch();
            let mut versions = Versions::new();
            let mut seen = 0;
            loop {
                events.borrow_and_update();
                let mut rows = pps.newer_jobs(&pipeline, seen).await?;
                // Those that ended before the call are history.
                if seen == 0 {
                    seen = rows.iter().map(|row| row.seq).max().unwrap_or(0);
                    rows.retain(|row| !row.state.is_terminal());
                }
                for row in rows {
                    seen = seen.max(row.seq);
                    yield pps.job_info(&row, details, &mut versions).await?;
                }
                if events.changed().await.is_err() {
                    break;
                }
            }
        };
        Ok(self.services.while_running(infos))
    }

    /// Ends a job as killed; its programs are stopped.
    pub(super) async fn stop_job(&self, request: pb::StopJobRequest) -> Result<()> {
        let job = self.services.job(request.job.as_ref()).await?;
        self.services.controller.stop_job(&job).await.map_err(controller)
    }

    /// Forgets a job, stopped first when it runs; its output commit stays.
    pub(super) async fn delete_job(&self, request: pb::DeleteJobRequest) -> Result<()> {
        let job = self.services.job(request.job.as_ref()).await?;
        self.services.controller.stop_job(&job).await.map_err(controller)?;
        let applied = self.services.repos.catalog().apply(vec![Op::DeleteJob(job)]).await;
        applied.map_err(|e| catalog(&e))
    }

    /// The jobs of a pipeline created after `seq`, oldest first.
    async fn newer_jobs(&self, pipeline: &Pipeline, seq: u64) -> Result<Vec<JobRow>> {
        let query = JobQuery { pipeline: Some(pipeline.clone()), ..JobQuery::default() };
        let rows = self.services.repos.catalog().jobs(&query).await.map_err(|e| catalog(&e))?;
        let mut newer: Vec<_> = rows.into_iter().take_while(|row| row.seq > seq).collect();
        newer.reverse();
        Ok(newer)
    }

    /// One job.
    pub(super) async fn job(&self, job: &Job) -> Result<JobRow> {
        let row = self.services.repos.catalog().job(job).await.map_err(|e| catalog(&e))?;
        row.ok_or_else(|| not_found(format!("job {job}")))
    }

    async fn job_set(&self, id: CommitId) -> Result<Vec<JobRow>> {
        self.services.repos.catalog().job_set(id).await.map_err(|e| catalog(&e))
    }

    /// A job once it has ended.
    async fn ended(&self, job: &Job) -> Result<JobRow> {
        let mut events = self.services.repos.catalog().watch();
        loop {
            events.borrow_and_update();
            let row = self.job(job).await?;
            // A catalog that is closing sends no more events.
            if row.state.is_terminal() || events.changed().await.is_err() {
                return Ok(row);
            }
        }
    }

    async fn job_info(
        &self,
        row: &JobRow,
        details: bool,
        versions: &mut Versions,
    ) -> Result<pb::JobInfo> {
        if !details {
            return Ok(job_info(row, None));
        }
        let key = (row.job.pipeline.clone(), row.version);
        if !versions.contains_key(&key) {
            let known = self.services.repos.catalog().pipeline_versions(&key.0).await;
            let known = known.map_err(|e| catalog(&e))?;
            versions.insert(key.clone(), None);
            for version in known {
                versions.insert((key.0.clone(), version.version), Some(version));
            }
        }
        Ok(job_info(row, versions.get(&key).and_then(Option::as_ref)))
    }
}
