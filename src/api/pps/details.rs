//! Specs and rows as the messages that describe pipelines and jobs.

use prost::{Message, Name};
use serde_json::Value;

use crate::api::convert::{commit_message, count, job_message, nanos, pipeline_message, time};
use crate::api::json;
use crate::api::proto::pps_v2 as pb;
use crate::catalog::{JobRow, JobState, PipelineRow, PipelineState};
use crate::model::{Repo, RepoKind};

/// The stored spec as a request; what the protocol has no field for is left
/// out.
fn request(spec: &str) -> pb::CreatePipelineRequest {
    match serde_json::from_str(spec) {
        Ok(Value::Object(fields)) => fields
            .into_iter()
            .filter_map(|(key, value)| field::<pb::CreatePipelineRequest>(&key, &value))
            .fold(Default::default(), |spec, part| merged(spec, &part)),
        // Written by ourselves; a spec that is no object has no details.
        Ok(_) | Err(_) => Default::default(),
    }
}

/// A message with only this field, if the protocol knows it.
fn field<M: Message + Name + Default>(key: &str, value: &Value) -> Option<M> {
    json::from_json(&serde_json::json!({ key: value })).ok()
}

fn merged<M: Message + Default>(mut into: M, part: &M) -> M {
    // Just encoded, so it decodes.
    let _ = into.merge(part.encode_to_vec().as_slice());
    into
}

/// A pipeline; `last_job` is the state of its newest job.
pub(super) fn pipeline_info(row: &PipelineRow, last_job: Option<JobState>) -> pb::PipelineInfo {
    let details = pipeline_details(row);
    let pipeline = &row.pipeline;
    let spec_repo = Repo::of_pipeline(&pipeline.project, &pipeline.name, RepoKind::Spec);
    pb::PipelineInfo {
        pipeline: Some(pipeline_message(pipeline)),
        version: row.version,
        spec_commit: Some(commit_message(&spec_repo.commit(row.spec_commit), None)),
        stopped: row.stopped,
        state: pipeline_state(row.state).into(),
        reason: row.reason.clone(),
        last_job_state: last_job.map_or(pb::JobState::Unknown, job_state).into(),
        parallelism: details.parallelism_spec.as_ref().map_or(1, |spec| spec.constant),
        r#type: pb::pipeline_info::PipelineType::Transform.into(),
        details: Some(details),
        user_spec_json: super::create::written(row).to_owned(),
        effective_spec_json: row.spec.clone(),
        ..Default::default()
    }
}

fn pipeline_details(row: &PipelineRow) -> pb::pipeline_info::Details {
    let spec = request(&row.spec);
    let workers = spec.parallelism_spec.as_ref().map_or(1, |spec| count(spec.constant));
    pb::pipeline_info::Details {
        transform: spec.transform,
        tf_job: spec.tf_job,
        parallelism_spec: Some(
            spec.parallelism_spec.unwrap_or(pb::ParallelismSpec { constant: 1 }),
        ),
        egress: spec.egress,
        created_at: Some(time(row.created)),
        updated_at: Some(time(row.created)),
        workers_requested: workers,
        workers_available: if row.stopped { 0 } else { workers },
        output_branch: row.output_branch.as_str().to_owned(),
        resource_requests: spec.resource_requests,
        resource_limits: spec.resource_limits,
        sidecar_resource_limits: spec.sidecar_resource_limits,
        sidecar_resource_requests: spec.sidecar_resource_requests,
        input: spec.input,
        description: spec.description,
        salt: row.salt.clone(),
        reason: row.reason.clone(),
        service: spec.service,
        spout: spec.spout,
        datum_set_spec: spec.datum_set_spec,
        datum_timeout: spec.datum_timeout,
        job_timeout: spec.job_timeout,
        datum_tries: spec.datum_tries,
        scheduling_spec: spec.scheduling_spec,
        pod_spec: spec.pod_spec,
        pod_patch: spec.pod_patch,
        s3_out: spec.s3_out,
        metadata: spec.metadata,
        reprocess_spec: spec.reprocess_spec,
        autoscaling: spec.autoscaling,
        tolerations: spec.tolerations,
        determined: spec.determined,
        maximum_expected_uptime: spec.maximum_expected_uptime,
        ..Default::default()
    }
}

/// A job, with the details of the pipeline version it runs when given.
pub(super) fn job_info(row: &JobRow, version: Option<&PipelineRow>) -> pb::JobInfo {
    let counters = row.counters;
    pb::JobInfo {
        job: Some(job_message(&row.job)),
        pipeline_version: row.version,
        output_commit: Some(commit_message(&row.output, version.map(|v| &v.output_branch))),
        restart: row.restarts,
        data_processed: count(counters.processed),
        data_skipped: count(counters.skipped),
        data_total: count(counters.total),
        data_failed: count(counters.failed),
        data_recovered: count(counters.recovered),
        stats: Some(pb::ProcessStats {
            download_time: Some(nanos(counters.download_nanos)),
            process_time: Some(nanos(counters.process_nanos)),
            upload_time: Some(nanos(counters.upload_nanos)),
            download_bytes: count(counters.downloaded),
            upload_bytes: count(counters.uploaded),
        }),
        state: job_state(row.state).into(),
        reason: row.reason.clone(),
        created: Some(time(row.created)),
        started: row.started.map(time),
        finished: row.finished.map(time),
        details: version.map(|version| job_details(row, version)),
        ..Default::default()
    }
}

fn job_details(job: &JobRow, version: &PipelineRow) -> pb::job_info::Details {
    let spec = request(&version.spec);
    let mut input = spec.input;
    if let Some(input) = &mut input {
        pin(input, job);
    }
    pb::job_info::Details {
        transform: spec.transform,
        parallelism_spec: Some(
            spec.parallelism_spec.unwrap_or(pb::ParallelismSpec { constant: 1 }),
        ),
        egress: spec.egress,
        service: spec.service,
        spout: spec.spout,
        worker_status: Vec::new(),
        resource_requests: spec.resource_requests,
        resource_limits: spec.resource_limits,
        sidecar_resource_limits: spec.sidecar_resource_limits,
        sidecar_resource_requests: spec.sidecar_resource_requests,
        input,
        salt: version.salt.clone(),
        datum_set_spec: spec.datum_set_spec,
        datum_timeout: spec.datum_timeout,
        job_timeout: spec.job_timeout,
        datum_tries: spec.datum_tries,
        scheduling_spec: spec.scheduling_spec,
        pod_spec: spec.pod_spec,
        pod_patch: spec.pod_patch,
    }
}

/// Writes into an input tree which commits the job reads.
fn pin(input: &mut pb::Input, job: &JobRow) {
    if let Some(pfs) = &mut input.pfs {
        let branch = if pfs.branch.is_empty() { "master" } else { &pfs.branch };
        let read = job.inputs.iter().find(|read| {
            let repo = &read.branch.repo;
            let project = match pfs.project.as_str() {
                "" => job.job.pipeline.project.as_str(),
                project => project,
            };
            let same = repo.project.as_str() == project && repo.name.as_str() == pfs.repo;
            same && read.branch.name.as_str() == branch
        });
        pfs.commit = read.map(|read| read.commit.to_string()).unwrap_or_default();
    }
    if let Some(cron) = &mut input.cron {
        let read = job.inputs.iter().find(|read| read.branch.repo.name.as_str() == cron.repo);
        cron.commit = read.map(|read| read.commit.to_string()).unwrap_or_default();
    }
    for members in [&mut input.cross, &mut input.union, &mut input.join, &mut input.group] {
        members.iter_mut().for_each(|member| pin(member, job));
    }
}

/// A job's state on the wire.
pub(super) fn job_state(state: JobState) -> pb::JobState {
    match state {
        JobState::Created => pb::JobState::JobCreated,
        JobState::Starting => pb::JobState::JobStarting,
        JobState::Running => pb::JobState::JobRunning,
        JobState::Failure => pb::JobState::JobFailure,
        JobState::Success => pb::JobState::JobSuccess,
        JobState::Killed => pb::JobState::JobKilled,
        JobState::Egressing => pb::JobState::JobEgressing,
        JobState::Finishing => pb::JobState::JobFinishing,
        JobState::Unrunnable => pb::JobState::JobUnrunnable,
    }
}

fn pipeline_state(state: PipelineState) -> pb::PipelineState {
    match state {
        PipelineState::Starting => pb::PipelineState::PipelineStarting,
        PipelineState::Running => pb::PipelineState::PipelineRunning,
        PipelineState::Restarting => pb::PipelineState::PipelineRestarting,
        PipelineState::Failure => pb::PipelineState::PipelineFailure,
        PipelineState::Paused => pb::PipelineState::PipelinePaused,
        PipelineState::Standby => pb::PipelineState::PipelineStandby,
        PipelineState::Crashing => pb::PipelineState::PipelineCrashing,
    }
}
