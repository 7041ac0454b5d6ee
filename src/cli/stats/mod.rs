//! `stats`.

mod mounted;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::prelude::*;

/// Show what a mount, or the server, has done since it started
///
/// Of a mount: how often the kernel asked what and how long the answers took,
/// how often the caches had what was wanted, requests to the object store.
/// Asking does not change what is counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs stats /pfs
  pfs stats /pfs --watch 2
  pfs stats /pfs -o json
  pfs stats --raw")]
pub struct Args {
    /// A mounted directory, or one in it; the server when left out
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Show what was done in every so many seconds, until interrupted
    #[arg(short, long, value_name = "SECONDS", requires = "dir", value_parser = seconds)]
    watch: Option<Duration>,
    #[command(flatten)]
    format: Format,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wanted = || "expected a number of seconds, 0.1 or more".to_owned();
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| wanted())?;
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| wanted())?;
    (span >= Duration::from_millis(100)).then_some(span).ok_or_else(wanted)
}

impl Args {
    /// Prints the statistics of what was named.
    pub async fn run(self, cx: &Context) -> Outcome {
        let Self { dir, watch, format } = self;
        match (dir, watch) {
            (None, _) => server(&format, cx).await,
            (Some(dir), None) => mounted::once(&dir, &format, cx),
            (Some(dir), Some(every)) => mounted::watch(&dir, every, &format, cx).await,
        }
    }
}

/// Prints requests to the store, bytes and memory of the server.
async fn server(format: &Format, cx: &Context) -> Outcome {
    let request = v1::ServerStatsRequest {};
    let info = cx.client().await?.native().server_stats(request).await?.into_inner();
    let count = |requests: u64, bytes: u64| format!("{requests} ({})", size(bytes));
    cx.print_one(format, &info, |mut fields| {
        fields
            .line("Version", &info.version)?
            .some("Started", cx.when(format, info.started.as_ref()))?
            .line("Store Gets", &count(info.store_gets, info.store_bytes_in))?
            .line("Store Puts", &count(info.store_puts, info.store_bytes_out))?
            .line("Store Lists", &info.store_lists.to_string())?
            .line("Store Deletes", &info.store_deletes.to_string())?
            .line("Memory", &size(info.resident_bytes))?;
        Ok(())
    })
}
