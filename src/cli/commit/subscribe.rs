//! `subscribe commit`.

use crate::cli::commit::list::{Origin, columns, row};
use crate::cli::prelude::*;

/// Print the commits of a branch as they finish, until interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs subscribe commit images@master --new")]
pub struct Args {
    /// The branch
    #[arg(value_name = "REPO@BRANCH")]
    branch: String,
    /// Begin after this commit
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    /// Begin with the next commit
    #[arg(long, conflicts_with = "from")]
    new: bool,
    /// Show commits of every origin
    #[arg(long)]
    all: bool,
    /// Show commits of this origin
    #[arg(long)]
    origin: Option<Origin>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints until interrupted.
    pub async fn run(self, cx: &Context) -> Outcome {
        let branch = cx.branch(&self.branch)?;
        let repo = branch.repo.clone().unwrap_or_default();
        let from = match (self.new, self.from.as_deref()) {
            (true, _) => Some(cx.commit_of(&repo, &branch.name)?),
            (false, from) => from.map(|text| cx.commit_of(&repo, text)).transpose()?,
        };
        let request = pfs::SubscribeCommitRequest {
            repo: Some(repo),
            branch: branch.name,
            from,
            state: pfs::CommitState::Finished.into(),
            all: self.all,
            origin_kind: self.origin.map_or(pfs::OriginKind::Unknown, Origin::kind).into(),
        };
        let mut stream = cx.client().await?.pfs().subscribe_commit(request).await?.into_inner();
        let mut printer = cx.printer(&self.format, columns(cx));
        while let Some(info) = stream.message().await? {
            printer.entity(&info, || row(cx, &self.format, &info))?;
            printer.flush()?;
        }
        printer.finish()
    }
}
