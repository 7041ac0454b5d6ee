//! Pipelines.

pub mod check;
pub mod create;
pub mod delete;
pub mod edit;
pub mod extract;
pub mod inspect;
pub mod list;
pub mod run;
pub mod start;
pub mod stop;
pub mod validate;

use crate::cli::prelude::*;

/// `[project/]pipeline`.
pub fn named(cx: &Context, text: &str) -> Outcome<pps::Pipeline> {
    let (project, name) = match text.split_once('/') {
        Some((project, name)) => (project.parse()?, name),
        None => (cx.project_name()?, text),
    };
    let name: crate::model::PipelineName = name.parse()?;
    let project = pfs::Project { name: project.to_string() };
    Ok(pps::Pipeline { project: Some(project), name: name.to_string() })
}

/// One pipeline with its details.
pub async fn fetch(cx: &Context, text: &str) -> Outcome<pps::PipelineInfo> {
    let request = pps::InspectPipelineRequest { pipeline: Some(named(cx, text)?), details: true };
    Ok(cx.client().await?.pps().inspect_pipeline(request).await?.into_inner())
}
