//! `restart datum`.

use super::super::job;
use crate::cli::prelude::*;

/// Start datums of a running job afresh
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pfs restart datum train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 /a.csv,/b.csv"
)]
pub struct Args {
    /// The job, or the id of a job set
    #[arg(value_name = "PIPELINE@ID|ID")]
    job: String,
    /// Datums that have all of these input files, by path or hash
    #[arg(value_name = "PATH,…", value_delimiter = ',', required = true)]
    filters: Vec<String>,
}

impl Args {
    /// Restarts the datums; of a job set, those of every job that has some.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pps();
        let (mut restarted, mut refused) = (false, Ok(()));
        for job in job::keys(cx, &self.job).await? {
            let request =
                pps::RestartDatumRequest { job: Some(job), data_filters: self.filters.clone() };
            match client.restart_datum(request).await {
                Ok(_) => restarted = true,
                Err(status) => refused = refused.and(Err(status.into())),
            }
        }
        match restarted {
            true => Ok(()),
            false => refused,
        }
    }
}
