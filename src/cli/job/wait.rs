//! `wait job`, `flush job`.

use super::list::{columns, row};
use crate::cli::commit::{derived, finished};
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

    /// Waits for the jobs that read commits, directly or not.
    pub async fn flush(self, cx: &Context) -> Outcome {
        let mut printer = cx.printer(&self.format, columns(cx));
        for text in &self.jobs {
            let source = finished(cx, cx.commit(text)?).await?.commit.unwrap_or_default();
            for commit in derived(cx, &source).await? {
                if let Some(info) = made(cx, commit).await? {
                    self.show(cx, &info, &mut printer)?;
                }
            }
        }
        printer.finish()
    }

    async fn print(&self, cx: &Context, text: &str, printer: &mut Printer) -> Outcome {
        for info in super::fetch(cx, text, true).await? {
            self.show(cx, &info, printer)?;
        }
        Ok(())
    }

    fn show(&self, cx: &Context, info: &pps::JobInfo, printer: &mut Printer) -> Outcome {
        let pipeline = info.job.as_ref().and_then(|job| job.pipeline.as_ref());
        let name = pipeline.map_or("", |pipeline| pipeline.name.as_str());
        match self.pipeline.is_empty() || self.pipeline.iter().any(|wanted| wanted == name) {
            true => printer.entity(info, || row(cx, &self.format, info)),
            false => Ok(()),
        }
    }
}

/// The job that made a commit, once it has ended; none when it was no job.
async fn made(cx: &Context, commit: pfs::Commit) -> Outcome<Option<pps::JobInfo>> {
    let repo = commit.repo.unwrap_or_default();
    let pipeline = Some(pps::Pipeline { project: repo.project, name: repo.name });
    let job = Some(pps::Job { pipeline, id: commit.id });
    let request = pps::InspectJobRequest { job, wait: true, details: true };
    match cx.client().await?.pps().inspect_job(request).await {
        Ok(info) => Ok(Some(info.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}
