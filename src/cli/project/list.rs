//! `list project`.

use crate::cli::prelude::*;

/// List all projects
///
/// The project that commands use when none is named is marked with '*'.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs list project")]
pub struct Args {
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per project.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::ListProjectRequest {};
        let stream = cx.client().await?.pfs().list_project(request).await?.into_inner();
        let active = cx.project_name()?;
        let columns = ["ACTIVE", "PROJECT", "CREATED", "DESCRIPTION"];
        cx.print_all(&self.format, &columns, stream, |info| {
            let name = info.project.as_ref().map_or("", |project| project.name.as_str());
            vec![
                if name == active.as_str() { "*" } else { "" }.into(),
                name.into(),
                cx.age(&self.format, info.created_at.as_ref()).into(),
                info.description.as_str().into(),
            ]
        })
        .await
    }
}
