//! `list repo`.

use super::inspect::size_of;
use crate::cli::prelude::*;

/// List the repos of a project, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pfs list repo\n  pfs list repo --all-projects --raw")]
pub struct Args {
    /// Also list the repos that hold specs and datum records
    #[arg(long)]
    all: bool,
    /// List repos of this type: user, meta or spec
    #[arg(long = "type", value_name = "TYPE", default_value = "user", conflicts_with = "all")]
    kind: String,
    /// List the repos of every project
    #[arg(short = 'A', long)]
    all_projects: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per repo.
    pub async fn run(self, cx: &Context) -> Outcome {
        let projects = if self.all_projects { Vec::new() } else { vec![cx.project()?] };
        let kind = if self.all { String::new() } else { self.kind };
        let request = pfs::ListRepoRequest { r#type: kind, projects, page: None };
        let stream = cx.client().await?.pfs().list_repo(request).await?.into_inner();
        let columns: &[&str] = match cx.era {
            Era::Dash => &["NAME", "CREATED", "SIZE"],
            Era::Native => &["PROJECT", "NAME", "CREATED", "SIZE (MASTER)", "DESCRIPTION"],
        };
        cx.print_all(&self.format, columns, stream, |info| row(cx, &self.format, info)).await
    }
}

fn row(cx: &Context, format: &Format, info: &pfs::RepoInfo) -> Vec<Cell> {
    let repo = info.repo.clone().unwrap_or_default();
    let name = match repo.r#type.as_str() {
        "user" | "" => repo.name,
        kind => format!("{}.{kind}", repo.name),
    };
    let created = cx.age(format, info.created.as_ref());
    match cx.era {
        Era::Dash => vec![name.into(), created.into(), size_of(info).into()],
        Era::Native => vec![
            repo.project.unwrap_or_default().name.into(),
            name.into(),
            created.into(),
            size_of(info).into(),
            info.description.as_str().into(),
        ],
    }
}
