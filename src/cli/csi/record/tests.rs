use std::collections::BTreeMap;

use super::{Noun, Place, SnapshotRecord, VolumeRecord, decode, encode};

fn place() -> Place {
    Place {
        project: "default".to_owned(),
        repo: "data".to_owned(),
        branch: "pvc-1".to_owned(),
        own_repo: false,
    }
}

#[test]
fn ids_have_one_length_and_are_known_by_their_form() {
    let (volume, snapshot) = (Noun::Volume.id("pvc-1"), Noun::Snapshot.id(&"x".repeat(128)));
    assert_eq!(volume, Noun::Volume.id("pvc-1"));
    assert!(Noun::Volume.has(&volume) && !Noun::Snapshot.has(&volume));
    assert!(Noun::Snapshot.has(&snapshot) && snapshot.len() == 37);
    for other in ["", "vol-", "reallyfakesnapshotid", "vol-XYZ", "vol-../../etc"] {
        assert!(!Noun::Volume.has(other));
    }
}

/// Written by the first version: later ones must read it.
#[test]
fn records_are_read_as_they_were_first_written() {
    let volume = VolumeRecord {
        name: "pvc-1".to_owned(),
        place: place(),
        capacity: 7,
        parameters: BTreeMap::from([("repo".to_owned(), "data".to_owned())]),
        attributes: BTreeMap::from([("mode".to_owned(), "rw".to_owned())]),
        of_snapshot: Some("snap-1".to_owned()),
        of_volume: None,
    };
    let golden = r#"{"v":"1","name":"pvc-1","place":{"project":"default","repo":"data","branch":"pvc-1","own_repo":false},"capacity":7,"parameters":{"repo":"data"},"attributes":{"mode":"rw"},"of_snapshot":"snap-1"}"#;
    assert_eq!(encode(&volume).unwrap(), golden);
    assert_eq!(decode::<VolumeRecord>("vol-1", golden).unwrap(), volume);
    let snapshot = SnapshotRecord {
        name: "s".to_owned(),
        volume: "vol-1".to_owned(),
        place: place(),
        commit: "c".to_owned(),
        size: 5,
    };
    let golden = r#"{"v":"1","name":"s","volume":"vol-1","place":{"project":"default","repo":"data","branch":"pvc-1","own_repo":false},"commit":"c","size":5}"#;
    assert_eq!(encode(&snapshot).unwrap(), golden);
    assert_eq!(decode::<SnapshotRecord>("snap-1", golden).unwrap(), snapshot);
    assert!(decode::<SnapshotRecord>("snap-1", r#"{"v":"2"}"#).is_err());
}
