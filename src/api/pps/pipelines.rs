//! Pipelines.

use futures::{StreamExt, TryStreamExt};
use tonic::Status;
use tonic::codegen::BoxStream;

use super::Pps;
use super::details::pipeline_info;
use crate::api::convert::{self, pipeline_message, project_message};
use crate::api::pfs::pick;
use crate::api::proto::pps_v2 as pb;
use crate::api::service::all;
use crate::api::status::{Result, catalog, controller, invalid, missing, refused};
use crate::catalog::{JobQuery, Pipeline, PipelineRow, PipelineState};
use crate::model::{CommitId, ProjectName};
use crate::repo::RepoError;

impl Pps {
    pub(super) async fn inspect_pipeline(
        &self,
        request: pb::InspectPipelineRequest,
    ) -> Result<pb::PipelineInfo> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        let row = self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        self.info(&row).await
    }

    pub(super) async fn list_pipeline(
        &self,
        request: pb::ListPipelineRequest,
    ) -> Result<BoxStream<pb::PipelineInfo>> {
        unfiltered(&request.jq_filter)?;
        let projects = convert::projects(&request.projects)?;
        if let Some(set) = &request.commit_set {
            let rows = self.pipelines_of_set(convert::parse(&set.id)?).await?;
            let named = request.pipeline.as_ref().filter(|p| !p.name.is_empty());
            let named = named.map(|one| convert::pipeline(Some(one))).transpose()?;
            let mut infos = Vec::new();
            for row in rows {
                let within = projects.is_empty() || projects.contains(&row.pipeline.project);
                if within && named.as_ref().is_none_or(|named| *named == row.pipeline) {
                    infos.push(self.info(&row).await?);
                }
            }
            return Ok(all(infos));
        }
        let pipelines = match request.pipeline.as_ref().filter(|p| !p.name.is_empty()) {
            Some(one) => vec![convert::pipeline(Some(one))?],
            None => self.pipelines(&projects).await?.into_iter().map(|row| row.pipeline).collect(),
        };
        let pipelines = match &request.page {
            None => pipelines,
            Some(page) => paged(pipelines, page)?,
        };
        let (pps, history) = (self.clone(), request.history);
        let infos = futures::stream::iter(pipelines)
            .then(move |pipeline| {
                let pps = pps.clone();
                async move { pps.with_history(&pipeline, history).await.map(all) }
            })
            .try_flatten();
        Ok(Box::pin(infos))
    }

    /// Pipelines as they were in a commit set, newest first: the versions that
    /// ran in it, and the one whose spec it made.
    async fn pipelines_of_set(&self, id: CommitId) -> Result<Vec<PipelineRow>> {
        let repos = &self.services.repos;
        repos.inspect_commit_set(id).await.map_err(refused)?;
        let jobs = repos.catalog().job_set(id).await.map_err(|e| catalog(&e))?;
        let mut found = Vec::new();
        for current in self.pipelines(&[]).await? {
            let ran = jobs.iter().find(|row| row.job.pipeline == current.pipeline);
            let versions = repos.catalog().pipeline_versions(&current.pipeline).await;
            let then = versions.map_err(|e| catalog(&e))?.into_iter().find(|version| match ran {
                Some(job) => job.version == version.version,
                None => version.spec_commit == id,
            });
            found.extend(then);
        }
        Ok(found)
    }

    /// The current version and so many older ones; all when negative.
    async fn with_history(
        &self,
        pipeline: &Pipeline,
        history: i64,
    ) -> Result<Vec<pb::PipelineInfo>> {
        if history == 0 {
            let row = self.services.repos.inspect_pipeline(pipeline).await.map_err(refused)?;
            return Ok(vec![self.info(&row).await?]);
        }
        let older = usize::try_from(history).unwrap_or(usize::MAX);
        let versions = self.services.repos.catalog().pipeline_versions(pipeline).await;
        let mut infos = Vec::new();
        for row in versions.map_err(|e| catalog(&e))?.iter().take(older.saturating_add(1)) {
            infos.push(self.info(row).await?);
        }
        Ok(infos)
    }

    pub(super) async fn start_pipeline(&self, request: pb::StartPipelineRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        self.services.repos.start_pipeline(&pipeline).await.map_err(refused)
    }

    pub(super) async fn stop_pipeline(&self, request: pb::StopPipelineRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        match self.services.repos.stop_pipeline(&pipeline).await {
            Err(RepoError::NotFound { .. }) if !request.must_exist => Ok(()),
            outcome => outcome.map_err(refused),
        }
    }

    pub(super) async fn delete_pipeline(&self, request: pb::DeletePipelineRequest) -> Result<()> {
        if request.all {
            self.delete_in(&[], request.force, request.keep_repo).await?;
            return Ok(());
        }
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        let (force, keep) = (request.force, request.keep_repo);
        let outcome = self.services.controller.delete_pipeline(&pipeline, force, keep).await;
        outcome.map_err(controller)
    }

    pub(super) async fn delete_pipelines(
        &self,
        request: pb::DeletePipelinesRequest,
    ) -> Result<pb::DeletePipelinesResponse> {
        let projects = convert::projects(&request.projects)?;
        if projects.is_empty() && !request.all {
            return Err(missing("project"));
        }
        let chosen = if request.all { &[][..] } else { &projects };
        let deleted = self.delete_in(chosen, request.force, request.keep_repo).await?;
        Ok(pb::DeletePipelinesResponse {
            pipelines: deleted.iter().map(pipeline_message).collect(),
        })
    }

    pub(super) async fn delete_all(&self, (): ()) -> Result<()> {
        self.delete_in(&[], true, false).await?;
        Ok(())
    }

    /// Deletes the pipelines of some projects, or of all, newest first: those
    /// that read an output were created after its pipeline.
    async fn delete_in(
        &self,
        projects: &[ProjectName],
        force: bool,
        keep_repo: bool,
    ) -> Result<Vec<Pipeline>> {
        let mut deleted = Vec::new();
        for row in self.pipelines(projects).await? {
            let gone = self.services.controller.delete_pipeline(&row.pipeline, force, keep_repo);
            gone.await.map_err(controller)?;
            deleted.push(row.pipeline);
        }
        Ok(deleted)
    }

    /// A new job on the current heads.
    pub(super) async fn run_pipeline(&self, request: pb::RunPipelineRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        if !request.provenance.is_empty() || !request.job_id.is_empty() {
            return Err(Status::unimplemented("running a pipeline on chosen commits"));
        }
        self.services.repos.run_pipeline(&pipeline).await.map_err(refused)?;
        Ok(())
    }

    pub(super) async fn pipelines_summary(
        &self,
        request: pb::PipelinesSummaryRequest,
    ) -> Result<pb::PipelinesSummaryResponse> {
        let mut summaries = Vec::new();
        for picker in &request.projects {
            let project = pick::project(picker)?;
            let mut summary = pb::PipelinesSummary {
                project: Some(project_message(&project)),
                ..Default::default()
            };
            for row in self.pipelines(&[project]).await? {
                *counted(&mut summary, row.state) += 1;
            }
            summaries.push(summary);
        }
        Ok(pb::PipelinesSummaryResponse { summaries })
    }

    /// Pipelines that need somebody to look at them.
    pub(super) async fn check_status(
        &self,
        request: pb::CheckStatusRequest,
    ) -> Result<BoxStream<pb::CheckStatusResponse>> {
        use pb::check_status_request::Context;
        let projects = match &request.context {
            Some(Context::Project(project)) => vec![convert::project(Some(project))?],
            Some(Context::All(_)) => Vec::new(),
            None => return Err(missing("project")),
        };
        let rows = self.pipelines(&projects).await?;
        let alerts = rows.into_iter().filter_map(|row| {
            let alert = alert(&row)?;
            Some(pb::CheckStatusResponse {
                project: Some(project_message(&row.pipeline.project)),
                pipeline: Some(pipeline_message(&row.pipeline)),
                alerts: vec![alert],
            })
        });
        Ok(all(alerts.collect::<Vec<_>>()))
    }

    /// Current versions, newest first: of some projects, or of all.
    pub(super) async fn pipelines(&self, projects: &[ProjectName]) -> Result<Vec<PipelineRow>> {
        let only = match projects {
            [one] => Some(one),
            _ => None,
        };
        let rows = self.services.repos.catalog().pipelines(only).await.map_err(|e| catalog(&e))?;
        let within =
            |row: &PipelineRow| projects.is_empty() || projects.contains(&row.pipeline.project);
        Ok(rows.into_iter().filter(within).collect())
    }

    async fn info(&self, row: &PipelineRow) -> Result<pb::PipelineInfo> {
        let newest = JobQuery {
            pipeline: Some(row.pipeline.clone()),
            limit: Some(1),
            ..JobQuery::default()
        };
        let jobs = self.services.repos.catalog().jobs(&newest).await.map_err(|e| catalog(&e))?;
        let mut info = pipeline_info(row, jobs.first().map(|job| job.state));
        let executor = self.services.controller.executor_name().to_owned();
        info.metadata.insert("executor".to_owned(), executor);
        Ok(info)
    }
}

/// Refuses filter programs: there is no interpreter for them here.
pub(super) fn unfiltered(jq: &str) -> Result<()> {
    match jq.is_empty() {
        true => Ok(()),
        false => Err(Status::unimplemented("jq filters are not implemented")),
    }
}

fn counted(summary: &mut pb::PipelinesSummary, state: PipelineState) -> &mut i64 {
    match state {
        PipelineState::Starting | PipelineState::Running | PipelineState::Standby => {
            &mut summary.active_pipelines
        }
        PipelineState::Paused => &mut summary.paused_pipelines,
        PipelineState::Failure => &mut summary.failed_pipelines,
        PipelineState::Restarting | PipelineState::Crashing => &mut summary.unhealthy_pipelines,
    }
}

fn alert(row: &PipelineRow) -> Option<String> {
    match row.state {
        PipelineState::Failure | PipelineState::Crashing | PipelineState::Restarting => {
            Some(format!("{}: {}", row.state, row.reason))
        }
        PipelineState::Starting
        | PipelineState::Running
        | PipelineState::Paused
        | PipelineState::Standby => None,
    }
}

fn paged(pipelines: Vec<Pipeline>, page: &pb::PipelinePage) -> Result<Vec<Pipeline>> {
    let natural = |value: i64| usize::try_from(value).map_err(|_| invalid("a page is negative"));
    let (size, index) = (natural(page.page_size)?, natural(page.page_index)?);
    let size = if size == 0 { pipelines.len() } else { size };
    Ok(pipelines.into_iter().skip(index.saturating_mul(size)).take(size).collect())
}
