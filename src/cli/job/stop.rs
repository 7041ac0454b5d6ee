//! `stop job`.

use crate::cli::prelude::*;

/// Stop a job; it ends as killed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs stop job train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// The job, or the id of a job set
    #[arg(value_name = "PIPELINE@ID|ID")]
    job: String,
    /// Why; shown with the job
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    /// Stops the job, or those of the set.
    pub async fn run(self, cx: &Context) -> Outcome {
        for job in super::keys(cx, &self.job).await? {
            let request = pps::StopJobRequest { job: Some(job), reason: self.reason.clone() };
            cx.client().await?.pps().stop_job(request).await?;
        }
        Ok(())
    }
}
