//! `stop pipeline`.

use super::named;
use crate::cli::prelude::*;

/// Stop a pipeline: new commits wait until it is started again
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs stop pipeline train")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Args {
    /// Stops the pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        let pipeline = Some(named(cx, &self.name)?);
        let request = pps::StopPipelineRequest { pipeline, must_exist: true };
        cx.client().await?.pps().stop_pipeline(request).await?;
        Ok(())
    }
}
