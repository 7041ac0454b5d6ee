//! What specs leave out: defaults of the cluster and of projects.

use serde_json::{Map, Value as Json, json};
use tonic::Status;

use super::Pps;
use super::create::{parsed, written};
use crate::api::convert::{self, pipeline_message};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, controller, invalid, refused, with_hint};
use crate::catalog::{Op, Pipeline, PipelineRow};
use crate::controller::CreatePipeline;
use crate::model::ProjectName;
use crate::pipeline::spec::{self, KeyStyle};

/// No defaults at all.
const NONE: &str = "{}";

/// The settings key of the cluster's defaults.
const CLUSTER: &str = "defaults/cluster";

/// How often others may be faster.
const ATTEMPTS: u32 = 100;

/// How defaults change.
struct Change {
    /// Where they are kept.
    key: String,
    /// The project they are for; `None` is all.
    project: Option<ProjectName>,
    json: String,
    regenerate: bool,
    reprocess: bool,
    dry_run: bool,
}

impl Pps {
    pub(super) async fn get_cluster_defaults(
        &self,
        _: pb::GetClusterDefaultsRequest,
    ) -> Result<pb::GetClusterDefaultsResponse> {
        let cluster_defaults_json = self.defaults_at(CLUSTER).await?;
        Ok(pb::GetClusterDefaultsResponse { cluster_defaults_json })
    }

    pub(super) async fn get_project_defaults(
        &self,
        request: pb::GetProjectDefaultsRequest,
    ) -> Result<pb::GetProjectDefaultsResponse> {
        let project = convert::project(request.project.as_ref())?;
        self.services.repos.inspect_project(&project).await.map_err(refused)?;
        let project_defaults_json = self.defaults_at(&key(&project)).await?;
        Ok(pb::GetProjectDefaultsResponse { project_defaults_json, ..Default::default() })
    }

    pub(super) async fn set_cluster_defaults(
        &self,
        request: pb::SetClusterDefaultsRequest,
    ) -> Result<pb::SetClusterDefaultsResponse> {
        let change = Change {
            key: CLUSTER.to_owned(),
            project: None,
            json: request.cluster_defaults_json,
            regenerate: request.regenerate,
            reprocess: request.reprocess,
            dry_run: request.dry_run,
        };
        let affected_pipelines = self.set_defaults(change).await?;
        Ok(pb::SetClusterDefaultsResponse { affected_pipelines })
    }

    pub(super) async fn set_project_defaults(
        &self,
        request: pb::SetProjectDefaultsRequest,
    ) -> Result<pb::SetProjectDefaultsResponse> {
        let project = convert::project(request.project.as_ref())?;
        self.services.repos.inspect_project(&project).await.map_err(refused)?;
        let change = Change {
            key: key(&project),
            project: Some(project),
            json: request.project_defaults_json,
            regenerate: request.regenerate,
            reprocess: request.reprocess,
            dry_run: request.dry_run,
        };
        let affected_pipelines = self.set_defaults(change).await?;
        Ok(pb::SetProjectDefaultsResponse { affected_pipelines })
    }

    /// What a spec is laid over: the cluster's defaults, then its project's.
    pub(super) async fn defaults_for(&self, spec: &str) -> Result<Vec<Json>> {
        // Without its own fields a spec still says where it belongs; what is
        // wrong with it is told when it is read in full.
        let project = spec::project_of(spec).unwrap_or_else(ProjectName::default_project);
        let mut defaults = Vec::new();
        for key in [CLUSTER.to_owned(), key(&project)] {
            defaults.push(request_in(&self.defaults_at(&key).await?)?);
        }
        Ok(defaults)
    }

    async fn defaults_at(&self, key: &str) -> Result<String> {
        let kept = self.services.repos.catalog().setting(key).await.map_err(|e| catalog(&e))?;
        let text = kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(text.unwrap_or_else(|| NONE.to_owned()))
    }

    /// Sets defaults and, when asked to, gives the pipelines they change new
    /// versions, in one step. Answers with those pipelines.
    async fn set_defaults(&self, change: Change) -> Result<Vec<pb::Pipeline>> {
        let json = if change.json.trim().is_empty() { NONE } else { &change.json };
        let fresh = request_in(json)?;
        if change.reprocess && !change.regenerate {
            return Err(invalid("reprocessing needs the pipelines to be regenerated"));
        }
        for _ in 0..ATTEMPTS {
            let affected = self.affected(&change, &fresh).await?;
            let names = affected.iter().map(|(pipeline, _)| pipeline_message(pipeline)).collect();
            if change.dry_run {
                return Ok(names);
            }
            let set = Op::PutSetting { key: change.key.clone(), value: json.to_owned().into() };
            let regenerated = if change.regenerate { affected } else { Vec::new() };
            if self.regenerate(regenerated, set).await? {
                return Ok(if change.regenerate { names } else { Vec::new() });
            }
        }
        Err(Status::aborted(format!("others were faster {ATTEMPTS} times")))
    }

    /// The pipelines whose spec is another one with the new defaults.
    async fn affected(
        &self,
        change: &Change,
        fresh: &Json,
    ) -> Result<Vec<(Pipeline, CreatePipeline)>> {
        let projects: Vec<_> = change.project.iter().cloned().collect();
        let mut affected = Vec::new();
        // Oldest first: upstream before downstream.
        for row in self.pipelines(&projects).await?.iter().rev() {
            let mut defaults = self.defaults_for(written(row)).await?;
            defaults[usize::from(change.project.is_some())].clone_from(fresh);
            let request = regenerated(row, &defaults, change.reprocess)?;
            let salted = spec::PipelineSpec { salt: row.salt.clone(), ..request.spec.clone() };
            let text = salted.to_json(KeyStyle::Snake).to_string();
            if text != row.spec {
                affected.push((row.pipeline.clone(), request));
            }
        }
        Ok(affected)
    }

    async fn regenerate(
        &self,
        pipelines: Vec<(Pipeline, CreatePipeline)>,
        set: Op,
    ) -> Result<bool> {
        let super::Services { repos, controller: runs, .. } = &self.services;
        let together = repos.together(repos.clock().commit_id()).await.map_err(refused)?;
        let mut rows = Vec::new();
        for (_, request) in &pipelines {
            let row = runs.put_pipeline(&together.repos(), request, false).await;
            rows.push(row.map_err(controller)?);
        }
        if !together.publish(vec![set]).await.map_err(refused)? {
            return Ok(false);
        }
        for row in &rows {
            runs.settle_pipeline(row).await.map_err(controller)?;
        }
        Ok(true)
    }
}

/// The settings key of a project's defaults.
fn key(project: &ProjectName) -> String {
    crate::repo::project_defaults_key(project)
}

/// The next version of a pipeline over other defaults.
fn regenerated(row: &PipelineRow, defaults: &[Json], reprocess: bool) -> Result<CreatePipeline> {
    let text = written(row);
    let mut spec = parsed(text, defaults)?.spec;
    (spec.update, spec.reprocess) = (false, false);
    Ok(CreatePipeline { spec, written: text.to_owned(), update: true, reprocess })
}

/// The fields of a spec within defaults.
fn request_in(json: &str) -> Result<Json> {
    let bad = |why: String| {
        let hint = format!("expected {}", json!({"create_pipeline_request": {"datum_tries": "5"}}));
        with_hint(tonic::Code::InvalidArgument, format!("invalid defaults: {why}"), Some(hint))
    };
    let found: Map<String, Json> = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
    let mut request = Json::Object(Map::new());
    for (name, value) in found {
        match (name.as_str(), value) {
            ("create_pipeline_request" | "createPipelineRequest", Json::Null) => {}
            ("create_pipeline_request" | "createPipelineRequest", Json::Object(fields)) => {
                request = Json::Object(fields);
            }
            ("create_pipeline_request" | "createPipelineRequest", _) => {
                return Err(bad(format!("{name} must be an object")));
            }
            _ => return Err(bad(format!("unknown field {name:?}"))),
        }
    }
    spec::check_defaults(&request).map_err(|error| bad(error.to_string()))?;
    Ok(request)
}
