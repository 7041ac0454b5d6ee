//! `list branch`.

use crate::cli::prelude::*;

/// List the branches of a repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs list branch images")]
pub struct Args {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per branch.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::ListBranchRequest { repo: Some(cx.repo(&self.repo)?), reverse: false };
        let stream = cx.client().await?.pfs().list_branch(request).await?.into_inner();
        let columns: &[&str] = match cx.era {
            Era::Dash => &["BRANCH", "HEAD"],
            Era::Native => &["BRANCH", "HEAD", "TRIGGER", "CREATOR", "CREATED"],
        };
        cx.print_all(&self.format, columns, stream, |info| row(cx, &self.format, info)).await
    }
}

fn row(cx: &Context, format: &Format, info: &pfs::BranchInfo) -> Vec<Cell> {
    let name = info.branch.as_ref().map_or("", |branch| branch.name.as_str());
    let head = info.head.as_ref().map_or("-", |head| head.id.as_str());
    let mut cells = vec![name.into(), head.into()];
    if cx.era == Era::Native {
        let trigger = info.trigger.as_ref().map_or("-".to_owned(), show::trigger);
        cells.push(trigger.into());
        cells.push(info.created_by.as_str().into());
        cells.push(cx.age(format, info.created_at.as_ref()).into());
    }
    cells
}
