//! `inspect repo`.

use crate::cli::prelude::*;

/// Show one repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect repo images")]
pub struct Args {
    /// Name of the repo
    #[arg(value_name = "REPO")]
    name: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the repo.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::InspectRepoRequest { repo: Some(cx.repo(&self.name)?) };
        let info = cx.client().await?.pfs().inspect_repo(request).await?.into_inner();
        let repo = info.repo.clone().unwrap_or_default();
        cx.print_one(&self.format, &info, |mut fields| {
            fields.line("Name", &repo.name)?;
            if cx.era == Era::Native {
                fields.some("Project", repo.project.map(|project| project.name))?;
            }
            fields
                .some("Description", Some(info.description.clone()))?
                .some("Created", cx.when(&self.format, info.created.as_ref()))?
                .line(cx.size_title(), &size_of(&info))?;
            Ok(())
        })
    }
}

/// The size of a repo: exact when known, else its upper bound.
pub fn size_of(info: &pfs::RepoInfo) -> String {
    match &info.details {
        Some(details) => size(unsigned(details.size_bytes)),
        None => format!("≤ {}", size(unsigned(info.size_bytes_upper_bound))),
    }
}
