//! Volumes and snapshots as the protocol writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits;
use crate::proto::csi as pb;
use crate::proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use crate::refusal::{Refusal, Result};
use crate::volumes::{CapacityRange, Snapshot, Source, Volume};

pub(super) fn volume_message(volume: &Volume) -> pb::Volume {
    pb::Volume {
        capacity_bytes: number(volume.capacity),
        volume_id: volume.id.clone(),
        volume_context: volume.attributes.clone(),
        content_source: volume.source.as_ref().map(source_message),
        accessible_topology: Vec::new(),
    }
}

pub(super) fn snapshot_message(snapshot: &Snapshot) -> pb::Snapshot {
    pb::Snapshot {
        size_bytes: number(snapshot.size),
        snapshot_id: snapshot.id.clone(),
        source_volume_id: snapshot.volume_id.clone(),
        creation_time: Some(time(snapshot.created)),
        ready_to_use: true,
        group_snapshot_id: String::new(),
        accessible_topology: Vec::new(),
    }
}

fn source_message(source: &Source) -> pb::VolumeContentSource {
    let kind = match source.clone() {
        Source::Snapshot(snapshot_id) => Type::Snapshot(SnapshotSource { snapshot_id }),
        Source::Volume(volume_id) => Type::Volume(VolumeSource { volume_id }),
    };
    pb::VolumeContentSource { r#type: Some(kind) }
}

pub(super) fn source(message: Option<&pb::VolumeContentSource>) -> Result<Option<Source>> {
    let Some(message) = message else { return Ok(None) };
    Ok(Some(match &message.r#type {
        Some(Type::Snapshot(source)) => {
            Source::Snapshot(limits::required("snapshot_id", &source.snapshot_id)?.to_owned())
        }
        Some(Type::Volume(source)) => {
            Source::Volume(limits::required("volume_id", &source.volume_id)?.to_owned())
        }
        None => {
            return Err(Refusal::Invalid("this kind of content source is not known".to_owned()));
        }
    }))
}

pub(super) fn capacity(range: Option<&pb::CapacityRange>) -> Result<CapacityRange> {
    let Some(range) = range else { return Ok(CapacityRange::default()) };
    let natural = |bytes: i64| {
        u64::try_from(bytes).map_err(|_| Refusal::OutOfRange(format!("{bytes} bytes are none")))
    };
    let (required, limit) = (natural(range.required_bytes)?, natural(range.limit_bytes)?);
    match limit != 0 && limit < required {
        true => {
            let what = format!("at least {required} and at most {limit} bytes is no size");
            Err(Refusal::OutOfRange(what))
        }
        false => Ok(CapacityRange { required, limit }),
    }
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn time(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}
