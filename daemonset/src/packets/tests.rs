use std::fs::File;
use std::io::Read as _;

use super::*;

#[test]
fn a_message_arrives_with_its_descriptors_after_its_sender_has_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("deep/socket");
    let listener = Listener::bind(&path).unwrap();
    let client = Packets::connect(&path).unwrap();
    fs::write(scratch.path().join("file"), "content").unwrap();
    let file = File::open(scratch.path().join("file")).unwrap();
    client.send(&"hello", &[file.as_fd()]).unwrap();
    drop((client, file));
    let server = listener.accept().unwrap().unwrap();
    let (message, fds) = server.receive::<String>().unwrap().unwrap();
    let mut text = String::new();
    File::from(fds.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!((message.as_str(), text.as_str()), ("hello", "content"));
    assert!(server.receive::<String>().unwrap().is_none());
}

#[test]
fn what_cannot_be_understood_is_skipped() {
    let (one, other) = Packets::pair().unwrap();
    one.send(&7, &[]).unwrap();
    one.send(&"next", &[]).unwrap();
    let error = other.receive::<String>().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(other.receive::<String>().unwrap().unwrap().0, "next");
}

#[test]
fn whoever_waits_too_long_is_told_so() {
    let (one, _other) = Packets::pair().unwrap();
    one.limit(Some(Duration::from_millis(10))).unwrap();
    assert_eq!(one.receive::<String>().unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_listener_takes_the_place_of_a_dead_one_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("socket");
    let first = Listener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let client = Packets::connect(&path).unwrap();
    assert!(first.accept().unwrap().is_some());
    // What a killed process leaves.
    let left = scratch.path().join("left");
    fs::rename(&path, &left).unwrap();
    drop((client, first));
    fs::rename(&left, &path).unwrap();
    let second = Listener::bind(&path).unwrap();
    drop(Packets::connect(&path).unwrap());
    drop(second);
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    assert!(Listener::bind(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}
