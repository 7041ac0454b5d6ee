//! `delete defaults`.

use super::{Effect, Scope, set_to};
use crate::cli::prelude::*;

/// Forget what pipeline specs leave out
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete defaults --cluster")]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
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
    /// Deletes defaults.
    pub async fn run(self, cx: &Context) -> Outcome {
        let Self { scope, regenerate, reprocess, dry_run } = self;
        set_to(cx, &scope, "{}".to_owned(), Effect { regenerate, reprocess, dry_run }).await
    }
}
