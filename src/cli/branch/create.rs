//! `create branch`, `update branch`.

use crate::cli::prelude::*;

/// Create a branch, or move one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs create branch images@staging
  pfs create branch images@master --head staging
  pfs create branch model@master --provenance images@master
  pfs create branch images@nightly --trigger master --trigger-cron @daily
  pfs create branch images@tenth --trigger master --trigger-commits 10")]
pub struct Args {
    /// The branch
    #[arg(value_name = "REPO@BRANCH")]
    branch: String,
    /// A branch that this one is derived from; may be repeated
    #[arg(short, long, value_name = "REPO@BRANCH")]
    provenance: Vec<String>,
    /// The commit that becomes the head: a branch or commit of the same repo
    #[arg(long, value_name = "REF")]
    head: Option<String>,
    /// Move the branch when this branch of the same repo has changed enough
    #[arg(short, long, value_name = "BRANCH")]
    trigger: Option<String>,
    /// With --trigger: move at these times, and at no others
    #[arg(long, value_name = "CRON", requires = "trigger", default_value = "")]
    #[arg(hide_default_value = true)]
    trigger_cron: String,
    /// With --trigger: move when one of these times has come since the last
    /// move
    #[arg(long, value_name = "CRON", requires = "trigger", default_value = "")]
    #[arg(hide_default_value = true)]
    trigger_rate_limit: String,
    /// With --trigger: move after this many bytes
    #[arg(long, value_name = "SIZE", requires = "trigger", default_value = "")]
    #[arg(hide_default_value = true)]
    trigger_size: String,
    /// With --trigger: move after this many commits
    #[arg(long, value_name = "N", requires = "trigger", default_value_t = 0)]
    #[arg(hide_default_value = true)]
    trigger_commits: i64,
    /// With --trigger: move when all conditions hold, not just one
    #[arg(long, requires = "trigger")]
    trigger_all: bool,
}

impl Args {
    /// Creates or moves the branch.
    pub async fn run(self, cx: &Context) -> Outcome {
        let branch = cx.branch(&self.branch)?;
        let repo = branch.repo.clone().unwrap_or_default();
        let provenance =
            self.provenance.iter().map(|text| cx.branch(text)).collect::<Outcome<_>>()?;
        let head = self.head.as_deref().map(|text| cx.commit_of(&repo, text)).transpose()?;
        let trigger = self.trigger.map(|branch| pfs::Trigger {
            branch,
            all: self.trigger_all,
            cron_spec: self.trigger_cron,
            rate_limit_spec: self.trigger_rate_limit,
            size: self.trigger_size,
            commits: self.trigger_commits,
        });
        let request = pfs::CreateBranchRequest {
            head,
            branch: Some(branch),
            provenance,
            trigger,
            ..Default::default()
        };
        cx.client().await?.pfs().create_branch(request).await?;
        Ok(())
    }
}
