//! Tests of what a holder does that need no mount.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::json;

use super::brake::{Brake, Death};
use super::link::Link;
use super::remains::Rest;

const MILLISECOND: Duration = Duration::from_millis(1);
const KILLED: Death =
    Death { served: Some(Duration::from_millis(3)), answered: true, killed: true };
const CRASHED: Death = Death { killed: false, ..KILLED };
const UNSERVED: Death = Death { served: None, answered: false, killed: false };

fn file(text: &str) -> OwnedFd {
    let mut file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(text.as_bytes()).unwrap();
    file.into()
}

fn text(fd: OwnedFd) -> String {
    let (mut file, mut text) = (File::from(fd), String::new());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn any_number_of_descriptors_is_handed_over() {
    for count in [0, 1, 62, 63, 64, 200] {
        let (holder, server) = Link::pair().unwrap();
        let taken = thread::spawn(move || server.prepared(b"answer").unwrap());
        let kept: Vec<_> =
            (0..count).map(|at| (format!("{at}"), file(&format!("k{at}")))).collect();
        let (device, table) = (file("device"), file("table"));
        holder.go(&json!({"a": 1}), [device.as_fd(), table.as_fd()], &kept).unwrap();
        let mut estate = taken.join().unwrap();
        assert_eq!(estate.note, json!({"a": 1}));
        assert_eq!((text(estate.device), text(estate.table)), ("device".into(), "table".into()));
        assert_eq!(estate.kept.len(), count);
        for at in 0..count {
            assert_eq!(text(estate.kept.remove(&at.to_string()).unwrap()), format!("k{at}"));
        }
    }
}

#[test]
fn a_server_that_is_killed_is_followed_at_once_however_often() {
    let (mut brake, start) = (Brake::default(), Instant::now());
    for round in 0..10_000 {
        brake.died(KILLED, start + MILLISECOND * round);
        assert_eq!(brake.pause(), Duration::ZERO);
        assert!(!brake.is_hopeless(start + MILLISECOND * round));
    }
}

#[test]
fn a_server_that_crashes_again_and_again_is_followed_more_slowly() {
    let (mut brake, now) = (Brake::default(), Instant::now());
    let pauses: Vec<_> = (0..20)
        .map(|_| {
            brake.died(CRASHED, now);
            brake.pause()
        })
        .collect();
    assert!(pauses[..3].iter().all(Duration::is_zero), "{pauses:?}");
    assert!(pauses.is_sorted() && !pauses[3].is_zero(), "{pauses:?}");
    assert_eq!(pauses[19], Duration::from_secs(5));
    assert!(!brake.is_hopeless(now + Duration::from_secs(3600)), "all of them have served");
    let long = Death { served: Some(Duration::from_secs(6)), ..CRASHED };
    brake.died(long, now);
    assert_eq!(brake.pause(), Duration::ZERO);
}

#[test]
fn one_that_is_killed_before_it_answers_may_be_killed_by_what_it_does() {
    let (mut brake, now) = (Brake::default(), Instant::now());
    for _ in 0..5 {
        brake.died(Death { answered: false, ..KILLED }, now);
    }
    assert!(!brake.pause().is_zero());
}

#[test]
fn successors_that_never_serve_end_after_a_minute() {
    let (mut brake, start) = (Brake::default(), Instant::now());
    let (mut now, mut attempts) = (start, 0);
    while !brake.is_hopeless(now) {
        brake.died(UNSERVED, now);
        now += brake.pause();
        attempts += 1;
    }
    assert!((12..40).contains(&attempts), "{attempts}");
    let time = (now - start).as_secs();
    assert!((60..70).contains(&time), "{time}");
    brake.died(KILLED, now);
    assert!(!brake.is_hopeless(now + Duration::from_secs(60)), "one of them has served");
}

#[test]
fn few_successors_are_no_reason_however_long_they_take() {
    let (mut brake, now) = (Brake::default(), Instant::now());
    for _ in 0..5 {
        brake.died(UNSERVED, now);
    }
    assert!(!brake.is_hopeless(now + Duration::from_secs(3600)));
}

#[test]
fn endings_are_counted_whatever_happens_in_between() {
    let (mut brake, now) = (Brake::default(), Instant::now());
    let ended = (0..6).map(|_| {
        brake.died(Death { served: Some(Duration::from_secs(60)), ..KILLED }, now);
        brake.has_ended()
    });
    assert_eq!(ended.collect::<Vec<_>>(), [false, false, false, false, false, true]);
}

/// What `/proc` says of a thread with this name, flags and end.
fn stat(name: &str, flags: u32, end: u32) -> String {
    let between = ["0"; 42].join(" ");
    format!("71 ({name}) S 1 71 71 0 -1 {flags} {between} {end}\n")
}

#[test]
fn a_thread_answers_until_it_is_known_to_be_killed() {
    let (exiting, killed, crashed) = (0x40_0144, 9, 11);
    let rest = |name, flags, end| Rest::of_thread(&stat(name, flags, end), false);
    assert_eq!(rest("pfs-mount", exiting, killed), Rest::Killed);
    assert_eq!(rest("a) (b", exiting, killed), Rest::Killed);
    assert_eq!(rest("pfs-mount", 0x40_0140, 0), Rest::Serving);
    // How it ends is known a moment later.
    assert_eq!(rest("pfs-mount", exiting, 0), Rest::Serving);
    assert_eq!(rest("pfs-mount", exiting, crashed), Rest::Serving);
    assert_eq!(rest("pfs-push", 0x40_0140, 0), Rest::Nothing);
    assert_eq!(Rest::of_thread("nonsense", false), Rest::Serving);
}

#[test]
fn the_first_thread_of_a_process_stays_for_the_others() {
    let (exiting, crashed) = (0x40_840c, 11);
    let rest = |flags, end| Rest::of_thread(&stat("pfs", flags, end), true);
    assert_eq!(rest(0x40_0100, 0), Rest::Serving);
    assert_eq!(rest(exiting, 9), Rest::Killed);
    assert_eq!(rest(exiting, crashed), Rest::Nothing);
}

#[test]
fn threads_of_this_process_answer() {
    let (end, told) = std::sync::mpsc::channel::<()>();
    let waits = thread::spawn(move || told.recv().is_err());
    assert_eq!(Rest::of(std::process::id()), Rest::Serving);
    drop(end);
    waits.join().unwrap();
}
