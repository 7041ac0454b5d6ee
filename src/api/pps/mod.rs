//! `pps_v2.API`: pipelines, jobs, datums, logs and secrets.

pub(super) mod create;
mod datums;
mod defaults;
mod details;
mod jobs;
mod logs;
mod pipelines;
mod secrets;

use super::proto::pps_v2::{self as pb, api_server::Api};
use super::service::{Services, service};

/// The service.
#[derive(Clone)]
pub(super) struct Pps {
    pub(super) services: Services,
}

service! {
    impl Api as Pps;
    queued {
        create_pipeline: pb::CreatePipelineRequest => (),
        create_pipeline_v2: pb::CreatePipelineV2Request => pb::CreatePipelineV2Response,
    }
    reads {
        inspect_pipeline: pb::InspectPipelineRequest => pb::PipelineInfo,
        pipelines_summary: pb::PipelinesSummaryRequest => pb::PipelinesSummaryResponse,
        get_cluster_defaults: pb::GetClusterDefaultsRequest => pb::GetClusterDefaultsResponse,
        get_project_defaults: pb::GetProjectDefaultsRequest => pb::GetProjectDefaultsResponse,
        inspect_job: pb::InspectJobRequest => pb::JobInfo,
        inspect_datum: pb::InspectDatumRequest => pb::DatumInfo,
        inspect_secret: pb::InspectSecretRequest => pb::SecretInfo,
        list_secret: () => pb::SecretInfos,
    }
    unary {
        rerun_pipeline: pb::RerunPipelineRequest => (),
        run_cron: pb::RunCronRequest => (),
        start_pipeline: pb::StartPipelineRequest => (),
        stop_pipeline: pb::StopPipelineRequest => (),
        delete_pipeline: pb::DeletePipelineRequest => (),
        delete_pipelines: pb::DeletePipelinesRequest => pb::DeletePipelinesResponse,
        delete_all: () => (),
        run_pipeline: pb::RunPipelineRequest => (),
        set_cluster_defaults: pb::SetClusterDefaultsRequest => pb::SetClusterDefaultsResponse,
        set_project_defaults: pb::SetProjectDefaultsRequest => pb::SetProjectDefaultsResponse,
        stop_job: pb::StopJobRequest => (),
        delete_job: pb::DeleteJobRequest => (),
        restart_datum: pb::RestartDatumRequest => (),
        create_secret: pb::CreateSecretRequest => (),
        delete_secret: pb::DeleteSecretRequest => (),
    }
    streaming {
        list_pipeline: pb::ListPipelineRequest => pb::PipelineInfo,
        check_status: pb::CheckStatusRequest => pb::CheckStatusResponse,
        inspect_job_set: pb::InspectJobSetRequest => pb::JobInfo,
        list_job: pb::ListJobRequest => pb::JobInfo,
        list_job_set: pb::ListJobSetRequest => pb::JobSetInfo,
        subscribe_job: pb::SubscribeJobRequest => pb::JobInfo,
        get_logs: pb::GetLogsRequest => pb::LogMessage,
        list_datum: pb::ListDatumRequest => pb::DatumInfo,
    }
}
