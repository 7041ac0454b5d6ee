//! `delete commit` (also `drop commit`).

use crate::cli::prelude::*;

/// Drop a commit and the data it added
///
/// Takes one commit of one repo, or the id of a commit set. A commit with
/// children cannot be dropped; squash it instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs delete commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11
  pfs delete commit images@master --recursive")]
pub struct Args {
    /// A commit, or the id of a commit set
    #[arg(value_name = "REPO@REF|ID")]
    commit: String,
    /// Drop the commits derived from it, too
    #[arg(short, long)]
    recursive: bool,
}

impl Args {
    /// Drops the commit or set. The dash command also takes a commit with
    /// children, whose data then live on in them.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pfs();
        let recursive = self.recursive;
        let commit = match set_or_commit(cx, &self.commit)? {
            Err(set) => {
                let request = pfs::DropCommitSetRequest { commit_set: Some(set) };
                client.drop_commit_set(request).await?;
                return Ok(());
            }
            Ok(commit) => Some(commit),
        };
        if cx.era == Era::Dash {
            let request = pfs::InspectCommitRequest { commit: commit.clone(), wait: 0 };
            let info = client.inspect_commit(request).await?.into_inner();
            if !info.child_commits.is_empty() {
                client.squash_commit(pfs::SquashCommitRequest { commit, recursive }).await?;
                return Ok(());
            }
        }
        client.drop_commit(pfs::DropCommitRequest { commit, recursive }).await?;
        Ok(())
    }
}

/// What `text` names: a commit of one repo, or (as `Err`) a commit set.
pub fn set_or_commit(cx: &Context, text: &str) -> Outcome<Result<pfs::Commit, pfs::CommitSet>> {
    match text.contains('@') {
        true => cx.commit(text).map(Ok),
        false => Ok(Err(pfs::CommitSet { id: text.to_owned() })),
    }
}
