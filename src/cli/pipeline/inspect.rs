//! `inspect pipeline`.

use std::io;

use super::fetch;
use crate::api::json::{Keys, to_json};
use crate::cli::prelude::*;

/// Show one pipeline
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect pipeline train")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        let info = fetch(cx, &self.name).await?;
        cx.print_one(&self.format, &info, |fields| text(cx, &self.format, &info, fields))
    }
}

fn text(
    cx: &Context,
    format: &Format,
    info: &pps::PipelineInfo,
    mut fields: Fields<'_>,
) -> io::Result<()> {
    let pipeline = info.pipeline.clone().unwrap_or_default();
    let details = info.details.clone().unwrap_or_default();
    fields.line("Name", &pipeline.name)?;
    if cx.era == Era::Native {
        fields
            .some("Project", pipeline.project.map(|project| project.name))?
            .line("Version", &info.version.to_string())?;
    }
    fields
        .some("Description", Some(details.description.clone()))?
        .some("Created", cx.when(format, details.created_at.as_ref()))?
        .state("State", show::pipeline_state(info.state))?
        .line("Stopped", &info.stopped.to_string())?
        .line("Reason", &info.reason)?;
    if cx.era == Era::Native {
        let (available, requested) = (details.workers_available, details.workers_requested);
        fields.line("Workers Available", &format!("{available}/{requested}"))?;
    }
    let executor = info.metadata.get("executor").map(|executor| match executor.as_str() {
        "process" => "process (on the server's host, not in the image)".to_owned(),
        other => other.to_owned(),
    });
    fields.some("Executor", executor)?;
    workload(&mut fields, info.parallelism, &details, cx.keys())?;
    fields.some("Recent Error", Some(details.recent_error.clone()))?;
    if cx.era == Era::Native {
        fields
            .block("User Spec", &pretty(&info.user_spec_json))?
            .block("Effective Spec", &pretty(&info.effective_spec_json))?;
    }
    Ok(())
}

fn workload(
    fields: &mut Fields<'_>,
    parallelism: u64,
    details: &pps::pipeline_info::Details,
    keys: Keys,
) -> io::Result<()> {
    fields
        .line("Parallelism Spec", &format!("constant:{parallelism}"))?
        .some("Datum Timeout", details.datum_timeout.as_ref().map(seconds))?
        .some("Job Timeout", details.job_timeout.as_ref().map(seconds))?;
    if let Some(input) = &details.input {
        fields.block("Input", &indented(&to_json(input, keys)))?;
    }
    fields.line("Output Branch", &details.output_branch)?;
    if let Some(transform) = &details.transform {
        fields.block("Transform", &indented(&to_json(transform, keys)))?;
    }
    if let Some(egress) = &details.egress {
        fields.block("Egress", &indented(&to_json(egress, keys)))?;
    }
    Ok(())
}

/// JSON laid out for people.
pub fn indented(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

fn pretty(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value) => indented(&value),
        Err(_) => text.to_owned(),
    }
}

/// A duration of the API in words.
pub fn seconds(span: &prost_types::Duration) -> String {
    crate::cli::output::span(u64::try_from(span.seconds).unwrap_or(0))
}
