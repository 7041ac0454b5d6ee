//! `keeper`: keeps the mounts of a node while agents come and go.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::logging::{self, LogFormat};
use super::prelude::*;

/// Keep the volumes of a node mounted while its agent is replaced
///
/// Holds the connections to the kernel of every volume and serves none of them:
/// that is for 'pfs agent --keeper', one at a time. Programs that use a volume
/// notice a pause when an agent dies, and nothing when this is replaced. Only when
/// both end in the same moment are the mounts lost. Runs until SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  pfs keeper --socket /run/pfs/keeper.sock")]
pub struct Args {
    /// Where agents connect to it; only root and this user may
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// How logs look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

impl Args {
    /// Keeps until told to stop.
    pub async fn run(self) -> Outcome {
        logging::start(self.log_format, "info", None)?;
        let at = self.socket.display().to_string();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, told) = UnixStream::pair()?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            drop(stop);
        });
        let keep = move || pfs_daemonset::keeper::run(&self.socket, told.as_fd());
        let kept = tokio::task::spawn_blocking(keep).await;
        let kept = kept.map_err(|error| Failure::new(error.to_string()))?;
        kept.map_err(|error| Failure::new(format!("cannot keep anything at {at}: {error}")))
    }
}
