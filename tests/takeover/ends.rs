//! How a held mount ends, and how another program takes it over.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::readers::{number, report};
use super::{Held, eventually, is_alive, name, parent, process, verify};
use crate::machine::has_fuse;
use crate::server::Server;

fn is_mounted(held: &Held) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(held.at()))
}

#[test]
fn nothing_is_left_of_a_held_mount() {
    if !has_fuse("nothing_is_left_of_a_held_mount") {
        return;
    }
    let held = Held::new(1, 4096);
    let (holder, server) = (held.holder(), held.kill());
    let status = fs::read_to_string(format!("/proc/{holder}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    println!("holder: {kib} KiB");
    assert!(kib < 8 << 10, "a holder is small");
    held.server.pfs(&["umount", held.at()]);
    assert!(!is_mounted(&held));
    eventually("the server ends", || !is_alive(server));
    eventually("the holder ends", || !is_alive(holder));
}

#[test]
fn what_whoever_mounts_has_open_is_closed() {
    if !has_fuse("what_whoever_mounts_has_open_is_closed") {
        return;
    }
    let server = Server::start();
    let (dir, open) = (server.dir("mnt"), server.dir("other").join("open"));
    let mount = server.command(&["mount", "-d", dir.to_str().unwrap()]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec \"$0\" \"$@\" 9>\"$OPEN\"").arg(mount.get_program());
    shell.args(mount.get_args()).env("OPEN", &open);
    shell.envs(mount.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(shell.status().unwrap().success());
    let served = process(&dir);
    for process in [served, parent(served)] {
        let found = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
        let found: Vec<_> = found.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        assert!(!found.is_empty() && !found.contains(&open), "{found:?}");
    }
    server.pfs(&["umount", dir.to_str().unwrap()]);
}

#[test]
fn asking_holder_or_server_to_end_unmounts() {
    if !has_fuse("asking_holder_or_server_to_end_unmounts") {
        return;
    }
    for ask_holder in [true, false] {
        let held = Held::new(1, 4096);
        held.kill();
        let (holder, server) = (held.holder(), held.process());
        kill(if ask_holder { holder } else { server }, Signal::SIGTERM).unwrap();
        eventually("unmounted", || !is_mounted(&held));
        eventually("both end", || !is_alive(holder) && !is_alive(server));
    }
}

#[test]
fn a_mount_goes_on_without_its_holder() {
    if !has_fuse("a_mount_goes_on_without_its_holder") {
        return;
    }
    let held = Held::new(2, 4096);
    let (holder, server) = (held.holder(), held.process());
    kill(holder, Signal::SIGKILL).unwrap();
    eventually("the holder ends", || !is_alive(holder));
    verify(&File::open(held.data().join(name(1))).unwrap(), 1, 0, 4096).unwrap();
    assert_eq!(held.process(), server);
    let said = held.server.refused(&["upgrade-mounts", held.at()]);
    assert!(said.contains("no holder"), "{said}");
    kill(server, Signal::SIGKILL).unwrap();
    eventually("nobody answers", || {
        fs::metadata(held.dir.join("other"))
            .is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN))
    });
    held.server.pfs(&["umount", held.at()]);
    assert!(!is_mounted(&held));
}

/// The program under test at another place, as if it were a newer one.
fn another_program(held: &Held) -> PathBuf {
    let path = held.server.dir("newer").join("pfs");
    fs::copy(held.server.command(&[]).get_program(), &path).unwrap();
    path
}

#[test]
fn another_program_takes_over() {
    if !has_fuse("another_program_takes_over") {
        return;
    }
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(5).min(200);
    let held = Held::new(4, 256 << 10);
    let open = File::open(held.data().join(name(3))).unwrap();
    let program = another_program(&held);
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        let before = held.process();
        let slowest = thread::scope(|scope| {
            let asked = scope.spawn(|| {
                held.server.pfs(&[
                    "upgrade-mounts",
                    "--binary",
                    program.to_str().unwrap(),
                    held.at(),
                ])
            });
            let mut slowest = Duration::ZERO;
            while !asked.is_finished() {
                let start = Instant::now();
                held.process();
                slowest = slowest.max(start.elapsed());
            }
            assert!(asked.join().unwrap().contains("upgraded"));
            slowest
        });
        pauses.push(u64::try_from(slowest.as_micros()).unwrap());
        assert_ne!(held.process(), before);
        verify(&open, 3, 0, 256 << 10).unwrap();
    }
    let serving = fs::read_link(format!("/proc/{}/exe", held.process())).unwrap();
    assert_eq!(serving, program);
    held.kill();
    let serving = fs::read_link(format!("/proc/{}/exe", held.process())).unwrap();
    assert_eq!(serving, program, "successors are of the newer program");
    report("upgraded", pauses);
}

#[test]
fn a_program_that_cannot_take_over_does_not() {
    if !has_fuse("a_program_that_cannot_take_over_does_not") {
        return;
    }
    let held = Held::new(1, 4096);
    let server = held.process();
    for program in ["/bin/true", "/bin/cat"] {
        let said = held.server.refused(&["upgrade-mounts", "--binary", program, held.at()]);
        assert!(said.contains("goes on as it was"), "{said}");
    }
    let said = held.server.refused(&["upgrade-mounts", "--binary", "/no/such", held.at()]);
    assert!(said.contains("/no/such"), "{said}");
    assert_eq!(held.process(), server);
    verify(&File::open(held.data().join(name(0))).unwrap(), 0, 0, 4096).unwrap();
}
