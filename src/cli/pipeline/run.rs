//! `run cron`, `run pipeline`, `rerun pipeline`.

use super::named;
use crate::cli::prelude::*;

/// Let a cron input tick now
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs run cron nightly")]
pub struct Cron {
    /// The pipeline with the cron input
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Cron {
    /// Ticks.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pps::RunCronRequest { pipeline: Some(named(cx, &self.name)?) };
        cx.client().await?.pps().run_cron(request).await?;
        Ok(())
    }
}

/// Start one more job on the inputs a pipeline has
///
/// Datums that earlier jobs have processed are skipped; 'rerun pipeline
/// --reprocess' runs them, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs run pipeline train")]
pub struct Once {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Once {
    /// Starts a job.
    pub async fn run(self, cx: &Context) -> Outcome {
        let pipeline = Some(named(cx, &self.name)?);
        let request = pps::RunPipelineRequest { pipeline, ..Default::default() };
        cx.client().await?.pps().run_pipeline(request).await?;
        Ok(())
    }
}

/// Run a pipeline again on the inputs it has
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs rerun pipeline train --reprocess")]
pub struct Rerun {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    /// Run every datum again, also those whose inputs have not changed
    #[arg(long)]
    reprocess: bool,
}

impl Rerun {
    /// Makes a new version of the pipeline from its present spec.
    pub async fn run(self, cx: &Context) -> Outcome {
        let pipeline = Some(named(cx, &self.name)?);
        let request = pps::RerunPipelineRequest { pipeline, reprocess: self.reprocess };
        cx.client().await?.pps().rerun_pipeline(request).await?;
        Ok(())
    }
}
