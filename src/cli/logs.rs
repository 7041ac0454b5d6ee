//! `logs`.

use super::{job, pipeline};
use crate::cli::prelude::*;

/// Print what the programs of a pipeline wrote
///
/// Logs are kept with the job, also when its workers are gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs logs -p train -f
  pfs logs -j train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 --tail 100")]
#[group(id = "source")]
pub struct Args {
    /// Logs of this pipeline
    #[arg(short, long, value_name = "PIPELINE", required_unless_present = "job")]
    pipeline: Option<String>,
    /// Logs of this job, or of all jobs of a set
    #[arg(short, long, value_name = "PIPELINE@ID|ID")]
    job: Option<String>,
    /// Logs of this datum
    #[arg(long, value_name = "DATUM")]
    datum: Option<String>,
    /// Logs of datums that have all of these input files, by path or hash
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    inputs: Vec<String>,
    /// Logs of the pipeline's planner instead of its programs
    #[arg(long)]
    master: bool,
    /// Accepted; programs are always shown
    #[arg(long, hide = true)]
    worker: bool,
    /// Go on as more is written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last lines; 0 shows all
    #[arg(short, long, value_name = "LINES", default_value_t = 0, hide_default_value = true)]
    tail: i64,
    /// Begin this long ago, as in 90m or 24h
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Print JSON, one object per line
    #[arg(long)]
    raw: bool,
}

impl Args {
    /// Prints the logs.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut sink = cx.sink();
        for request in self.requests(cx).await? {
            let mut stream = cx.client().await?.pps().get_logs(request).await?.into_inner();
            while let Some(line) = stream.message().await? {
                match self.raw {
                    true => sink.line(&api::json::to_json(&line, cx.keys()).to_string())?,
                    false => sink.line(line.message.trim_end_matches('\n'))?,
                }
                if self.follow {
                    sink.flush()?;
                }
            }
        }
        Ok(sink.flush()?)
    }

    async fn requests(&self, cx: &Context) -> Outcome<Vec<pps::GetLogsRequest>> {
        let pipeline =
            self.pipeline.as_deref().map(|name| pipeline::named(cx, name)).transpose()?;
        let jobs = match (&self.job, &pipeline) {
            (None, _) => vec![None],
            (Some(id), Some(pipeline)) if !id.contains('@') => {
                vec![Some(pps::Job { pipeline: Some(pipeline.clone()), id: id.clone() })]
            }
            (Some(text), _) => job::keys(cx, text).await?.into_iter().map(Some).collect(),
        };
        let since = self.since.as_deref().map(duration).transpose()?;
        let request = |job: Option<pps::Job>| pps::GetLogsRequest {
            pipeline: pipeline.clone().filter(|_| job.is_none()),
            datum: self.datum.clone().map(|id| pps::Datum { job: job.clone(), id }),
            job,
            data_filters: self.inputs.clone(),
            master: self.master,
            follow: self.follow,
            tail: self.tail,
            use_loki_backend: false,
            since,
        };
        Ok(jobs.into_iter().map(request).collect())
    }
}

fn duration(text: &str) -> Outcome<prost_types::Duration> {
    let span = crate::pipeline::spec::parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("invalid duration {text:?}: expected one like 90m or 1h30m"))
    })?;
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    // Always below 10^9.
    Ok(prost_types::Duration { seconds, nanos: span.subsec_nanos() as i32 })
}
