//! The driver as a server: all three services at one socket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::transport::Server;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::identity::Identity;
use crate::mount::{Linux, Patience};
use crate::node::Node;
use crate::proto::csi as pb;
use crate::volumes::Volumes;
use crate::{registration, socket};

/// Where a driver is, and for whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// The socket of its services.
    pub endpoint: PathBuf,
    /// What the cluster calls this node.
    pub node_id: String,
    /// How many volumes the node may have; 0 is no bound.
    pub max_volumes: u32,
    /// The directory of the kubelet to register with; `None` where there is
    /// none, or it is done by somebody else.
    pub kubelet_dir: Option<PathBuf>,
    /// The version of the program.
    pub version: String,
}

/// Serves until `stop` ends, then lets calls in flight end. What it put into
/// the file system is gone afterwards; mounts stay.
pub async fn serve(
    config: Config,
    volumes: Arc<dyn Volumes>,
    agent: Arc<dyn Agent>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (bound, connections) = socket::bind(&config.endpoint)?;
    let (stopping, stopped) = watch::channel(false);
    let identity = Identity {
        agent: Arc::clone(&agent),
        volumes: Arc::clone(&volumes),
        version: config.version,
        is_node: config.kubelet_dir.is_some(),
    };
    let patience = Patience::default();
    let node = Node::new(agent, Arc::new(Linux), patience, config.node_id, config.max_volumes);
    let server = Server::builder()
        .add_service(pb::identity_server::IdentityServer::new(identity))
        .add_service(pb::controller_server::ControllerServer::new(Controller::new(volumes)))
        .add_service(pb::node_server::NodeServer::new(node))
        .serve_with_incoming_shutdown(connections, until(stopped.clone()));
    // Kubelet calls as soon as it knows: the services listen by now.
    let endpoint = config.endpoint.display().to_string();
    let registering = async {
        match config.kubelet_dir.as_deref().map(registration::socket_path) {
            Some(path) => {
                let again = registration::AGAIN;
                registration::register(path, endpoint, again, until(stopped)).await
            }
            None => Ok(()),
        }
    };
    let stop = async {
        stop.await;
        stopping.send_replace(true);
        Ok(())
    };
    let serving = async { server.await.map_err(io::Error::other) };
    let ended = tokio::try_join!(serving, registering, stop).map(drop);
    drop(bound);
    ended
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone says so as well.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
