//! `delete project`.

use crate::cli::prelude::*;

/// Delete a project
///
/// A project that still holds repos or pipelines is only deleted with --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete project vision")]
pub struct Args {
    /// Name of the project
    #[arg(value_name = "PROJECT")]
    name: String,
    /// Delete what is in it, too
    #[arg(short, long)]
    force: bool,
}

impl Args {
    /// Deletes the project.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::DeleteProjectRequest {
            project: Some(pfs::Project { name: self.name }),
            force: self.force,
        };
        cx.client().await?.pfs().delete_project(request).await?;
        Ok(())
    }
}
