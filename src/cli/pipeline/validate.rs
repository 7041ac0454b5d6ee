//! `validate pipeline`.

use super::create::read;
use crate::cli::prelude::*;

/// Check pipeline specs without a server
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs validate pipeline -f train.json")]
pub struct Args {
    /// The spec: a file, a URL, or '-' for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", default_value = "-")]
    #[arg(hide_default_value = true)]
    files: Vec<String>,
}

impl Args {
    /// Reads every spec.
    pub async fn run(self, cx: &Context) -> Outcome {
        for file in &self.files {
            read(cx, file).await?;
        }
        Ok(())
    }
}
