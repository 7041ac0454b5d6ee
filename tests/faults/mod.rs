//! The server dies, the disk is full: what was acknowledged is there, what was
//! not is there in whole or not at all.

mod away;
mod caches;
mod confined;
mod full;
mod kill;
mod ledger;
mod outlive;
mod overlaid;

use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` says so.
#[track_caller]
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}
