//! `csi`: the driver of volumes in Kubernetes.
//!
//! The crate `pfs-csi` knows the protocol and the kernel's mounts; here is what
//! its volumes are made of.

mod agent;
mod health;
mod parameters;
mod record;
mod refusals;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;

use pfs_csi::Config;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::client::connect_later;
use crate::cli::logging::{self, LogFormat};
use crate::cli::prelude::*;
use crate::web::{self, HttpAddress};
use health::HealthPages;
pub use volumes::ServerVolumes;

/// Run the driver of volumes in Kubernetes until it is stopped
///
/// Serves all of the Container Storage Interface at one socket. Where volumes are
/// mounted it must be privileged; it stops and starts without any harm to mounts,
/// which the node agent serves.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  pfs csi --endpoint unix:///csi/csi.sock --node-id $NODE --agent /run/pfs/agent.sock
  pfs csi --endpoint unix:///run/pfs/csi.sock --node-id $(hostname)")]
pub struct Args {
    /// Where the services are to listen
    #[arg(long, value_name = "unix:///PATH", value_parser = socket)]
    endpoint: PathBuf,
    /// What the cluster calls this node
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_id: String,
    /// The socket of the node agent; one in this process unless given, which is
    /// for tests and single nodes: mounts end with it
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// The directory of the kubelet to register with, e.g. /var/lib/kubelet
    #[arg(long, value_name = "DIR")]
    kubelet_dir: Option<PathBuf>,
    /// How many volumes the node may have; 0 is no bound
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_volumes: u32,
    /// Answer the probes of a pod at HOST:PORT, PORT or unix:/PATH: /healthz
    /// while this process answers, /readyz while the node agent does too, or,
    /// without --kubelet-dir, the server
    #[arg(long, value_name = "ADDRESS")]
    health: Option<HttpAddress>,
    /// How logs look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text.strip_prefix("unix://").unwrap_or(text));
    match path.is_absolute() && path.file_name().is_some() {
        true => Ok(path),
        false => Err("expected the absolute path of a socket, as in unix:///run/csi.sock".into()),
    }
}

impl Args {
    /// Serves until told to stop.
    pub async fn run(self, cx: &Context) -> Outcome {
        logging::start(self.log_format, "info", None)?;
        let failed = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
        // The server may be away: calls that need it say so.
        let client = connect_later(&cx.address()?).map_err(|error| failed(&error))?;
        let volumes = Arc::new(ServerVolumes::new(client));
        let agent = agent::open(self.agent.as_deref(), cx)?;
        let listening = self.health().await?;
        let config = Config {
            endpoint: self.endpoint,
            node_id: self.node_id,
            max_volumes: self.max_volumes,
            kubelet_dir: self.kubelet_dir,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        tracing::info!(endpoint = %config.endpoint.display(), node = config.node_id, "serving");
        let served = pfs_csi::serve(config, volumes, agent, stop).await;
        drop(listening);
        served.map_err(|error| failed(&error))
    }

    async fn health(&self) -> Outcome<Option<web::Listening>> {
        let Some(address) = &self.health else { return Ok(None) };
        let pages = HealthPages { endpoint: self.endpoint.clone() };
        match web::serve(address, Arc::new(pages)).await {
            Ok(listening) => Ok(Some(listening)),
            Err(error) => Err(Failure::new(format!("cannot listen at {address}: {error}"))),
        }
    }
}
