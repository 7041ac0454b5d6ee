//! `inspect file`.

use super::list::{kind, name};
use crate::cli::output::spelled;
use crate::cli::prelude::*;

/// Show one file or directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect file images@master:/cat.png")]
pub struct Args {
    /// The file
    #[arg(value_name = "REPO@REF:PATH")]
    file: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the file.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pfs::InspectFileRequest { file: Some(cx.file(&self.file)?) };
        let info = cx.client().await?.pfs().inspect_file(request).await?.into_inner();
        let committed = cx.when(&self.format, info.committed.as_ref());
        cx.print_one(&self.format, &info, |mut fields| {
            fields
                .line("Path", &spelled(&name(cx, &info)))?
                .some("Datum", info.file.as_ref().map(|file| file.datum.clone()))?
                .line("Type", kind(&info))?
                .some("Committed", committed.filter(|_| cx.era == Era::Native))?
                .line("Size", &size(unsigned(info.size_bytes)))?
                .some("Hash", Some(hex::encode(&info.hash)).filter(|_| cx.era == Era::Native))?;
            Ok(())
        })
    }
}
