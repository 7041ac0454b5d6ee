//! `delete all`.

use std::io::{self, Write as _};

use crate::cli::prelude::*;

/// Delete every pipeline, repo, project and commit of the server
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete all --yes")]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Args {
    /// Deletes everything, after asking.
    pub async fn run(self, cx: &Context) -> Outcome {
        let address = cx.address()?;
        if !self.yes && !confirmed(&format!("Delete everything on {address}?"))? {
            return Err(Failure::new("nothing was deleted").hint("answer 'y', or add --yes"));
        }
        let client = cx.client().await?;
        client.pps().delete_all(()).await?;
        client.pfs().delete_all(()).await?;
        Ok(())
    }
}

fn confirmed(question: &str) -> Outcome<bool> {
    let mut err = anstream::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
