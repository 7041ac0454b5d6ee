//! `fsck`.

use crate::cli::prelude::*;

/// Check that everything the server has recorded is there and whole
///
/// Exits 1 when something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pfs fsck\n  pfs fsck --data")]
pub struct Args {
    /// Read and verify every object, not only look for it
    #[arg(long)]
    data: bool,
    /// Repair what can be repaired without losing anything
    #[arg(short, long)]
    fix: bool,
    /// Rebuild the catalog from the object store
    #[arg(long)]
    rebuild: bool,
    /// Accepted; zombie files cannot exist here
    #[arg(long, hide = true)]
    zombie_all: bool,
    /// Accepted; zombie files cannot exist here
    #[arg(long, value_name = "COMMIT", hide = true)]
    zombie: Option<String>,
}

impl Args {
    /// Prints what is wrong and what was repaired.
    pub async fn run(self, cx: &Context) -> Outcome {
        let Self { data, fix, rebuild, .. } = self;
        let request = v1::FsckRequest { data, rebuild, fix };
        let mut stream = cx.client().await?.native().fsck(request).await?.into_inner();
        let mut sink = cx.sink();
        let mut errors = 0;
        while let Some(finding) = stream.message().await? {
            if !finding.error.is_empty() {
                errors += 1;
                sink.line(&format!("Error: {}", finding.error))?;
            }
            if !finding.fix.is_empty() {
                sink.line(&format!("Fix applied: {}", finding.fix))?;
            }
            if let Some(sum) = finding.summary {
                let (commits, objects) = (sum.commits, sum.objects);
                // Only read objects are counted in bytes.
                let read = match sum.bytes {
                    0 => String::new(),
                    bytes => format!(", {} read", size(bytes)),
                };
                sink.line(&format!("{commits} commits and {objects} objects checked{read}"))?;
            }
        }
        if errors == 0 {
            sink.line("No errors found.")?;
        }
        sink.flush()?;
        match errors {
            0 => Ok(()),
            n => Err(Failure::new(format!("{n} errors found"))),
        }
    }
}
