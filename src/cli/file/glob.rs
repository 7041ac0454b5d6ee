//! `glob file`.

use super::list::{columns, row};
use crate::cli::prelude::*;

/// List the files and directories that match a pattern
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs glob file 'images@master:/2024/*.png'")]
pub struct Args {
    /// The pattern; quote it, or the shell expands it
    #[arg(value_name = "REPO@REF:PATTERN")]
    pattern: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per match.
    pub async fn run(self, cx: &Context) -> Outcome {
        let file = cx.file(&self.pattern)?;
        let request =
            pfs::GlobFileRequest { commit: file.commit, pattern: file.path, path_range: None };
        let stream = cx.client().await?.pfs().glob_file(request).await?.into_inner();
        cx.print_all(&self.format, columns(cx), stream, |info| row(cx, info)).await
    }
}
