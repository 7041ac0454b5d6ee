//! How a held mount ends, and how another program takes it over.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pfs::mount::control;

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

/// The process that waits to be the next server.
fn spare(holder: Pid) -> Pid {
    let found = || {
        let children = fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"));
        let children = children.unwrap_or_default();
        let named = |child: &&str| {
            let name = fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name.trim_end() == "pfs-spare")
        };
        children.split_whitespace().find(named).map(|child| Pid::from_raw(child.parse().unwrap()))
    };
    eventually("a process waits to be the next", || found().is_some());
    found().unwrap()
}

#[test]
fn a_process_waits_to_be_the_next_and_is_not_missed_when_it_dies() {
    if !has_fuse("a_process_waits_to_be_the_next_and_is_not_missed_when_it_dies") {
        return;
    }
    let held = Held::new(1, 4096);
    let holder = held.holder();
    let waiting = spare(holder);
    assert_eq!(held.kill(), waiting);
    let another = spare(holder);
    kill(another, Signal::SIGKILL).unwrap();
    eventually("it ends", || !is_alive(another));
    assert_ne!(held.kill(), another);
    let last = spare(holder);
    held.server.pfs(&["umount", held.at()]);
    eventually("all end", || !is_alive(holder) && !is_alive(last));
}

#[test]
fn who_follows_has_the_address_of_the_metrics_and_nothing_is_left_of_the_dead() {
    if !has_fuse("who_follows_has_the_address_of_the_metrics_and_nothing_is_left_of_the_dead") {
        return;
    }
    // Free a moment ago; whoever has just let go of it does not stand in the way.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let held = Held::with(1, 4096, |_| vec!["--metrics".into(), address.clone()]);
    let shown = || TcpStream::connect(&address).is_ok();
    assert!(shown());
    for _ in 0..3 {
        let dead = held.process();
        held.kill();
        eventually("metrics are shown again", shown);
        eventually("it is gone", || !Path::new(&format!("/proc/{dead}")).exists());
    }
    held.server.pfs(&["umount", held.at()]);
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

/// A thread without the descriptors of the process would run a handler in vain.
#[test]
fn no_signal_is_taken_by_the_thread_that_shows_life() {
    if !has_fuse("no_signal_is_taken_by_the_thread_that_shows_life") {
        return;
    }
    let held = Held::new(1, 4096);
    for served in [Held::process as fn(&Held) -> Pid, Held::kill] {
        let server = served(&held);
        let tasks = fs::read_dir(format!("/proc/{server}/task")).unwrap().flatten();
        // Others come and go.
        let mut status =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let alive = status.find(|status| status.starts_with("Name:\tpfs-alive\n")).unwrap();
        let blocked = alive.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        let told = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        assert!(told.iter().all(|signal| blocked >> (*signal as u32 - 1) & 1 == 1), "{alive}");
    }
    held.server.pfs(&["umount", held.at()]);
}

#[test]
fn what_a_server_was_told_and_never_heard_its_successor_hears() {
    if !has_fuse("what_a_server_was_told_and_never_heard_its_successor_hears") {
        return;
    }
    let held = Held::new(1, 4096);
    let (holder, server) = (held.holder(), held.process());
    // Nobody waits before the server heeds signals.
    spare(holder);
    let status = |key: &str| {
        let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
    };
    kill(server, Signal::SIGSTOP).unwrap();
    // Until then it takes the lower number first.
    eventually("it stops", || status("State:").starts_with('T'));
    kill(holder, Signal::SIGTERM).unwrap();
    let pending = || {
        let mask = u64::from_str_radix(&status("ShdPnd:"), 16).unwrap();
        mask >> (Signal::SIGTERM as u32 - 1) & 1 == 1
    };
    eventually("the holder passes it on", pending);
    kill(server, Signal::SIGKILL).unwrap();
    eventually("unmounted", || !is_mounted(&held));
    eventually("the holder ends", || !is_alive(holder));
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

fn read_process(dir: &Path) -> std::io::Result<String> {
    control::read(dir, "user.pfs.process")
}

#[test]
fn a_mount_of_many_written_repos_outlives_its_process() {
    if !has_fuse("a_mount_of_many_written_repos_outlives_its_process") {
        return;
    }
    // Two descriptors each, and more than one message of them.
    let server = Server::start();
    let dir = server.dir("mnt");
    let repos: Vec<_> = (0..40).map(|repo| format!("repo{repo}")).collect();
    let mut mount = vec!["mount".to_owned(), "-d".into(), "--commit".into(), "explicit".into()];
    for repo in &repos {
        server.pfs(&["create", "repo", repo]);
        mount.extend(["-r".into(), format!("{repo}@master+w")]);
    }
    mount.push(dir.to_str().unwrap().into());
    server.pfs(&mount.iter().map(String::as_str).collect::<Vec<_>>());
    for repo in &repos {
        fs::write(dir.join(repo).join("file"), repo).unwrap();
    }
    let before = process(&dir);
    let holder = parent(before);
    kill(before, Signal::SIGKILL).unwrap();
    let (tell, told) = mpsc::channel();
    let at = dir.clone();
    thread::spawn(move || tell.send(read_process(&at)));
    let answered = told.recv_timeout(Duration::from_secs(60));
    if answered.is_err() {
        // Whoever waits for the mount would never end.
        kill(holder, Signal::SIGKILL).unwrap();
    }
    let now = answered.expect("no successor").unwrap();
    assert_ne!(now, before.to_string());
    for repo in &repos {
        assert_eq!(fs::read_to_string(dir.join(repo).join("file")).unwrap(), *repo);
        fs::write(dir.join(repo).join("other"), repo).unwrap();
    }
    assert_eq!(parent(process(&dir)), holder);
    server.pfs(&["umount", dir.to_str().unwrap()]);
}

/// Takes from `holder` what it remembers of transactions: no successor can go
/// on from that.
fn spoil(holder: Pid) {
    let fds = fs::read_dir(format!("/proc/{holder}/fd")).unwrap().flatten();
    let memory = |fd: &fs::DirEntry| {
        let name = fs::read_link(fd.path()).unwrap_or_default();
        name.to_string_lossy().contains("pfs transaction")
    };
    let memories: Vec<_> = fds.filter(memory).collect();
    assert!(!memories.is_empty(), "nothing is remembered");
    for fd in memories {
        File::options().write(true).open(fd.path()).unwrap().set_len(0).unwrap();
    }
}

#[test]
fn a_mount_that_nobody_can_go_on_with_ends_when_asked_to() {
    if !has_fuse("a_mount_that_nobody_can_go_on_with_ends_when_asked_to") {
        return;
    }
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let (dir, log) = (server.dir("mnt"), server.dir("log").join("log"));
    let (at, to) = (dir.to_str().unwrap(), log.to_str().unwrap());
    let mount = ["-r", "data@master+w", "--commit", "explicit", "--log", to, at];
    server.pfs(&[&["mount", "-d"][..], &mount].concat());
    fs::write(dir.join("data/file"), "kept").unwrap();
    let served = process(&dir);
    let holder = parent(served);
    spoil(holder);
    kill(served, Signal::SIGKILL).unwrap();
    eventually("the server ends", || !is_alive(served));
    let (tell, told) = mpsc::channel();
    let asked = dir.clone();
    thread::spawn(move || tell.send(read_process(&asked)));
    kill(holder, Signal::SIGTERM).unwrap();
    let answered = told.recv_timeout(Duration::from_secs(40));
    if answered.is_err() {
        // Whoever waits for the mount would never end.
        kill(holder, Signal::SIGKILL).unwrap();
    }
    let error = answered.expect("the mount hangs").unwrap_err();
    // The first where it was waiting already when the connection ended.
    let gone = [Some(libc::ECONNABORTED), Some(libc::ENOTCONN)];
    assert!(gone.contains(&error.raw_os_error()), "{error}");
    eventually("the holder ends", || !is_alive(holder));
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("no process can go on with it"), "{said}");
    let said = server.refused(&["umount", at]);
    let resume = said.split_whitespace().skip_while(|word| *word != "--resume").nth(1);
    let transaction = resume.unwrap_or_else(|| panic!("{said}"));
    server.pfs(&[&["mount", "-d", "--resume", transaction][..], &mount].concat());
    assert_eq!(fs::read_to_string(dir.join("data/file")).unwrap(), "kept");
    server.pfs(&["umount", at]);
}

#[test]
fn a_program_that_takes_long_to_take_over_is_waited_for() {
    if !has_fuse("a_program_that_takes_long_to_take_over_is_waited_for") {
        return;
    }
    let held = Held::new(1, 4096);
    let (program, before, holder) = (another_program(&held), held.process(), held.holder());
    let said = thread::scope(|scope| {
        let binary = program.to_str().unwrap();
        let asked =
            scope.spawn(|| held.server.pfs(&["upgrade-mounts", "--binary", binary, held.at()]));
        let children = format!("/proc/{holder}/task/{holder}/children");
        let successor = || {
            let all = fs::read_to_string(&children).unwrap_or_default();
            let all = all.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()));
            // Another one waits to succeed by accident.
            let exe = |pid: &Pid| fs::read_link(format!("/proc/{pid}/exe"));
            all.into_iter().find(|pid| exe(pid).is_ok_and(|exe| exe == program))
        };
        while !asked.is_finished() && (successor().is_none() || is_alive(before)) {}
        // It has what it needs, and may not have begun.
        let successor = successor().unwrap();
        kill(successor, Signal::SIGSTOP).unwrap();
        thread::sleep(Duration::from_millis(2500));
        kill(successor, Signal::SIGCONT).unwrap();
        asked.join().unwrap()
    });
    assert!(said.contains("upgraded"), "{said}");
    let serving = fs::read_link(format!("/proc/{}/exe", held.process())).unwrap();
    assert_eq!(serving, program);
    held.server.pfs(&["umount", held.at()]);
}

#[test]
fn all_that_was_written_is_committed_though_the_server_is_killed_meanwhile() {
    if !has_fuse("all_that_was_written_is_committed_though_the_server_is_killed_meanwhile") {
        return;
    }
    let server = Server::start();
    let dir = server.dir("mnt");
    for repo in ["first", "second"] {
        server.pfs(&["create", "repo", repo]);
    }
    let repos = ["-r", "first@master+w", "-r", "second@master+w", "--commit", "on-unmount"];
    server.pfs(&[&["mount", "-d"][..], &repos, &[dir.to_str().unwrap()]].concat());
    let bytes: Vec<u8> = (0..8 << 20).map(|at: u64| (at * at % 251) as u8).collect();
    let left = || fs::read_dir(server.root().join("mounts")).map_or(0, Iterator::count);
    let all = left();
    fs::write(dir.join("second/file"), &bytes).unwrap();
    let served = process(&dir);
    assert_eq!(nix::mount::umount(&dir), Ok(()));
    let committed = || {
        let found = server.output(&["list", "commit", "second@master", "--raw"]);
        String::from_utf8_lossy(&found.stdout).contains("\"finished\"")
    };
    // What nothing was written to is needed for as long as there is a commit
    // to be made.
    eventually("one is over", || left() < all);
    let early = !committed();
    // An error says that all has been done.
    let _ = kill(served, Signal::SIGKILL);
    eventually("the commit", committed);
    assert!(!early, "what a successor needs was gone");
    eventually("the other is over", || left() <= all - 2);
}
