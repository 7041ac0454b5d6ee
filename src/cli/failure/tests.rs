use super::*;

#[test]
fn only_a_connection_that_broke_asks_whether_the_server_runs() {
    let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
    let broken = Failure::from(Status::from_error(Box::new(reset)));
    assert!(broken.lost);
    assert_eq!(broken.message, "the connection to the server broke: reset by peer");
    assert_eq!(broken.hint.as_deref(), Some(UNREACHABLE));
    let said = Failure::from(Status::unavailable("the store is unavailable"));
    assert!(!said.lost);
    assert_eq!((said.message.as_str(), said.hint), ("the store is unavailable", None));
}
