//! Creating and updating pipelines from specs.

use bytes::Bytes;
use serde_json::Value;
use tonic::Status;

use super::Pps;
use crate::api::convert::{self, not_found};
use crate::api::json::{self, Keys};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, invalid, refused, with_hint};
use crate::catalog::{Pipeline, PipelineRow, StoredRoot};
use crate::chunk::Content;
use crate::model::{Branch, BranchName, ProjectName, Ref, TreePath};
use crate::pipeline::spec::{self, CronInput, KeyStyle, Leaf, PipelineSpec, SecretTarget};
use crate::repo::{ChangeNote, PutPipeline};
use crate::tree::{ApplyOptions, Edit, Entry, Root, TreeError, apply};

impl Pps {
    pub(super) async fn create_pipeline(&self, request: pb::CreatePipelineRequest) -> Result<()> {
        let dry_run = request.dry_run;
        let text = json::to_json(&request, Keys::Snake).to_string();
        let spec = parsed(&text)?;
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
        let effective = stored_form(&spec).to_string();
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

    /// A tick, now, of every schedule that a pipeline reads.
    pub(super) async fn run_cron(&self, request: pb::RunCronRequest) -> Result<()> {
        let pipeline = convert::pipeline(request.pipeline.as_ref())?;
        let row = self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        let spec = stored(&row)?;
        let mut ticked = false;
        for leaf in spec.input.leaves() {
            if let Leaf::Cron(cron) = leaf {
                self.tick(cron).await?;
                ticked = true;
            }
        }
        match ticked {
            true => Ok(()),
            false => Err(invalid(format!("pipeline {pipeline} has no cron input"))),
        }
    }

    async fn tick(&self, cron: &CronInput) -> Result<()> {
        let repos = &self.services.repos;
        let master = Ref::branch(BranchName::master());
        let begun = repos.change_files(&cron.repo, &master, ChangeNote::default()).await;
        let mut changes = begun.map_err(refused)?;
        if cron.overwrite {
            changes.delete(&TreePath::root()).await.map_err(refused)?;
        }
        let now = repos.clock().now();
        let at = jiff::Timestamp::from_nanosecond(now.as_nanos().into()).unwrap_or_default();
        let seconds = jiff::Timestamp::from_second(at.as_second()).unwrap_or_default();
        changes
            .write(&convert::path(&seconds.to_string())?, Bytes::new())
            .await
            .map_err(refused)?;
        changes.finish().await.map_err(refused)?;
        Ok(())
    }

    /// Creates the pipeline, or its next version where the spec says update.
    async fn put(&self, mut spec: PipelineSpec) -> Result<()> {
        let pipeline = Pipeline { project: spec.project.clone(), name: spec.name.clone() };
        let repos = &self.services.repos;
        let known = repos.catalog().pipeline(&pipeline).await.map_err(|e| catalog(&e))?;
        if known.is_some() && !spec.update {
            return Err(with_hint(
                tonic::Code::AlreadyExists,
                format!("pipeline {}/{} already exists", pipeline.project, pipeline.name),
                Some("update the pipeline instead".to_owned()),
            ));
        }
        self.secrets_exist(&spec).await?;
        let inputs = self.inputs(&spec).await?;
        spec.salt = self.salt(&spec, known.as_ref());
        let text = stored_form(&spec).to_string();
        let put = PutPipeline {
            pipeline,
            replaces: known.map(|row| row.version),
            spec_root: self.spec_root(&text).await?,
            salt: spec.salt,
            inputs,
            output_branch: spec.output_branch,
            description: spec.description,
            spec: text,
        };
        repos.put_pipeline(&put).await.map_err(refused)?;
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

    /// The branches a spec reads; the repos of its schedules are created.
    async fn inputs(&self, spec: &PipelineSpec) -> Result<Vec<Branch>> {
        let mut inputs = Vec::new();
        for leaf in spec.input.leaves() {
            if let Leaf::Cron(cron) = leaf {
                let about = format!("Cron tick repo for pipeline {}.", spec.name);
                let created = self.services.repos.create_repo(&cron.repo, &about, true).await;
                created.map_err(refused)?;
            }
            let branch = leaf.repo().branch(leaf.branch());
            if !inputs.contains(&branch) {
                inputs.push(branch);
            }
        }
        Ok(inputs)
    }

    fn salt(&self, spec: &PipelineSpec, known: Option<&PipelineRow>) -> String {
        match known {
            Some(row) if !spec.reprocess => row.salt.clone(),
            Some(_) | None => hex::encode(self.services.repos.clock().random()),
        }
    }

    /// A tree whose one file, `/spec`, is the spec.
    async fn spec_root(&self, text: &str) -> Result<StoredRoot> {
        let repos = &self.services.repos;
        let writer = repos.blobs().writer();
        let content = match text.len() <= crate::chunk::INLINE_MAX {
            true => Content::Inline(Bytes::copy_from_slice(text.as_bytes())),
            false => {
                let mut file = crate::chunk::FileWriter::new(&writer, &[]);
                let written = file.write(Bytes::copy_from_slice(text.as_bytes())).await;
                written.map_err(|error| refused(error.into()))?;
                file.finish().await.map_err(|error| refused(error.into()))?
            }
        };
        // A fixed word is a valid path.
        let path: TreePath = convert::parse("spec")?;
        let entry = Entry::file(content, repos.clock().now());
        let edits = futures::stream::iter([Ok::<_, TreeError>((path, Edit::Put(entry)))]);
        let options = ApplyOptions { prune_parents: false };
        let root = apply(repos.nodes(), &writer, &Root::empty(), edits, options).await;
        let root = root.map_err(|error| refused(error.into()))?;
        writer.flush().await.map_err(|error| refused(error.into()))?;
        let totals = root.totals();
        Ok(StoredRoot { encoded: root.encode().into(), files: totals.files, bytes: totals.bytes })
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

/// The spec as it is kept: without what only the request said.
fn stored_form(spec: &PipelineSpec) -> Value {
    let spec = PipelineSpec { update: false, reprocess: false, ..spec.clone() };
    spec.to_json(KeyStyle::Snake)
}
