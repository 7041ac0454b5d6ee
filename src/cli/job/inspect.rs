//! `inspect job`.

use std::io;

use super::super::pipeline::inspect::{indented, seconds};
use crate::api::json::to_json;
use crate::cli::prelude::*;

/// Show one job
///
/// Given the id of a job set, shows the jobs of every pipeline.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect job train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// The job
    #[arg(value_name = "PIPELINE@ID|ID")]
    job: String,
    /// Wait until the job has ended
    #[arg(short, long, alias = "block")]
    wait: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the job, or those of the set.
    pub async fn run(self, cx: &Context) -> Outcome {
        for info in super::fetch(cx, &self.job, self.wait).await? {
            cx.print_one(&self.format, &info, |fields| text(cx, &self.format, &info, fields))?;
        }
        Ok(())
    }
}

fn text(
    cx: &Context,
    format: &Format,
    info: &pps::JobInfo,
    mut fields: Fields<'_>,
) -> io::Result<()> {
    let job = info.job.clone().unwrap_or_default();
    let pipeline = job.pipeline.clone().unwrap_or_default();
    let state = match cx.era {
        Era::Dash => show::dash_job_state(info.state),
        Era::Native => show::job_state(info.state),
    };
    fields.line("ID", &job.id)?.line("Pipeline", &pipeline.name)?;
    if cx.era == Era::Native {
        fields.some("Project", pipeline.project.map(|project| project.name))?;
    }
    let started = super::started(cx, info);
    fields
        .some("Started", cx.when(format, started))?
        .some("Duration", info.finished.as_ref().map(|end| show::took(started, Some(end))))?
        .state("State", state)?
        .line("Reason", &info.reason)?;
    counters(info, &mut fields)?;
    stats(info, &mut fields)?;
    details(cx, info, &mut fields)
}

fn counters(info: &pps::JobInfo, fields: &mut Fields<'_>) -> io::Result<()> {
    fields
        .line("Processed", &info.data_processed.to_string())?
        .line("Failed", &info.data_failed.to_string())?
        .line("Skipped", &info.data_skipped.to_string())?
        .line("Recovered", &info.data_recovered.to_string())?
        .line("Total", &info.data_total.to_string())?;
    Ok(())
}

fn stats(info: &pps::JobInfo, fields: &mut Fields<'_>) -> io::Result<()> {
    let stats = info.stats.unwrap_or_default();
    fields
        .line("Data Downloaded", &size(unsigned(stats.download_bytes)))?
        .line("Data Uploaded", &size(unsigned(stats.upload_bytes)))?
        .line("Download Time", &seconds(&stats.download_time.unwrap_or_default()))?
        .line("Process Time", &seconds(&stats.process_time.unwrap_or_default()))?
        .line("Upload Time", &seconds(&stats.upload_time.unwrap_or_default()))?;
    Ok(())
}

fn details(cx: &Context, info: &pps::JobInfo, fields: &mut Fields<'_>) -> io::Result<()> {
    let details = info.details.clone().unwrap_or_default();
    fields
        .some("Datum Timeout", details.datum_timeout.as_ref().map(seconds))?
        .some("Job Timeout", details.job_timeout.as_ref().map(seconds))?;
    let workers: Vec<_> = details
        .worker_status
        .iter()
        .map(|worker| format!("{}  {}", worker.worker_id, worker.job_id))
        .collect();
    if !workers.is_empty() {
        fields.block("Worker Status", &workers.join("\n"))?;
    }
    fields.line("Restarts", &info.restart.to_string())?;
    if let Some(spec) = &details.parallelism_spec {
        fields.line("ParallelismSpec", &format!("constant:{}", spec.constant))?;
    }
    if let Some(input) = &details.input {
        fields.block("Input", &indented(&to_json(input, cx.keys())))?;
    }
    if let Some(transform) = &details.transform {
        fields.block("Transform", &indented(&to_json(transform, cx.keys())))?;
    }
    let commit = info.output_commit.as_ref().map(|commit| match cx.era {
        Era::Dash => show::dash_commit(commit),
        Era::Native => show::commit(commit),
    });
    fields.some("Output Commit", commit)?;
    Ok(())
}
