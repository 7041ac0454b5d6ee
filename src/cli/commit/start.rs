//! `start commit`.

use crate::cli::prelude::*;

/// Start a commit on a branch and print its id
///
/// Files put to the branch go into the commit until it is finished.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs start commit images@master
  pfs start commit images@fix --parent master -m 'without the blurred ones'")]
pub struct Args {
    /// The branch
    #[arg(value_name = "REPO@BRANCH")]
    branch: String,
    /// The parent, a branch or commit; the head of the branch when not given
    #[arg(short, long, value_name = "REF")]
    parent: Option<String>,
    /// What the commit is about
    #[arg(short, long, alias = "description", default_value = "", hide_default_value = true)]
    message: String,
}

impl Args {
    /// Starts the commit.
    pub async fn run(self, cx: &Context) -> Outcome {
        let branch = cx.branch(&self.branch)?;
        let repo = branch.repo.clone().unwrap_or_default();
        let parent = self.parent.as_deref().map(|text| cx.commit_of(&repo, text)).transpose()?;
        let request =
            pfs::StartCommitRequest { parent, description: self.message, branch: Some(branch) };
        let commit = cx.client().await?.pfs().start_commit(request).await?.into_inner();
        cx.say(&commit.id)
    }
}
