//! `inspect project`.

use crate::cli::prelude::*;

/// Show one project
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect project vision")]
pub struct Args {
    /// Name of the project
    #[arg(value_name = "PROJECT")]
    name: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the project.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request =
            pfs::InspectProjectRequest { project: Some(pfs::Project { name: self.name }) };
        let info = cx.client().await?.pfs().inspect_project(request).await?.into_inner();
        cx.print_one(&self.format, &info, |mut fields| {
            let name = info.project.as_ref().map_or("", |project| &project.name);
            fields
                .line("Name", name)?
                .some("Description", Some(info.description.clone()))?
                .some("Created", cx.when(&self.format, info.created_at.as_ref()))?;
            Ok(())
        })
    }
}
