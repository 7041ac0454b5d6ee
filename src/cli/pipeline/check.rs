//! `check status`.

use crate::cli::prelude::*;

/// List the pipelines that somebody should look at
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pfs check status\n  pfs check status --all-projects")]
pub struct Args {
    /// Look at the pipelines of every project
    #[arg(short = 'A', long)]
    all_projects: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per alert.
    pub async fn run(self, cx: &Context) -> Outcome {
        use pps::check_status_request::Context as Whose;
        let whose = match self.all_projects {
            true => Whose::All(true),
            false => Whose::Project(cx.project()?),
        };
        let request = pps::CheckStatusRequest { context: Some(whose) };
        let mut stream = cx.client().await?.pps().check_status(request).await?.into_inner();
        let mut printer = cx.printer(&self.format, &["PROJECT", "PIPELINE", "ALERT"]);
        while let Some(status) = stream.message().await? {
            let project = status.project.clone().unwrap_or_default().name;
            let pipeline = status.pipeline.clone().unwrap_or_default().name;
            printer.entity(&status, || {
                vec![project.into(), pipeline.into(), status.alerts.join("; ").into()]
            })?;
        }
        printer.finish()
    }
}
