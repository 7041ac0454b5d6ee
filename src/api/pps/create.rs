//! Creating and updating pipelines from specs.

use serde_json::Value as Json;

use super::Pps;
use crate::api::convert::{self, not_found};
use crate::api::json::{self, Keys};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, controller, invalid, refused, with_hint};
use crate::catalog::PipelineRow;
use crate::controller::CreatePipeline;
use crate::model::ProjectName;
use crate::pipeline::spec::{self, KeyStyle, Parsed, PipelineSpec, SecretTarget};

/// A pipeline as it is asked for.
pub(in crate::api) struct Wanted {
    /// For the controller.
    pub request: CreatePipeline,
    /// The spec with all defaults, as JSON.
    pub effective: String,
}

impl Pps {
    pub(super) async fn create_pipeline(&self, request: pb::CreatePipelineRequest) -> Result<()> {
        let wanted = self.wanted_by(&request).await?;
        match request.dry_run {
            true => Ok(()),
            false => self.put(wanted).await,
        }
    }

    pub(super) async fn create_pipeline_v2(
        &self,
        request: pb::CreatePipelineV2Request,
    ) -> Result<pb::CreatePipelineV2Response> {
        let json = &request.create_pipeline_request_json;
        let wanted = self.wanted(json, request.update, request.reprocess).await?;
        let effective = wanted.effective.clone();
        match request.dry_run {
            true => self.rehearse(&wanted.request).await?,
            false => self.put(wanted).await?,
        }
        Ok(pb::CreatePipelineV2Response { effective_create_pipeline_request_json: effective })
    }

    /// The next version of a pipeline: its author's spec under the defaults of
    /// now.
    pub(super) async fn rerun_pipeline(&self, request: pb::RerunPipelineRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        let row = self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        let wanted = self.wanted(written(&row), true, request.reprocess).await?;
        self.put(wanted).await
    }

    /// The pipeline that a message asks for.
    pub(in crate::api) async fn wanted_by(
        &self,
        request: &pb::CreatePipelineRequest,
    ) -> Result<Wanted> {
        let spec = pb::CreatePipelineRequest { dry_run: false, ..request.clone() };
        let json = json::to_json(&spec, Keys::Snake).to_string();
        self.wanted(&json, request.update, request.reprocess).await
    }

    /// The pipeline that a spec asks for, with the defaults of the cluster and
    /// its project.
    pub(in crate::api) async fn wanted(
        &self,
        json: &str,
        update: bool,
        reprocess: bool,
    ) -> Result<Wanted> {
        let defaults = self.defaults_for(json).await?;
        let Parsed { mut spec, written, .. } = parsed(json, &defaults)?;
        self.secrets_exist(&spec).await?;
        let (update, reprocess) = (spec.update || update, spec.reprocess || reprocess);
        (spec.update, spec.reprocess) = (false, false);
        let effective = spec.to_json(KeyStyle::Snake).to_string();
        let request = CreatePipeline { spec, written: bare(written), update, reprocess };
        Ok(Wanted { request, effective })
    }

    /// Creates the pipeline, or its next version where that is asked for.
    async fn put(&self, wanted: Wanted) -> Result<()> {
        let created = self.services.controller.create_pipeline(&wanted.request).await;
        created.map_err(controller)?;
        Ok(())
    }

    /// Whether the pipeline could be created; nothing happens.
    async fn rehearse(&self, request: &CreatePipeline) -> Result<()> {
        let repos = &self.services.repos;
        let together = repos.together(repos.clock().commit_id()).await.map_err(refused)?;
        let row = self.services.controller.put_pipeline(&together.repos(), request, true).await;
        row.map(drop).map_err(controller)
    }

    async fn secrets_exist(&self, spec: &PipelineSpec) -> Result<()> {
        for secret in &spec.transform.secrets {
            let row = self.services.repos.catalog().secret(&secret.name).await;
            let Some(row) = row.map_err(|e| catalog(&e))? else {
                let hint = format!("create it with 'pfs create secret {}'", secret.name);
                let message = format!("secret {:?} not found", secret.name);
                return Err(with_hint(tonic::Code::NotFound, message, Some(hint)));
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

/// The one spec in a request, over `defaults`.
pub(super) fn parsed(text: &str, defaults: &[Json]) -> Result<Parsed> {
    let parsed = spec::parse_over("spec", text, &ProjectName::default_project(), defaults);
    let mut parsed = parsed.map_err(|error| {
        let hint = error.hint.clone();
        with_hint(tonic::Code::InvalidArgument, error.to_string(), hint)
    })?;
    match (parsed.pop(), parsed.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(invalid("a request creates one pipeline")),
    }
}

/// What the author of a version wrote, as far as that is known.
pub(super) fn written(row: &PipelineRow) -> &str {
    match row.user_spec.as_str() {
        "" => &row.spec,
        spec => spec,
    }
}

/// A spec without what only says how to create it.
fn bare(mut written: Json) -> String {
    if let Some(fields) = written.as_object_mut() {
        fields.retain(|name, _| !["update", "reprocess", "dry_run", "dryRun"].contains(&&**name));
    }
    written.to_string()
}
