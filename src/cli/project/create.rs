//! `create project`, `update project`.

use crate::cli::prelude::*;

/// Create a project, or change the description of one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs create project vision --description 'all about images'")]
pub struct Args {
    /// Name of the project
    #[arg(value_name = "PROJECT")]
    name: String,
    /// What the project is for
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
}

impl Args {
    /// Creates the project, or with `update` changes it.
    pub async fn run(self, cx: &Context, update: bool) -> Outcome {
        let request = pfs::CreateProjectRequest {
            project: Some(pfs::Project { name: self.name }),
            description: self.description,
            update,
        };
        cx.client().await?.pfs().create_project(request).await?;
        Ok(())
    }
}
