//! Datums of jobs, and those a spec would have.

use futures::stream::BoxStream as Infos;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tonic::codegen::BoxStream;

use super::Pps;
use crate::api::convert::{self, commit_message, count, job_message, nanos};
use crate::api::json::{Keys, to_json};
use crate::api::proto::{pfs_v2, pps_v2 as pb};
use crate::api::service::all;
use crate::api::status::{Result, controller, invalid, missing};
use crate::catalog::Job;
use crate::model::{DatumId, ProjectName, Repo, RepoKind, RepoRef, TreePath};
use crate::pipeline::job::DatumState;
use crate::pipeline::record::{DatumRecord, InputRecord};
use crate::pipeline::spec;

impl Pps {
    pub(super) async fn inspect_datum(
        &self,
        request: pb::InspectDatumRequest,
    ) -> Result<pb::DatumInfo> {
        let datum = request.datum.as_ref().ok_or_else(|| missing("datum"))?;
        let (job, id) = (self.services.job(datum.job.as_ref()).await?, convert::parse(&datum.id)?);
        let found = self.services.controller.inspect_datum(&job, id).await.map_err(controller)?;
        Ok(datum_info(Some(&job), found.state, &found.record))
    }

    /// Interrupts datums of a running job and processes them again.
    pub(super) async fn restart_datum(&self, request: pb::RestartDatumRequest) -> Result<()> {
        let job = self.services.job(request.job.as_ref()).await?;
        let restarted = self.services.controller.restart_datums(&job, &request.data_filters);
        restarted.await.map_err(controller)
    }

    pub(super) async fn list_datum(
        &self,
        request: pb::ListDatumRequest,
    ) -> Result<BoxStream<pb::DatumInfo>> {
        let wanted = request.filter.map(|filter| filter.state).unwrap_or_default();
        let mark: Option<DatumId> = match request.pagination_marker.as_str() {
            "" => None,
            id => Some(convert::parse(id)?),
        };
        let number = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let infos: BoxStream<pb::DatumInfo> = match (&request.job, &request.input) {
            (Some(job), _) => self.of_job(job).await?,
            (None, Some(input)) => self.preview(input).await?,
            (None, None) => return Err(missing("job or input")),
        };
        let shown = infos.try_filter(move |info| {
            std::future::ready(wanted.is_empty() || wanted.contains(&info.state))
        });
        if request.reverse {
            let mut all: Vec<_> = shown.try_collect().await?;
            all.reverse();
            let all = futures::stream::iter(all.into_iter().map(Ok));
            return Ok(Box::pin(after(all.boxed(), mark).take(number)));
        }
        Ok(Box::pin(after(shown.boxed(), mark).take(number)))
    }

    async fn of_job(&self, job: &pb::Job) -> Result<BoxStream<pb::DatumInfo>> {
        let job = self.services.job(Some(job)).await?;
        // Fails here rather than in the stream when there is no such job.
        self.job(&job).await?;
        let datums = self.services.controller.list_datums(&job).map_err(controller);
        Ok(Box::pin(datums.map_ok(move |found| datum_info(Some(&job), found.state, &found.record))))
    }

    /// The datums a pipeline with this input would have on the present heads.
    async fn preview(&self, input: &pb::Input) -> Result<BoxStream<pb::DatumInfo>> {
        let text = json!({
            "pipeline": {"name": "preview"},
            "transform": {"cmd": ["true"]},
            "input": to_json(input, Keys::Snake),
        });
        let parsed = spec::parse("input", &text.to_string(), &ProjectName::default_project());
        let parsed = parsed.map_err(|error| invalid(error.message))?.pop();
        let spec = parsed.ok_or_else(|| missing("input"))?.spec;
        let preview = self.services.controller.preview_datums(&spec).await.map_err(controller)?;
        let infos = preview.datums.iter().map(|record| datum_info(None, record.state, record));
        Ok(all(infos.collect::<Vec<_>>()))
    }
}

/// The datums after the marked one.
fn after(
    infos: Infos<'static, Result<pb::DatumInfo>>,
    mark: Option<DatumId>,
) -> Infos<'static, Result<pb::DatumInfo>> {
    let Some(mark) = mark.map(|mark| mark.to_string()) else { return infos };
    let is_mark = move |info: &Result<pb::DatumInfo>| {
        let id = info.as_ref().ok().and_then(|info| info.datum.as_ref()).map(|datum| &datum.id);
        id == Some(&mark)
    };
    infos.skip_while(move |info| std::future::ready(!is_mark(info))).skip(1).boxed()
}

/// A datum of a job, or of none yet.
fn datum_info(job: Option<&Job>, state: DatumState, record: &DatumRecord) -> pb::DatumInfo {
    let stats = record.stats;
    let meta = job.map(|Job { pipeline, id }| {
        let repo = Repo::of_pipeline(&pipeline.project, &pipeline.name, RepoKind::Meta);
        pfs_v2::File {
            commit: Some(commit_message(&repo.commit(*id), None)),
            path: format!("/pfs/{}/", record.id),
            datum: String::new(),
        }
    });
    let project = job.map_or_else(ProjectName::default_project, |job| job.pipeline.project.clone());
    pb::DatumInfo {
        datum: Some(pb::Datum { job: job.map(job_message), id: record.id.to_string() }),
        state: state_message(state).into(),
        stats: Some(pb::ProcessStats {
            download_time: Some(nanos(stats.download_nanos)),
            process_time: Some(nanos(stats.process_nanos)),
            upload_time: Some(nanos(stats.upload_nanos)),
            download_bytes: count(stats.download_bytes),
            upload_bytes: count(stats.upload_bytes),
        }),
        pfs_state: meta,
        data: record.inputs.iter().map(|input| input_file(input, &project)).collect(),
        image_id: String::new(),
    }
}

fn input_file(input: &InputRecord, project: &ProjectName) -> pfs_v2::FileInfo {
    // Written by ourselves from a valid repo.
    let repo = RepoRef::parse(&input.repo, project).ok().map(|parsed| parsed.repo);
    let branch = input.branch.rsplit('@').next().and_then(|name| name.parse().ok());
    let commit = repo.map(|repo| commit_message(&repo.commit(input.commit), branch.as_ref()));
    let kind = match input.is_dir {
        true => pfs_v2::FileType::Dir,
        false => pfs_v2::FileType::File,
    };
    pfs_v2::FileInfo {
        file: Some(pfs_v2::File {
            commit,
            path: shown_path(&input.path, input.is_dir),
            datum: String::new(),
        }),
        file_type: kind.into(),
        committed: None,
        size_bytes: count(input.size),
        hash: input.hash.as_bytes().to_vec(),
    }
}

fn shown_path(path: &TreePath, is_dir: bool) -> String {
    match is_dir && !path.is_root() {
        true => format!("{}/", path.absolute()),
        false => path.absolute(),
    }
}

fn state_message(state: DatumState) -> pb::DatumState {
    match state {
        DatumState::Starting => pb::DatumState::Starting,
        DatumState::Skipped => pb::DatumState::Skipped,
        DatumState::Success => pb::DatumState::Success,
        DatumState::Failed => pb::DatumState::Failed,
        DatumState::Recovered => pb::DatumState::Recovered,
    }
}
