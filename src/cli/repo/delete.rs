//! `delete repo`.

use crate::cli::prelude::*;

/// Delete a repo and its history
///
/// A repo that others were derived from is only deleted with --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pfs delete repo images\n  pfs delete repo --all --force")]
pub struct Args {
    /// Name of the repo
    #[arg(value_name = "REPO", required_unless_present = "all")]
    name: Option<String>,
    /// Delete it even though others were derived from it
    #[arg(short, long)]
    force: bool,
    /// Delete every repo of the project
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// With --all: delete the repos of every project
    #[arg(short = 'A', long, requires = "all")]
    all_projects: bool,
}

impl Args {
    /// Deletes the repo, or all of them.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pfs();
        let Some(name) = self.name else {
            let projects = match self.all_projects {
                true => Vec::new(),
                false => vec![cx.project()?],
            };
            let all = self.all_projects;
            let request = pfs::DeleteReposRequest { projects, force: self.force, all };
            client.delete_repos(request).await?;
            return Ok(());
        };
        let repo = cx.repo(&name)?;
        let request = pfs::DeleteRepoRequest { repo: Some(repo.clone()), force: self.force };
        if client.delete_repo(request).await?.into_inner().deleted {
            return Ok(());
        }
        // Nothing was there to delete; the refusal to show it says so in full.
        client.inspect_repo(pfs::InspectRepoRequest { repo: Some(repo) }).await?;
        Err(Failure::new(format!("repo {name} was not deleted")).hint("try again"))
    }
}
