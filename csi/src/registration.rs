//! Making the driver known to kubelet, which looks for sockets in a directory
//! of its own and asks there who it is.

mod authority;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_stream::StreamExt as _;
use tonic::transport::Server;

use self::authority::Authority;

use crate::DRIVER;
use crate::proto::registration as pb;
use crate::refusal::Result;
use crate::service::service;
use crate::socket;

/// The kind of plugin, as kubelet calls it.
const KIND: &str = "CSIPlugin";

/// The versions of the interface that are spoken.
const VERSIONS: [&str; 1] = ["1.0.0"];

/// How long to wait before another try after kubelet has refused the driver.
pub(crate) const AGAIN: Duration = Duration::from_secs(10);

/// The service that kubelet asks.
struct Registration {
    /// Where kubelet finds the driver's services.
    endpoint: String,
    refused: Arc<Notify>,
}

impl Registration {
    async fn info(&self, _: pb::InfoRequest) -> Result<pb::PluginInfo> {
        Ok(pb::PluginInfo {
            r#type: KIND.to_owned(),
            name: DRIVER.to_owned(),
            endpoint: self.endpoint.clone(),
            supported_versions: VERSIONS.map(str::to_owned).to_vec(),
        })
    }

    async fn notify(
        &self,
        status: pb::RegistrationStatus,
    ) -> Result<pb::RegistrationStatusResponse> {
        if status.plugin_registered {
            tracing::info!(driver = DRIVER, "registered with kubelet");
        } else {
            tracing::error!(driver = DRIVER, why = status.error, "kubelet refuses the driver");
            self.refused.notify_one();
        }
        Ok(pb::RegistrationStatusResponse {})
    }
}

service! {
    impl pb::registration_server::Registration as Registration;
    calls {
        get_info(pb::InfoRequest) -> pb::PluginInfo = info;
        notify_registration_status(pb::RegistrationStatus) -> pb::RegistrationStatusResponse = notify;
    }
}

/// Where kubelet looks for the driver.
pub(crate) fn socket_path(kubelet_dir: &std::path::Path) -> PathBuf {
    kubelet_dir.join("plugins_registry").join(format!("{DRIVER}-reg.sock"))
}

/// Keeps the driver, whose services are at `endpoint`, registered until `stop`
/// ends. A socket that appears anew is what has kubelet ask again; that happens
/// `again` after it has refused.
pub(crate) async fn register(
    path: PathBuf,
    endpoint: String,
    again: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::pin!(stop);
    loop {
        let (bound, connections) = socket::bind(&path)?;
        let authority = Authority::of(&path);
        let connections = connections.map(move |client| authority.mended(client?));
        let refused = Arc::new(Notify::new());
        let service = Registration { endpoint: endpoint.clone(), refused: Arc::clone(&refused) };
        let server = Server::builder()
            .add_service(pb::registration_server::RegistrationServer::new(service))
            .serve_with_incoming(connections);
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = refused.notified() => drop(bound),
            ended = server => return ended.map_err(io::Error::other),
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(again) => {}
        }
    }
}

#[cfg(test)]
mod tests;
