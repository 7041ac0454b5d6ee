//! `finish commit`.

use crate::cli::prelude::*;

/// Finish a commit: what it holds is final from here on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs finish commit images@master")]
pub struct Args {
    /// The commit
    #[arg(value_name = "REPO@REF")]
    commit: String,
    /// What the commit is about; replaces what was said at its start
    #[arg(short, long, alias = "description", default_value = "", hide_default_value = true)]
    message: String,
    /// Finish it even though commits it derives from are unfinished
    #[arg(short, long)]
    force: bool,
}

impl Args {
    /// Finishes the commit.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::FinishCommitRequest {
            commit: Some(cx.commit(&self.commit)?),
            description: self.message,
            error: String::new(),
            force: self.force,
        };
        cx.client().await?.pfs().finish_commit(request).await?;
        Ok(())
    }
}
