use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use tonic::Code;

use super::Controller;
use crate::proto::csi as pb;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use crate::proto::csi::volume_content_source::{SnapshotSource, Type};
use crate::refusal::{Refusal, Result};
use crate::volumes::{NewSnapshot, NewVolume, Snapshot, Source, Volume, Volumes};

/// Volumes that hold nothing.
#[derive(Default)]
struct Memory {
    asked: Mutex<Vec<NewVolume>>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
}

#[async_trait]
impl Volumes for Memory {
    async fn create_volume(&self, wanted: &NewVolume) -> Result<Volume> {
        self.asked.lock().unwrap().push(wanted.clone());
        Ok(Volume {
            id: format!("vol-{}", wanted.name),
            capacity: wanted.capacity.required,
            attributes: wanted.parameters.clone(),
            source: wanted.source.clone(),
        })
    }

    async fn delete_volume(&self, id: &str) -> Result<()> {
        Err(Refusal::InTheWay(format!("{id} is being written")))
    }

    async fn volume(&self, id: &str) -> Result<Volume> {
        let asked = self.asked.lock().unwrap();
        match asked.iter().find(|wanted| id == format!("vol-{}", wanted.name)) {
            Some(wanted) => Ok(Volume {
                id: id.to_owned(),
                capacity: 0,
                attributes: wanted.parameters.clone(),
                source: None,
            }),
            None => Err(Refusal::NotFound(format!("no volume {id}"))),
        }
    }

    async fn volumes(&self) -> Result<Vec<Volume>> {
        Ok(Vec::new())
    }

    async fn create_snapshot(&self, wanted: &NewSnapshot) -> Result<Snapshot> {
        let id = format!("snap-{}", wanted.name);
        let snapshot = Snapshot {
            id: id.clone(),
            volume_id: wanted.volume_id.clone(),
            size: 5,
            created: UNIX_EPOCH,
        };
        self.snapshots.lock().unwrap().insert(id, snapshot.clone());
        Ok(snapshot)
    }

    async fn delete_snapshot(&self, id: &str) -> Result<()> {
        self.snapshots.lock().unwrap().remove(id);
        Ok(())
    }

    async fn snapshot(&self, id: &str) -> Result<Snapshot> {
        let found = self.snapshots.lock().unwrap().get(id).cloned();
        found.ok_or_else(|| Refusal::NotFound(format!("no snapshot {id}")))
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(self.snapshots.lock().unwrap().values().cloned().collect())
    }

    async fn is_ready(&self) -> Result<bool> {
        Ok(true)
    }
}

fn controller() -> (Controller, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    (Controller::new(memory.clone()), memory)
}

fn capability(mode: Mode) -> pb::VolumeCapability {
    pb::VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

fn request(mode: Mode) -> pb::CreateVolumeRequest {
    let parameters = [("repo", "data"), ("csi.storage.k8s.io/pvc/name", "claim")];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
    pb::CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        capacity_range: Some(pb::CapacityRange { required_bytes: 7, limit_bytes: 9 }),
        volume_capabilities: vec![capability(mode)],
        parameters: parameters.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_volume_is_asked_for_without_what_the_orchestrator_added() {
    let (controller, memory) = controller();
    let mut wanted = request(Mode::MultiNodeReaderOnly);
    let source = SnapshotSource { snapshot_id: "snap-1".to_owned() };
    wanted.volume_content_source =
        Some(pb::VolumeContentSource { r#type: Some(Type::Snapshot(source)) });
    let volume = controller.create(wanted).await.unwrap().volume.unwrap();
    assert_eq!((&*volume.volume_id, volume.capacity_bytes), ("vol-pvc-1", 7));
    assert!(volume.content_source.is_some());
    controller.create(request(Mode::SingleNodeWriter)).await.unwrap();
    let asked = memory.asked.lock().unwrap().clone();
    assert_eq!(asked[0].parameters.keys().collect::<Vec<_>>(), ["repo"]);
    assert_eq!(asked[0].source, Some(Source::Snapshot("snap-1".to_owned())));
    assert_eq!([asked[0].is_written, asked[1].is_written], [false, true]);
}

#[tokio::test]
async fn a_volume_that_cannot_be_is_not_asked_for() {
    let (controller, memory) = controller();
    type Change = fn(&mut pb::CreateVolumeRequest);
    let wrong: [(Change, Code); 6] = [
        (|request| request.name.clear(), Code::InvalidArgument),
        (|request| request.name = "x".repeat(129), Code::InvalidArgument),
        (|request| request.volume_capabilities.clear(), Code::InvalidArgument),
        (
            |request| drop(request.mutable_parameters.insert("a".to_owned(), "b".to_owned())),
            Code::InvalidArgument,
        ),
        (
            |request| {
                request.capacity_range =
                    Some(pb::CapacityRange { required_bytes: 9, limit_bytes: 7 });
            },
            Code::OutOfRange,
        ),
        (
            |request| request.volume_content_source = Some(pb::VolumeContentSource::default()),
            Code::InvalidArgument,
        ),
    ];
    for (change, code) in wrong {
        let mut request = request(Mode::SingleNodeWriter);
        change(&mut request);
        assert_eq!(controller.create(request).await.err().unwrap().code(), code);
    }
    assert!(memory.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn capabilities_are_confirmed_when_all_hold() {
    let (controller, _) = controller();
    controller.create(request(Mode::SingleNodeWriter)).await.unwrap();
    let validate = |volume_id: &str, volume_capabilities| {
        let volume_id = volume_id.to_owned();
        controller.validate(pb::ValidateVolumeCapabilitiesRequest {
            volume_id,
            volume_capabilities,
            ..Default::default()
        })
    };
    let good = capability(Mode::MultiNodeMultiWriter);
    let block = pb::VolumeCapability { access_type: None, ..good.clone() };
    assert!(validate("vol-pvc-1", vec![good.clone()]).await.unwrap().confirmed.is_some());
    let mixed = validate("vol-pvc-1", vec![good.clone(), block]).await.unwrap();
    assert!(mixed.confirmed.is_none() && !mixed.message.is_empty());
    let none = validate("vol-pvc-1", Vec::new()).await;
    assert_eq!(none.err().unwrap().code(), Code::InvalidArgument);
    let absent = validate("vol-pvc-2", vec![good]).await;
    assert_eq!(absent.err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn snapshots_are_listed_by_id_and_by_volume() {
    let (controller, _) = controller();
    for (name, volume) in [("a", "v1"), ("b", "v2"), ("c", "v2")] {
        let (name, source_volume_id) = (name.to_owned(), volume.to_owned());
        let request = pb::CreateSnapshotRequest { name, source_volume_id, ..Default::default() };
        assert!(controller.snapshot(request).await.unwrap().snapshot.unwrap().ready_to_use);
    }
    let list = async |snapshot_id: &str, source_volume_id: &str| {
        let request = pb::ListSnapshotsRequest {
            snapshot_id: snapshot_id.to_owned(),
            source_volume_id: source_volume_id.to_owned(),
            ..Default::default()
        };
        let listed = controller.snapshots(request).await.unwrap().entries;
        listed.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id).collect::<Vec<_>>()
    };
    assert_eq!(list("", "").await, ["snap-a", "snap-b", "snap-c"]);
    assert_eq!(list("", "v2").await, ["snap-b", "snap-c"]);
    assert_eq!(list("snap-b", "v1").await, Vec::<String>::new());
    assert_eq!(list("none", "").await, Vec::<String>::new());
    let one = pb::GetSnapshotRequest { snapshot_id: "none".to_owned(), ..Default::default() };
    assert_eq!(controller.get_one_snapshot(one).await.err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn what_the_volumes_refuse_is_what_the_caller_hears() {
    let (controller, _) = controller();
    let used = pb::DeleteVolumeRequest { volume_id: "v".to_owned(), ..Default::default() };
    assert_eq!(controller.delete(used).await.err().unwrap().code(), Code::FailedPrecondition);
    let none = pb::DeleteVolumeRequest::default();
    assert_eq!(controller.delete(none).await.err().unwrap().code(), Code::InvalidArgument);
}
