//! `squash commit`.

use super::delete::set_or_commit;
use crate::cli::prelude::*;

/// Remove a commit whose data live on in its children
///
/// Takes one commit of one repo, or the id of a commit set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs squash commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11
  pfs squash commit images@master^ --recursive")]
pub struct Args {
    /// A commit, or the id of a commit set
    #[arg(value_name = "REPO@REF|ID")]
    commit: String,
    /// Squash the commits derived from it, too
    #[arg(short, long)]
    recursive: bool,
}

impl Args {
    /// Squashes the commit or set.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pfs();
        match set_or_commit(cx, &self.commit)? {
            Err(set) => {
                let request = pfs::SquashCommitSetRequest { commit_set: Some(set) };
                client.squash_commit_set(request).await?;
            }
            Ok(commit) => {
                let recursive = self.recursive;
                let request = pfs::SquashCommitRequest { commit: Some(commit), recursive };
                client.squash_commit(request).await?;
            }
        }
        Ok(())
    }
}
