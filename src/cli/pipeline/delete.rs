//! `delete pipeline`.

use super::named;
use crate::cli::prelude::*;

/// Delete a pipeline, its jobs and its output repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs delete pipeline train
  pfs delete pipeline train --keep-repo")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE", required_unless_present = "all")]
    name: Option<String>,
    /// Delete every pipeline of the project
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Delete it even though other pipelines read its output
    #[arg(short, long)]
    force: bool,
    /// Keep the output repo
    #[arg(long)]
    keep_repo: bool,
}

impl Args {
    /// Deletes the pipeline, or all of them.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pps();
        let Some(name) = self.name else {
            let request = pps::DeletePipelinesRequest {
                projects: vec![cx.project()?],
                force: self.force,
                keep_repo: self.keep_repo,
                all: false,
            };
            client.delete_pipelines(request).await?;
            return Ok(());
        };
        let request = pps::DeletePipelineRequest {
            pipeline: Some(named(cx, &name)?),
            force: self.force,
            keep_repo: self.keep_repo,
            must_exist: true,
            ..Default::default()
        };
        client.delete_pipeline(request).await?;
        Ok(())
    }
}
