//! The calls of the service.

use super::Controller;
use crate::proto::csi as pb;
use crate::proto::csi::controller_service_capability::rpc::Type;
use crate::proto::csi::controller_service_capability::{Rpc, Type as Kind};
use crate::refusal::Result;
use crate::service::service;

/// What the service can do.
const CAPABILITIES: [Type; 8] = [
    Type::CreateDeleteVolume,
    Type::ListVolumes,
    Type::GetVolume,
    Type::CreateDeleteSnapshot,
    Type::ListSnapshots,
    Type::GetSnapshot,
    Type::CloneVolume,
    Type::SingleNodeMultiWriter,
];

impl Controller {
    async fn capabilities(
        &self,
        _: pb::ControllerGetCapabilitiesRequest,
    ) -> Result<pb::ControllerGetCapabilitiesResponse> {
        let capability = |kind: Type| pb::ControllerServiceCapability {
            r#type: Some(Kind::Rpc(Rpc { r#type: kind.into() })),
        };
        let capabilities = CAPABILITIES.map(capability).to_vec();
        Ok(pb::ControllerGetCapabilitiesResponse { capabilities })
    }
}

service! {
    impl pb::controller_server::Controller as Controller;
    calls {
        create_volume(pb::CreateVolumeRequest) -> pb::CreateVolumeResponse = create;
        delete_volume(pb::DeleteVolumeRequest) -> pb::DeleteVolumeResponse = delete;
        validate_volume_capabilities(pb::ValidateVolumeCapabilitiesRequest)
            -> pb::ValidateVolumeCapabilitiesResponse = validate;
        list_volumes(pb::ListVolumesRequest) -> pb::ListVolumesResponse = list;
        controller_get_volume(pb::ControllerGetVolumeRequest) -> pb::ControllerGetVolumeResponse
            = get;
        controller_get_capabilities(pb::ControllerGetCapabilitiesRequest)
            -> pb::ControllerGetCapabilitiesResponse = capabilities;
        create_snapshot(pb::CreateSnapshotRequest) -> pb::CreateSnapshotResponse = snapshot;
        delete_snapshot(pb::DeleteSnapshotRequest) -> pb::DeleteSnapshotResponse = delete_snapshot;
        get_snapshot(pb::GetSnapshotRequest) -> pb::GetSnapshotResponse = get_one_snapshot;
        list_snapshots(pb::ListSnapshotsRequest) -> pb::ListSnapshotsResponse = snapshots;
    }
    absent {
        controller_publish_volume:
            pb::ControllerPublishVolumeRequest => pb::ControllerPublishVolumeResponse,
        controller_unpublish_volume:
            pb::ControllerUnpublishVolumeRequest => pb::ControllerUnpublishVolumeResponse,
        get_capacity: pb::GetCapacityRequest => pb::GetCapacityResponse,
        controller_expand_volume:
            pb::ControllerExpandVolumeRequest => pb::ControllerExpandVolumeResponse,
        controller_modify_volume:
            pb::ControllerModifyVolumeRequest => pb::ControllerModifyVolumeResponse,
        controller_list_volume_health:
            pb::ControllerListVolumeHealthRequest => pb::ControllerListVolumeHealthResponse,
        controller_get_volume_health:
            pb::ControllerGetVolumeHealthRequest => pb::ControllerGetVolumeHealthResponse,
    }
}
