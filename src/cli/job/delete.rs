//! `delete job`.

use crate::cli::prelude::*;

/// Delete a job; its output commit stays
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete job train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// The job, or the id of a job set
    #[arg(value_name = "PIPELINE@ID|ID")]
    job: String,
}

impl Args {
    /// Deletes the job, or those of the set.
    pub async fn run(self, cx: &Context) -> Outcome {
        for job in super::keys(cx, &self.job).await? {
            cx.client().await?.pps().delete_job(pps::DeleteJobRequest { job: Some(job) }).await?;
        }
        Ok(())
    }
}
