//! `pps_v2.API`: pipelines, jobs, datums, logs and secrets.

mod details;
mod jobs;
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
    unary {
        inspect_pipeline: pb::InspectPipelineRequest => pb::PipelineInfo,
        start_pipeline: pb::StartPipelineRequest => (),
        stop_pipeline: pb::StopPipelineRequest => (),
        delete_pipeline: pb::DeletePipelineRequest => (),
        delete_pipelines: pb::DeletePipelinesRequest => pb::DeletePipelinesResponse,
        delete_all: () => (),
        run_pipeline: pb::RunPipelineRequest => (),
        pipelines_summary: pb::PipelinesSummaryRequest => pb::PipelinesSummaryResponse,
        get_cluster_defaults: pb::GetClusterDefaultsRequest => pb::GetClusterDefaultsResponse,
        get_project_defaults: pb::GetProjectDefaultsRequest => pb::GetProjectDefaultsResponse,
        inspect_job: pb::InspectJobRequest => pb::JobInfo,
        create_secret: pb::CreateSecretRequest => (),
        inspect_secret: pb::InspectSecretRequest => pb::SecretInfo,
        list_secret: () => pb::SecretInfos,
        delete_secret: pb::DeleteSecretRequest => (),
    }
    streaming {
        list_pipeline: pb::ListPipelineRequest => pb::PipelineInfo,
        check_status: pb::CheckStatusRequest => pb::CheckStatusResponse,
        inspect_job_set: pb::InspectJobSetRequest => pb::JobInfo,
        list_job: pb::ListJobRequest => pb::JobInfo,
        list_job_set: pb::ListJobSetRequest => pb::JobSetInfo,
        subscribe_job: pb::SubscribeJobRequest => pb::JobInfo,
    }
}
