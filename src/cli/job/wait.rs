//! `wait job`, `flush job`.

use super::list::{columns, row};
use crate::cli::prelude::*;

/// Wait until jobs have ended, and show them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs wait job train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11
  pfs flush job images@master")]
pub struct Args {
    /// A job, or the id of a job set; for 'flush' an input commit
    #[arg(value_name = "PIPELINE@ID|ID", required = true)]
    jobs: Vec<String>,
    /// Only jobs of these pipelines; may be repeated
    #[arg(short, long, value_name = "PIPELINE", value_delimiter = ',')]
    pipeline: Vec<String>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Waits for jobs.
    pub async fn wait(self, cx: &Context) -> Outcome {
        let mut printer = cx.printer(&self.format, columns(cx));
        for text in &self.jobs {
            self.print(cx, text, &mut printer).await?;
        }
        printer.finish()
    }

    /// Waits for the jobs that input commits set off.
    pub async fn flush(self, cx: &Context) -> Outcome {
        let mut printer = cx.printer(&self.format, columns(cx));
        for text in &self.jobs {
            let request = pfs::InspectCommitRequest { commit: Some(cx.commit(text)?), wait: 0 };
            let info = cx.client().await?.pfs().inspect_commit(request).await?.into_inner();
            self.print(cx, &info.commit.unwrap_or_default().id, &mut printer).await?;
        }
        printer.finish()
    }

    async fn print(&self, cx: &Context, text: &str, printer: &mut Printer) -> Outcome {
        for info in super::fetch(cx, text, true).await? {
            let pipeline = info.job.as_ref().and_then(|job| job.pipeline.as_ref());
            let name = pipeline.map_or("", |pipeline| pipeline.name.as_str());
            if self.pipeline.is_empty() || self.pipeline.iter().any(|wanted| wanted == name) {
                printer.entity(&info, || row(cx, &self.format, &info))?;
            }
        }
        Ok(())
    }
}
