//! The Identity service: who this is, and whether it can work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::DRIVER;
use crate::agent::Agent;
use crate::proto::csi as pb;
use crate::proto::csi::plugin_capability::service::Type;
use crate::proto::csi::plugin_capability::{Service, Type as Kind};
use crate::refusal::{Refusal, Result};
use crate::service::service;
use crate::volumes::Volumes;

/// How long those who are needed may take to say that they are there.
const PATIENCE: Duration = Duration::from_secs(3);

/// The service.
pub(crate) struct Identity {
    /// Whose sessions are prepared.
    pub agent: Arc<dyn Agent>,
    /// Who makes volumes.
    pub volumes: Arc<dyn Volumes>,
    /// The version of the program.
    pub version: String,
    /// Whether this instance mounts volumes, or only makes them.
    pub is_node: bool,
}

impl Identity {
    async fn info(&self, _: pb::GetPluginInfoRequest) -> Result<pb::GetPluginInfoResponse> {
        Ok(pb::GetPluginInfoResponse {
            name: DRIVER.to_owned(),
            vendor_version: self.version.clone(),
            manifest: Default::default(),
        })
    }

    async fn capabilities(
        &self,
        _: pb::GetPluginCapabilitiesRequest,
    ) -> Result<pb::GetPluginCapabilitiesResponse> {
        let service = Service { r#type: Type::ControllerService.into() };
        let capability = pb::PluginCapability { r#type: Some(Kind::Service(service)) };
        Ok(pb::GetPluginCapabilitiesResponse { capabilities: vec![capability] })
    }

    /// An agent that is away, or busy taking sessions over, is waited for, and so
    /// is the server where volumes are made and not mounted; a kernel without FUSE
    /// is not.
    async fn probe(&self, _: pb::ProbeRequest) -> Result<pb::ProbeResponse> {
        if self.is_node && !Path::new("/dev/fuse").exists() {
            let what = "there is no /dev/fuse: load the fuse module, or pass the device in";
            return Err(Refusal::InTheWay(what.to_owned()));
        }
        let asked = async {
            match self.is_node {
                true => self.agent.is_ready().await,
                false => self.volumes.is_ready().await,
            }
        };
        let ready = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(refusal)) => {
                tracing::info!(%refusal, "not ready");
                false
            }
            Err(_) => {
                let whom = if self.is_node { "node agent" } else { "server" };
                tracing::info!("not ready: the {whom} does not answer");
                false
            }
        };
        Ok(pb::ProbeResponse { ready: Some(ready) })
    }
}

service! {
    impl pb::identity_server::Identity as Identity;
    calls {
        get_plugin_info(pb::GetPluginInfoRequest) -> pb::GetPluginInfoResponse = info;
        get_plugin_capabilities(pb::GetPluginCapabilitiesRequest) -> pb::GetPluginCapabilitiesResponse
            = capabilities;
        probe(pb::ProbeRequest) -> pb::ProbeResponse = probe;
    }
}
