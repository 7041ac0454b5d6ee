//! `create repo`, `update repo`.

use crate::cli::prelude::*;

/// Create a repo, or change the description of one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs create repo images --description 'photographs, as taken'")]
pub struct Args {
    /// Name of the repo: letters, digits, '_' and '-'
    #[arg(value_name = "REPO")]
    name: String,
    /// What the repo holds
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
}

impl Args {
    /// Creates the repo, or with `update` changes it.
    pub async fn run(self, cx: &Context, update: bool) -> Outcome {
        let request = pfs::CreateRepoRequest {
            repo: Some(cx.repo(&self.name)?),
            description: self.description,
            update,
        };
        cx.client().await?.pfs().create_repo(request).await?;
        Ok(())
    }
}
