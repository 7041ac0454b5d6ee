//! The Controller service: making volumes and snapshots, and telling of them.

mod convert;
mod listing;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::capability::Capability;
use crate::limits;
use crate::node::request::authored;
use crate::proto::csi as pb;
use crate::refusal::{Refusal, Result};
use crate::volumes::{NewSnapshot, NewVolume, Snapshot, Volume, Volumes};
use convert::{capacity, snapshot_message, source, volume_message};
use listing::Listings;

/// The service.
pub(crate) struct Controller {
    volumes: Arc<dyn Volumes>,
    volume_lists: Listings<Volume>,
    snapshot_lists: Listings<Snapshot>,
}

impl Controller {
    /// The service over who makes the volumes.
    pub fn new(volumes: Arc<dyn Volumes>) -> Self {
        Self { volumes, volume_lists: Listings::default(), snapshot_lists: Listings::default() }
    }

    async fn create(&self, request: pb::CreateVolumeRequest) -> Result<pb::CreateVolumeResponse> {
        let name = limits::required("name", &request.name)?.to_owned();
        let uses = capabilities(&request.volume_capabilities)?;
        if let Some(key) = request.mutable_parameters.keys().next() {
            return Err(Refusal::Invalid(format!("mutable parameter {key:?} is not known here")));
        }
        let parameters = authored(&request.parameters);
        limits::map("parameters", &parameters)?;
        let wanted = NewVolume {
            name,
            capacity: capacity(request.capacity_range.as_ref())?,
            is_written: uses.iter().any(|one| !one.access.is_reading()),
            parameters,
            source: source(request.volume_content_source.as_ref())?,
        };
        let volume = self.volumes.create_volume(&wanted).await?;
        Ok(pb::CreateVolumeResponse { volume: Some(volume_message(&volume)) })
    }

    async fn delete(&self, request: pb::DeleteVolumeRequest) -> Result<pb::DeleteVolumeResponse> {
        let id = limits::required("volume_id", &request.volume_id)?;
        self.volumes.delete_volume(id).await?;
        Ok(pb::DeleteVolumeResponse {})
    }

    /// Every way of use that can be understood can be had.
    async fn validate(
        &self,
        request: pb::ValidateVolumeCapabilitiesRequest,
    ) -> Result<pb::ValidateVolumeCapabilitiesResponse> {
        let id = limits::required("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(Refusal::Invalid("the request has no volume capability".to_owned()));
        }
        let volume = self.volumes.volume(id).await?;
        let understood = capabilities(&request.volume_capabilities).map(drop).and_then(|()| {
            match request.volume_context.is_empty()
                || authored(&request.volume_context) == volume.attributes
            {
                true => Ok(()),
                false => Err(Refusal::Invalid("the volume has another context".to_owned())),
            }
        });
        Ok(match understood {
            Ok(()) => pb::ValidateVolumeCapabilitiesResponse {
                confirmed: Some(pb::validate_volume_capabilities_response::Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                    mutable_parameters: request.mutable_parameters,
                }),
                message: String::new(),
            },
            Err(refusal) => pb::ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message: refusal.to_string(),
            },
        })
    }

    async fn list(&self, request: pb::ListVolumesRequest) -> Result<pb::ListVolumesResponse> {
        let (max, token) = (request.max_entries, request.starting_token.as_str());
        let fresh = || async {
            let mut all = self.volumes.volumes().await?;
            all.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(all)
        };
        let (page, next_token) = self.volume_lists.page(max, token, fresh).await?;
        let entry = |volume: &Volume| pb::list_volumes_response::Entry {
            volume: Some(volume_message(volume)),
            status: None,
        };
        Ok(pb::ListVolumesResponse { entries: page.iter().map(entry).collect(), next_token })
    }

    async fn get(
        &self,
        request: pb::ControllerGetVolumeRequest,
    ) -> Result<pb::ControllerGetVolumeResponse> {
        let id = limits::required("volume_id", &request.volume_id)?;
        let volume = self.volumes.volume(id).await?;
        let status = pb::controller_get_volume_response::VolumeStatus {
            published_node_ids: Vec::new(),
            volume_condition: Some(pb::VolumeCondition {
                abnormal: false,
                message: "the server has it".to_owned(),
            }),
        };
        let volume = Some(volume_message(&volume));
        Ok(pb::ControllerGetVolumeResponse { volume, status: Some(status) })
    }

    async fn snapshot(
        &self,
        request: pb::CreateSnapshotRequest,
    ) -> Result<pb::CreateSnapshotResponse> {
        let wanted = NewSnapshot {
            name: limits::required("name", &request.name)?.to_owned(),
            volume_id: limits::required("source_volume_id", &request.source_volume_id)?.to_owned(),
            parameters: authored(&request.parameters),
        };
        limits::map("parameters", &wanted.parameters)?;
        let snapshot = self.volumes.create_snapshot(&wanted).await?;
        Ok(pb::CreateSnapshotResponse { snapshot: Some(snapshot_message(&snapshot)) })
    }

    async fn delete_snapshot(
        &self,
        request: pb::DeleteSnapshotRequest,
    ) -> Result<pb::DeleteSnapshotResponse> {
        let id = limits::required("snapshot_id", &request.snapshot_id)?;
        self.volumes.delete_snapshot(id).await?;
        Ok(pb::DeleteSnapshotResponse {})
    }

    async fn get_one_snapshot(
        &self,
        request: pb::GetSnapshotRequest,
    ) -> Result<pb::GetSnapshotResponse> {
        let id = limits::required("snapshot_id", &request.snapshot_id)?;
        let snapshot = self.volumes.snapshot(id).await?;
        Ok(pb::GetSnapshotResponse { snapshot: Some(snapshot_message(&snapshot)) })
    }

    async fn snapshots(
        &self,
        request: pb::ListSnapshotsRequest,
    ) -> Result<pb::ListSnapshotsResponse> {
        let id = limits::optional("snapshot_id", &request.snapshot_id)?;
        let volume_id = limits::optional("source_volume_id", &request.source_volume_id)?;
        let fresh = || async {
            let mut all = match id {
                "" => self.volumes.snapshots().await?,
                id => match self.volumes.snapshot(id).await {
                    Ok(one) => vec![one],
                    Err(Refusal::NotFound(_)) => Vec::new(),
                    Err(refusal) => return Err(refusal),
                },
            };
            all.retain(|snapshot| volume_id.is_empty() || snapshot.volume_id == volume_id);
            all.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(all)
        };
        let (max, token) = (request.max_entries, request.starting_token.as_str());
        let (page, next_token) = self.snapshot_lists.page(max, token, fresh).await?;
        let entry = |snapshot: &Snapshot| pb::list_snapshots_response::Entry {
            snapshot: Some(snapshot_message(snapshot)),
        };
        Ok(pb::ListSnapshotsResponse { entries: page.iter().map(entry).collect(), next_token })
    }
}

/// Every way of use, of which there must be one.
fn capabilities(all: &[pb::VolumeCapability]) -> Result<Vec<Capability>> {
    match all.is_empty() {
        true => Err(Refusal::Invalid("the request has no volume capability".to_owned())),
        false => all.iter().map(|one| Capability::parse(Some(one))).collect(),
    }
}
