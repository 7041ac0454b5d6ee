//! Putting away what nobody comes back for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Controller;

/// How long nothing is looked for.
const PAUSE: Duration = Duration::from_secs(30);

impl Controller {
    /// Sweeps until `shutdown`.
    pub(super) async fn keep_sweeping(&self, shutdown: &CancellationToken) {
        loop {
            let wait = match self.repos().sweep_transactions().await {
                Ok(swept) if swept.more => Duration::ZERO,
                Ok(_) => PAUSE,
                Err(error) => {
                    tracing::error!(%error, "lapsed transactions stay as they are; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}
