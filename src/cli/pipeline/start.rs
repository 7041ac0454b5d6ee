//! `start pipeline`.

use super::named;
use crate::cli::prelude::*;

/// Start a pipeline that was stopped; it works off what it has missed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs start pipeline train")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Args {
    /// Starts the pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pps::StartPipelineRequest { pipeline: Some(named(cx, &self.name)?) };
        cx.client().await?.pps().start_pipeline(request).await?;
        Ok(())
    }
}
