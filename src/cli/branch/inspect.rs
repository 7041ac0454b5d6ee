//! `inspect branch`.

use crate::cli::prelude::*;

/// Show one branch
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect branch images@master")]
pub struct Args {
    /// The branch
    #[arg(value_name = "REPO@BRANCH")]
    branch: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the branch.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::InspectBranchRequest { branch: Some(cx.branch(&self.branch)?) };
        let info = cx.client().await?.pfs().inspect_branch(request).await?.into_inner();
        let branch = info.branch.clone().unwrap_or_default();
        let provenance: Vec<_> = info.direct_provenance.iter().map(show::branch).collect();
        cx.print_one(&self.format, &info, |mut fields| {
            fields
                .line("Name", &show::branch(&branch))?
                .some("Head Commit", info.head.as_ref().map(show::commit))?
                .some("Trigger", info.trigger.as_ref().map(show::trigger))?
                .some("Provenance", Some(provenance.join("  ")))?
                .some("Created", cx.when(&self.format, info.created_at.as_ref()))?;
            Ok(())
        })
    }
}
