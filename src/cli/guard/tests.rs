use super::*;

#[test]
fn a_server_that_asks_nobody_warns_beyond_loopback() {
    let warned = |text: &str| exposed(&text.parse().unwrap(), &Gate::open()).is_some();
    for quiet in ["127.0.0.1:30650", "127.8.0.1:1", "[::1]:30650", "unix:///run/pfs.sock"] {
        assert!(!warned(quiet), "{quiet}");
    }
    for loud in ["0.0.0.0:30650", "[::]:30650", "192.0.2.7:30650", "[2001:db8::1]:1"] {
        assert!(warned(loud), "{loud}");
    }
}
