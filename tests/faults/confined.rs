//! Mounts where there is little memory: as little as they were told to use, and
//! what comes to that.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::full::{MIB, noise};
use super::until;
use crate::machine::{has_fuse, noted};
use crate::server::Server;
use crate::takeover::process;

/// What the mount is told to use, and what it must not go beyond with all that
/// comes to it, its program's pages included.
const MEMORY: &str = "64MiB";
const MOST: usize = 256 * MIB;

const FILES: usize = 4;
const SIZE: usize = 72 * MIB;

/// A group with a limit of its own; gone when dropped.
struct Group {
    dir: PathBuf,
    /// The file that tells how many of it were killed.
    events: &'static str,
}

impl Group {
    /// As near to the test's own group as one can be made.
    fn new() -> Option<Self> {
        Self::of_version_2().or_else(Self::of_version_1)
    }

    fn of_version_2() -> Option<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let limits = |root: &&Path| {
            let found = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            found.split_whitespace().any(|name| name == "memory")
        };
        Self::near(roots.into_iter().find(limits)?, "", ("memory.max", "memory.events"))
    }

    fn of_version_1() -> Option<Self> {
        let files = ("memory.limit_in_bytes", "memory.oom_control");
        Self::near(Path::new("/sys/fs/cgroup/memory"), "memory", files)
    }

    /// One below `root`, where the groups of `controller` are.
    fn near(root: &Path, controller: &str, (limit, events): (&str, &'static str)) -> Option<Self> {
        let table = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = table.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            (controllers == controller).then(|| root.join(path.trim_start_matches('/')))
        })?;
        let below = |parent: &Path| {
            let dir = parent.join(format!("pfs-test-{}", std::process::id()));
            fs::create_dir(&dir).ok()?;
            let group = Self { dir, events };
            fs::write(group.dir.join(limit), MOST.to_string()).ok()?;
            // Where there is swap it must not help.
            let _ = fs::write(group.dir.join("memory.swap.max"), "0");
            let _ = fs::write(group.dir.join("memory.swappiness"), "0");
            Some(group)
        };
        own.ancestors().take_while(|group| group.starts_with(root)).find_map(below)
    }

    fn killed(&self) -> u64 {
        let events = fs::read_to_string(self.dir.join(self.events)).unwrap();
        let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let gone = || fs::remove_dir(&self.dir).is_ok() || !self.dir.exists();
        if !thread::panicking() {
            until("the group is empty", gone);
        }
        let _ = fs::remove_dir(&self.dir);
    }
}

/// A server whose repo `data` holds more than [`MOST`] bytes, and these.
fn server() -> (Server, Vec<u8>) {
    let server = Server::start();
    let (source, bytes) = (server.dir("source"), noise(FILES * SIZE));
    for (number, part) in bytes.chunks(SIZE).enumerate() {
        fs::write(source.join(number.to_string()), part).unwrap();
    }
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    (server, bytes)
}

fn read(repo: &Path, number: usize, bytes: &[u8]) {
    let path = repo.join(number.to_string());
    let expected = &bytes[number * SIZE..][..SIZE];
    assert!(fs::read(&path).unwrap() == expected, "{number}");
    // The next reader asks the mount again.
    let file = File::open(path).unwrap();
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// Reads all one after the other, then all at once; answers how large the process
/// that serves them became.
fn read_all(mount: &Path, bytes: &[u8]) -> usize {
    let (repo, serving) = (mount.join("data"), process(mount));
    (0..FILES).for_each(|number| read(&repo, number, bytes));
    thread::scope(|scope| {
        for number in 0..FILES {
            let repo = &repo;
            scope.spawn(move || read(repo, number, bytes));
        }
    });
    assert_eq!(process(mount), serving, "it was not killed, and taken over");
    let status = fs::read_to_string(format!("/proc/{serving}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak: {kib} KiB");
    kib << 10
}

#[test]
fn a_mount_that_reads_much_stays_small() {
    if !has_fuse("a_mount_that_reads_much_stays_small") {
        return;
    }
    let (server, bytes) = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data", "--memory", MEMORY, at]);
    let peak = read_all(&mount, &bytes);
    assert!(peak < MOST, "{peak} bytes");
    server.pfs(&["umount", at]);
}

#[test]
fn a_mount_that_reads_much_is_not_killed_where_memory_is_limited() {
    let test = "a_mount_that_reads_much_is_not_killed_where_memory_is_limited";
    if !has_fuse(test) {
        return;
    }
    let group = Group::new();
    if !noted(test, "no control group with a limit can be made", group.is_some()) {
        return;
    }
    let Some(group) = group else { return };
    let (server, bytes) = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    let pfs = server.command(&["mount", "-d", "-r", "data", "--memory", MEMORY, at]);
    let mut shell = Command::new("sh");
    let script = "echo $$ > \"$GROUP/cgroup.procs\" && exec \"$0\" \"$@\"";
    shell.args(["-c", script]).arg(pfs.get_program()).args(pfs.get_args());
    shell.envs(pfs.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(shell.env("GROUP", &group.dir).status().unwrap().success());
    let of = fs::read_to_string(format!("/proc/{}/cgroup", process(&mount))).unwrap();
    let name = group.dir.file_name().unwrap().to_str().unwrap();
    assert!(of.contains(name), "it is confined: {of}");
    let peak = read_all(&mount, &bytes);
    assert!(peak < MOST, "{peak} bytes");
    assert_eq!(group.killed(), 0);
    server.pfs(&["umount", at]);
}
