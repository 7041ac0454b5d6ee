//! The calls of the service.

use super::Node;
use crate::proto::csi as pb;
use crate::proto::csi::node_service_capability::rpc::Type;
use crate::proto::csi::node_service_capability::{Rpc, Type as Kind};
use crate::refusal::Result;
use crate::service::service;

/// What the service can do besides what every one must.
const CAPABILITIES: [Type; 5] = [
    Type::GetVolumeStats,
    Type::VolumeCondition,
    Type::SingleNodeMultiWriter,
    Type::VolumeMountGroup,
    Type::GetVolumeHealth,
];

impl Node {
    async fn published_volume(
        &self,
        request: pb::NodePublishVolumeRequest,
    ) -> Result<pb::NodePublishVolumeResponse> {
        self.publish(request).await?;
        Ok(pb::NodePublishVolumeResponse {})
    }

    async fn unpublished_volume(
        &self,
        request: pb::NodeUnpublishVolumeRequest,
    ) -> Result<pb::NodeUnpublishVolumeResponse> {
        self.unpublish(request).await?;
        Ok(pb::NodeUnpublishVolumeResponse {})
    }

    async fn capabilities(
        &self,
        _: pb::NodeGetCapabilitiesRequest,
    ) -> Result<pb::NodeGetCapabilitiesResponse> {
        let capability = |kind: Type| pb::NodeServiceCapability {
            r#type: Some(Kind::Rpc(Rpc { r#type: kind.into() })),
        };
        let capabilities = CAPABILITIES.map(capability).to_vec();
        Ok(pb::NodeGetCapabilitiesResponse { capabilities })
    }

    async fn info(&self, _: pb::NodeGetInfoRequest) -> Result<pb::NodeGetInfoResponse> {
        Ok(pb::NodeGetInfoResponse {
            node_id: self.node_id.clone(),
            max_volumes_per_node: self.max_volumes,
            accessible_topology: None,
        })
    }
}

service! {
    impl pb::node_server::Node as Node;
    calls {
        node_publish_volume(pb::NodePublishVolumeRequest) -> pb::NodePublishVolumeResponse
            = published_volume;
        node_unpublish_volume(pb::NodeUnpublishVolumeRequest) -> pb::NodeUnpublishVolumeResponse
            = unpublished_volume;
        node_get_volume_stats(pb::NodeGetVolumeStatsRequest) -> pb::NodeGetVolumeStatsResponse
            = stats;
        node_get_volume_health(pb::NodeGetVolumeHealthRequest) -> pb::NodeGetVolumeHealthResponse
            = health;
        node_get_capabilities(pb::NodeGetCapabilitiesRequest) -> pb::NodeGetCapabilitiesResponse
            = capabilities;
        node_get_info(pb::NodeGetInfoRequest) -> pb::NodeGetInfoResponse = info;
    }
    absent {
        node_stage_volume: pb::NodeStageVolumeRequest => pb::NodeStageVolumeResponse,
        node_unstage_volume: pb::NodeUnstageVolumeRequest => pb::NodeUnstageVolumeResponse,
        node_expand_volume: pb::NodeExpandVolumeRequest => pb::NodeExpandVolumeResponse,
        node_get_storage_health:
            pb::NodeGetStorageHealthRequest => pb::NodeGetStorageHealthResponse,
    }
}
