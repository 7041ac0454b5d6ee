//! Creating and updating pipelines from specs.

use tonic::Status;

use super::Pps;
use crate::api::convert::{self, not_found};
use crate::api::json::{self, Keys};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, controller, invalid, refused, with_hint};
use crate::catalog::PipelineRow;
use crate::controller::CreatePipeline;
use crate::model::ProjectName;
use crate::pipeline::spec::{self, KeyStyle, PipelineSpec, SecretTarget};

impl Pps {
    pub(super) async fn create_pipeline(&self, request: pb::CreatePipelineRequest) -> Result<()> {
        let dry_run = request.dry_run;
        let spec = parsed(&json::to_json(&request, Keys::Snake).to_string())?;
        match dry_run {
            true => Ok(()),
            false => self.put(spec).await,
        }
    }

    pub(super) async fn create_pipeline_v2(
        &self,
        request: pb::CreatePipelineV2Request,
    ) -> Result<pb::CreatePipelineV2Response> {
        let mut spec = parsed(&request.create_pipeline_request_json)?;
        spec.update |= request.update;
        spec.reprocess |= request.reprocess;
        let shown = PipelineSpec { update: false, reprocess: false, ..spec.clone() };
        let effective = shown.to_json(KeyStyle::Snake).to_string();
        if !request.dry_run {
            self.put(spec).await?;
        }
        Ok(pb::CreatePipelineV2Response { effective_create_pipeline_request_json: effective })
    }

    /// The next version of a pipeline with the spec it has.
    pub(super) async fn rerun_pipeline(&self, request: pb::RerunPipelineRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        let row = self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        let mut spec = stored(&row)?;
        spec.update = true;
        spec.reprocess = request.reprocess;
        self.put(spec).await
    }

    /// Creates the pipeline, or its next version where the spec says update.
    async fn put(&self, spec: PipelineSpec) -> Result<()> {
        self.secrets_exist(&spec).await?;
        let (update, reprocess) = (spec.update, spec.reprocess);
        let request = CreatePipeline { spec, update, reprocess };
        self.services.controller.create_pipeline(&request).await.map_err(controller)?;
        Ok(())
    }

    async fn secrets_exist(&self, spec: &PipelineSpec) -> Result<()> {
        for secret in &spec.transform.secrets {
            let row = self.services.repos.catalog().secret(&secret.name).await;
            let Some(row) = row.map_err(|e| catalog(&e))? else {
                return Err(not_found(format!("secret {:?}", secret.name)));
            };
            if let SecretTarget::Variable { key, .. } = &secret.target
                && !row.values.contains_key(key)
            {
                return Err(not_found(format!("key {key:?} of secret {:?}", secret.name)));
            }
        }
        Ok(())
    }

    /// A tick, now, of every schedule that a pipeline reads.
    pub(super) async fn run_cron(&self, request: pb::RunCronRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        self.services.controller.run_cron(&pipeline).await.map_err(controller)?;
        Ok(())
    }
}

/// The one spec in a request.
fn parsed(text: &str) -> Result<PipelineSpec> {
    let parsed = spec::parse("spec", text, &ProjectName::default_project());
    let mut parsed = parsed.map_err(|error| {
        let hint = error.hint.clone();
        with_hint(tonic::Code::InvalidArgument, error.to_string(), hint)
    })?;
    match (parsed.pop(), parsed.is_empty()) {
        (Some(one), true) => Ok(one.spec),
        _ => Err(invalid("a request creates one pipeline")),
    }
}

/// The spec of a pipeline's version.
fn stored(row: &PipelineRow) -> Result<PipelineSpec> {
    PipelineSpec::from_json(&row.spec)
        .map_err(|error| Status::data_loss(format!("the spec of {}: {error}", row.pipeline)))
}
