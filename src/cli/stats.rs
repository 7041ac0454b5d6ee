//! `stats`.

use crate::cli::prelude::*;

/// Show what the server has done since it started
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs stats --raw")]
pub struct Args {
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints requests to the store, bytes and memory.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = v1::ServerStatsRequest {};
        let info = cx.client().await?.native().server_stats(request).await?.into_inner();
        let count = |requests: u64, bytes: u64| format!("{requests} ({})", size(bytes));
        cx.print_one(&self.format, &info, |mut fields| {
            fields
                .line("Version", &info.version)?
                .some("Started", cx.when(&self.format, info.started.as_ref()))?
                .line("Store Gets", &count(info.store_gets, info.store_bytes_in))?
                .line("Store Puts", &count(info.store_puts, info.store_bytes_out))?
                .line("Store Lists", &info.store_lists.to_string())?
                .line("Store Deletes", &info.store_deletes.to_string())?
                .line("Memory", &size(info.resident_bytes))?;
            Ok(())
        })
    }
}
