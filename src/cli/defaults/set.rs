//! `create defaults`, `update defaults`.

use std::io;

use super::{Effect, Scope, set_to};
use crate::cli::prelude::*;

/// Set what pipeline specs leave out
///
/// The text is JSON or YAML with the fields of a spec within
/// create_pipeline_request. Fields that a spec has itself win, objects field by
/// field; a project's defaults win over the cluster's. They hold for pipelines
/// created or updated from then on, and with --regenerate for all there are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs create defaults --cluster -f defaults.json
  echo '{\"create_pipeline_request\": {\"datum_tries\": 5}}' | pfs update defaults --project vision")]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// A file, or '-' for standard input
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: String,
    /// Give the pipelines that have other specs then a new version
    #[arg(long)]
    regenerate: bool,
    /// Run every datum of those pipelines again
    #[arg(long, requires = "regenerate")]
    reprocess: bool,
    /// Change nothing; list the pipelines that would have other specs
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Sets defaults.
    pub async fn run(self, cx: &Context) -> Outcome {
        let text = match self.file.as_str() {
            "-" => io::read_to_string(io::stdin())?,
            file => std::fs::read_to_string(file)
                .map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?,
        };
        let json = crate::pipeline::document::to_json(&text)
            .map_err(|error| Failure::new(format!("{}:{error}", self.file)))?;
        let Self { regenerate, reprocess, dry_run, .. } = self;
        set_to(cx, &self.scope, json.to_string(), Effect { regenerate, reprocess, dry_run }).await
    }
}
