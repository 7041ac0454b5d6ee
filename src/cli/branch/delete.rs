//! `delete branch`.

use crate::cli::prelude::*;

/// Delete a branch; its commits stay
///
/// A branch that others were derived from is only deleted with --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete branch images@staging")]
pub struct Args {
    /// The branch
    #[arg(value_name = "REPO@BRANCH")]
    branch: String,
    /// Delete it even though others were derived from it
    #[arg(short, long)]
    force: bool,
}

impl Args {
    /// Deletes the branch.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request =
            pfs::DeleteBranchRequest { branch: Some(cx.branch(&self.branch)?), force: self.force };
        cx.client().await?.pfs().delete_branch(request).await?;
        Ok(())
    }
}
