//! Agents and keepers that die under programs, or make way.
//!
//! `PFS_TAKEOVER_ROUNDS` says how often (default 10), `PFS_TAKEOVER_SEED` repeats
//! a run's choices.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use super::{Node, Volume, eventually};
use crate::random::Random;
use crate::takeover::readers::number;

const FILES: u64 = 20;
const SIZE: usize = 256 << 10;

/// What a file holds: every eight bytes tell where they are.
fn content(file: u64) -> Vec<u8> {
    (0..SIZE as u64 / 8).flat_map(|at| (file << 32 | at).to_le_bytes()).collect()
}

fn name(file: u64) -> String {
    format!("file-{file:02}")
}

/// What programs tell.
#[derive(Default)]
struct Watch {
    over: AtomicBool,
    operations: AtomicU64,
    /// The longest operation since this was last reset, in microseconds.
    slowest: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Watch {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn time(&self, what: &str, operation: impl FnOnce() -> std::io::Result<bool>) {
        let start = Instant::now();
        let outcome = operation();
        let took = u64::try_from(start.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(took, Ordering::AcqRel);
        self.operations.fetch_add(1, Ordering::AcqRel);
        if !matches!(outcome, Ok(true)) {
            self.wrong.lock().unwrap().push(format!("{what}: {outcome:?}"));
        }
    }
}

/// Lets the programs end, also when what goes on beside them fails.
struct Over<'a>(&'a Watch);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

fn forget(open: &File) {
    posix_fadvise(open, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// Reads at random in files that stay open.
fn read(volume: &Volume, watch: &Watch, mut random: Random) {
    let open: Vec<_> =
        (0..FILES).map(|file| File::open(volume.path(&name(file))).unwrap()).collect();
    let wanted: Vec<_> = (0..FILES).map(content).collect();
    while !watch.is_over() {
        let file = random.below(FILES) as usize;
        let at = random.below(SIZE as u64 / 4096) as usize * 4096;
        let mut bytes = vec![0; (SIZE - at).min(32 << 10)];
        forget(&open[file]);
        watch.time("read", || {
            open[file].read_exact_at(&mut bytes, at as u64)?;
            Ok(bytes == wanted[file][at..at + bytes.len()])
        });
    }
}

/// Reads at random in a mapped file.
fn read_mapped(volume: &Volume, watch: &Watch, mut random: Random) {
    let (open, wanted) = (File::open(volume.path(&name(1))).unwrap(), content(1));
    let length = NonZeroUsize::new(SIZE).unwrap();
    let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(None, length, access, flags, open.as_fd(), 0) }.unwrap();
    // SAFETY: the mapping is as long as that, stays until the end of this
    // function, and nobody writes to the file.
    let bytes = unsafe { std::slice::from_raw_parts(base.cast::<u8>().as_ptr(), SIZE) };
    while !watch.is_over() {
        // SAFETY: the pages are read again from the file.
        unsafe { madvise(base, SIZE, MmapAdvise::MADV_DONTNEED) }.unwrap();
        forget(&open);
        let at = random.below(SIZE as u64 / 4096) as usize * 4096;
        watch.time("mapped", || Ok(bytes[at..at + 4096] == wanted[at..at + 4096]));
    }
    // SAFETY: nothing uses the mapping any more.
    unsafe { munmap(base, SIZE) }.unwrap();
}

/// Looks names up that are not there, and lists.
fn look(volume: &Volume, watch: &Watch, mut random: Random) {
    while !watch.is_over() {
        let absent = volume.path(&format!("absent-{:x}", random.next()));
        watch.time("stat", || match fs::metadata(&absent) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            other => other.map(|_| false),
        });
        watch.time("list", || Ok(fs::read_dir(&volume.dir)?.count() as u64 >= FILES));
        thread::sleep(Duration::from_micros(200));
    }
}

/// Writes files, renames them, appends to one that stays open.
fn write(volume: &Volume, watch: &Watch) -> (u64, Vec<u8>) {
    let mut log = OpenOptions::new().create(true).append(true).open(volume.path("log")).unwrap();
    let (mut written, mut logged) = (0, Vec::new());
    while !watch.is_over() {
        let (new, path) = (volume.path("new"), volume.path(&format!("written-{written}")));
        let line = format!("line {written}\n");
        watch.time("write", || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
            file.write_all(line.as_bytes())?;
            drop(file);
            fs::rename(&new, &path)?;
            log.write_all(line.as_bytes())?;
            Ok(fs::read_to_string(&path)? == line)
        });
        logged.extend(line.into_bytes());
        written += 1;
    }
    (written, logged)
}

/// A node with `data` full of files, and `out`, empty.
fn node(test: &str) -> Option<Node> {
    let node = Node::start(test)?;
    let source = node.server.dir("source");
    for file in 0..FILES {
        fs::write(source.join(name(file)), content(file)).unwrap();
    }
    node.server.pfs(&["create", "repo", "data"]);
    node.server.pfs(&["create", "repo", "out"]);
    let source = source.to_str().unwrap();
    node.server.pfs(&["put", "file", "-r", "data@master:/", "-f", source]);
    Some(node)
}

/// Runs all programs while `round` is done so often; nothing may go wrong.
fn under_programs(node: Node, mut round: impl FnMut(&mut Node, &Volume, u64)) {
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(10);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("volumes: {rounds} rounds, seed {seed}");
    let mut node = node;
    let data = node.volume("data", &[("repo", "data")]);
    let follow = node.volume("follow", &[("repo", "data"), ("follow", "true")]);
    let out = node.volume("out", &[("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")]);
    let (watch, mut random) = (Watch::default(), Random::new(seed));
    let mut pauses = Vec::new();
    let (written, logged) = thread::scope(|scope| {
        let (watch, data, follow, out) = (&watch, &data, &follow, &out);
        scope.spawn(move || read(data, watch, Random::new(seed + 1)));
        scope.spawn(move || read_mapped(follow, watch, Random::new(seed + 2)));
        scope.spawn(move || look(data, watch, Random::new(seed + 3)));
        let writer = scope.spawn(move || write(out, watch));
        let over = Over(watch);
        for number in 0..rounds {
            thread::sleep(Duration::from_micros(20_000 + random.below(20_000)));
            watch.slowest.store(0, Ordering::Release);
            round(&mut node, data, number);
            let before = watch.operations.load(Ordering::Acquire);
            eventually("programs go on", || watch.operations.load(Ordering::Acquire) > before + 50);
            pauses.push(watch.slowest.load(Ordering::Acquire));
        }
        drop(over);
        writer.join().unwrap()
    });
    let wrong = watch.wrong.lock().unwrap();
    let shown = &wrong[..wrong.len().min(9)];
    assert!(wrong.is_empty(), "{} wrong: {shown:?}\n{}", wrong.len(), node.log());
    crate::takeover::readers::report("volumes", pauses);
    assert_eq!(node.list().len(), 3);
    for volume in [data, follow, out] {
        node.unpublish(volume);
    }
    eventually("the commit", || {
        node.server.pfs(&["list", "file", "out@master:/"]).lines().count() as u64 > written
    });
    assert!(node.get("out@master:/log").into_bytes() == logged, "the log is another");
    let last = written - 1;
    assert_eq!(node.get(&format!("out@master:/written-{last}")), format!("line {last}\n"));
    eventually("nothing staged", || node.staged().is_empty());
}

/// Replaces the agent, and waits until another one answers.
fn replaced(node: &mut Node, volume: &Volume) {
    let before = volume.process();
    node.kill_agent();
    node.start_agent();
    eventually("a successor", || volume.process() != before);
}

#[test]
fn an_agent_that_is_killed_is_followed_by_another() {
    let Some(node) = node("an_agent_that_is_killed_is_followed_by_another") else { return };
    under_programs(node, |node, volume, _| replaced(node, volume));
}

#[test]
fn a_keeper_that_is_killed_is_told_everything_anew() {
    let Some(node) = node("a_keeper_that_is_killed_is_told_everything_anew") else { return };
    let told = std::cell::Cell::new(0);
    under_programs(node, |node, volume, number| {
        node.kill_keeper();
        node.start_keeper();
        told.set(told.get() + 1);
        // The agent says so once it has.
        let text = "a keeper has everything";
        let log = node.server.dir("run").join("agent.log");
        eventually("a keeper", || {
            fs::read_to_string(&log).unwrap_or_default().matches(text).count() >= told.get()
        });
        if number % 2 == 0 {
            replaced(node, volume);
        }
    });
}

#[test]
fn an_agent_that_is_stopped_leaves_volumes_mounted() {
    let Some(node) = node("an_agent_that_is_stopped_leaves_volumes_mounted") else { return };
    under_programs(node, |node, volume, _| {
        let before = volume.process();
        let took = node.stop_agent();
        assert!(took < Duration::from_secs(10), "{took:?}");
        node.start_agent();
        eventually("a successor", || volume.process() != before);
    });
}

#[test]
fn an_agent_waits_for_the_one_before_it() {
    let Some(mut node) = node("an_agent_waits_for_the_one_before_it") else { return };
    let volume = node.volume("data", &[("repo", "data")]);
    let before = volume.process();
    // As a node has two for a moment, while one is upgraded.
    let first = node.agent.take();
    node.start_agent();
    let second = node.agent();
    assert_eq!(volume.process(), before);
    super::end(first, nix::sys::signal::Signal::SIGTERM);
    eventually("the second", || volume.process() == second);
    assert_eq!(node.list().len(), 1);
    node.unpublish(volume);
}

#[test]
fn an_agent_starts_while_the_server_is_away() {
    let Some(mut node) = node("an_agent_starts_while_the_server_is_away") else { return };
    let volume = node.volume("data", &[("repo", "data"), ("follow", "true")]);
    let out = node.volume("out", &[("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")]);
    let open = File::open(volume.path(&name(0))).unwrap();
    fs::write(out.path("before"), "1").unwrap();
    node.server.kill();
    replaced(&mut node, &volume);
    forget(&open);
    let mut bytes = vec![0; 4096];
    open.read_exact_at(&mut bytes, 4096).unwrap();
    assert!(bytes == content(0)[4096..8192]);
    fs::write(out.path("during"), "2").unwrap();
    // It ends although nobody can be told.
    node.unpublish(out);
    node.kill_agent();
    node.start_agent();
    node.server.resume();
    node.await_agent();
    eventually("the commit", || {
        node.server.output(&["get", "file", "out@master:/during"]).stdout == b"2"
    });
    assert_eq!(node.get("out@master:/before"), "1");
    node.put(&format!("data@master:/{}", name(0)), "new");
    eventually("heads are followed again", || volume.read(&name(0)) == "new");
    node.unpublish(volume);
    eventually("nothing staged", || node.staged().is_empty());
}

#[test]
fn without_keeper_and_agent_what_was_written_is_kept() {
    let Some(mut node) = node("without_keeper_and_agent_what_was_written_is_kept") else { return };
    let out = node.volume("out", &[("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")]);
    let again = node.volume("again", &[("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")]);
    fs::write(out.path("kept"), "1").unwrap();
    fs::write(again.path("also"), "2").unwrap();
    node.kill_keeper();
    node.kill_agent();
    assert_eq!(fs::read(out.path("kept")).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    node.start_keeper();
    node.start_agent();
    node.await_agent();
    assert!(node.list().is_empty());
    // The pod goes away: what it has written is committed.
    node.unpublish(out);
    eventually("the commit", || {
        node.server.output(&["get", "file", "out@master:/kept"]).stdout == b"1"
    });
    // The pod is started again, as after the machine was.
    super::take_away(&again.dir);
    let again = node.publish(&again.publish).unwrap();
    assert_eq!(again.read("also"), "2");
    node.unpublish(again);
    eventually("the other commit", || {
        node.server.output(&["get", "file", "out@master:/also"]).stdout == b"2"
    });
    eventually("nothing staged", || node.staged().is_empty());
}
