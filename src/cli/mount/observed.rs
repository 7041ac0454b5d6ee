//! What a mount shows of itself: its log and its metrics.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::MountPlan;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::logging::{self, LogFormat};
use crate::cli::metrics::MountPages;
use crate::mount::Mounted;
use crate::web::{self, HttpAddress, Listening};

/// How long, and how often, an address is tried that another process may be about
/// to let go of.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// What a mount logs unless `PFS_LOG` says otherwise. Libraries are quiet: to
/// one of them an operation that we leave to the kernel is worth a warning.
const LOGGED: &str = "error,pfs=warn";

/// Makes paths of the plan independent of the current directory, and logs.
pub fn log(plan: &mut MountPlan) -> Outcome {
    plan.log = plan.log.take().map(std::path::absolute).transpose()?;
    logging::start(LogFormat::Text, LOGGED, plan.log.as_deref())
}

/// Shows the metrics of `mounted`, when they are asked for.
pub async fn metrics(plan: &MountPlan, mounted: &Mounted) -> Outcome<Option<Listening>> {
    let Some(address) = &plan.metrics else { return Ok(None) };
    let address = match address {
        HttpAddress::Unix(path) => HttpAddress::Unix(absolute(path)?),
        HttpAddress::Tcp(_) => address.clone(),
    };
    let pages = MountPages(Arc::clone(mounted.stats()));
    let listening = web::serve(&address, Arc::new(pages)).await.map_err(|error| {
        Failure::new(format!("cannot show metrics on {address}: {error}"))
            .hint("name another address with --metrics")
    })?;
    Ok(Some(listening))
}

/// The same in place of another process, which may be about to end and to let go
/// of the address.
pub async fn metrics_again(plan: &MountPlan, mounted: &Mounted) -> Option<Listening> {
    let start = Instant::now();
    loop {
        match metrics(plan, mounted).await {
            Ok(listening) => return listening,
            Err(_) if start.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
            Err(failure) => {
                tracing::warn!(failure.message, "the mount goes on without metrics");
                return None;
            }
        }
    }
}

fn absolute(path: &Path) -> Outcome<PathBuf> {
    Ok(std::path::absolute(path)?)
}
