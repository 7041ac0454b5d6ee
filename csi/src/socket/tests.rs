use std::os::unix::net::UnixStream;

use super::bind;

#[tokio::test]
async fn a_socket_takes_the_place_of_one_that_was_left() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("below/driver.sock");
    let (first, old) = bind(&path).unwrap();
    let (second, _new) = bind(&path).unwrap();
    drop(old);
    // What the one before takes away is not the other's.
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(second);
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}
