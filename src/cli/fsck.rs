//! `fsck`.

use std::sync::Arc;

use crate::api::binding;
use crate::chunk::{BlobConfig, Blobs};
use crate::cli::places::{Places, unserved};
use crate::cli::prelude::*;
use crate::model::{Clock, SystemClock};
use crate::repo::{RebuildSummary, Repos};

/// Check that everything the server has recorded is there and whole
///
/// Exits 1 when something is wrong. With --rebuild, which needs no server, a
/// catalog that was lost is made anew from the object store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs fsck
  pfs fsck --data
  pfs fsck --rebuild --root /srv/pfs")]
pub struct Args {
    /// Read and verify all contents, not only look for the packs they are in
    #[arg(long)]
    data: bool,
    /// Repair what can be repaired without losing anything
    #[arg(short, long)]
    fix: bool,
    /// Make a catalog from the object store, where the server that had it does
    /// not run; for this alone are --root, --store and --catalog
    #[arg(long, conflicts_with_all = ["data", "fix"])]
    rebuild: bool,
    #[command(flatten)]
    places: Places,
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
        let Self { data, fix, .. } = self;
        if self.rebuild {
            return self.rebuild(cx).await;
        }
        let request = v1::FsckRequest { data, rebuild: false, fix };
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
        found(errors)
    }

    /// Fills a catalog from the store, and binds them to each other.
    async fn rebuild(&self, cx: &Context) -> Outcome {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let root = self.places.root()?;
        let catalog = self.places.catalog(&root, &clock).await?;
        let store = self.places.store(&root)?;
        let blobs = Blobs::new(store, Arc::clone(&clock), BlobConfig::default());
        let repos = Repos::new(catalog, blobs, clock);
        let mut problems = Vec::new();
        let made = repos.rebuild(|problem| problems.push(problem.to_string())).await;
        let made = made.map_err(|error| {
            let failure = Failure::new(error.to_string());
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        binding::take_over(&repos).await.map_err(|error| unserved(&error))?;
        for problem in problems {
            cx.say(&format!("Error: {problem}"))?;
        }
        let RebuildSummary { repos, branches, commits, problems } = made;
        cx.say(&format!("{repos} repos, {branches} branches and {commits} commits rebuilt"))?;
        cx.notice(
            "notice: pipelines, jobs and secrets are not in the store; create them again \
             (the spec of a pipeline NAME is NAME.spec@master:/spec)",
        );
        found(problems)
    }
}

fn found(errors: u64) -> Outcome {
    match errors {
        0 => Ok(()),
        1 => Err(Failure::new("1 error found")),
        n => Err(Failure::new(format!("{n} errors found"))),
    }
}
