//! Random calls on a writable mount of a real server agree with a file system
//! in memory: commits while others write, aborts, conflicts, `kill -9` of the
//! mount and of the server.
//!
//! `PFS_MODEL_SEED` repeats the choices of a run, `PFS_MODEL_STEPS` makes it
//! longer; the points in time at which something is killed differ from run to
//! run all the same.

mod agreement;
mod endings;
mod life;
mod memory;
mod mounted;
mod operations;
mod scribes;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use proptest::strategy::{BoxedStrategy, Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::memory::{Memory, Tree};
use self::mounted::Mounted;
use self::operations::{Op, Sizes, op};
use crate::machine::has_fuse;
use crate::random::Random;
use crate::server::{Server, detach};

/// How long a seed is tried for when nobody says how many steps.
const TIME: Duration = Duration::from_secs(8);

/// Nothing takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, a writable mount of its repo `data`, and what both should hold.
struct World {
    server: Server,
    daemon: Child,
    place: &'static str,
    mounted: Mounted,
    memory: Memory,
    /// What the branch holds.
    head: Tree,
    random: Random,
    ops: BoxedStrategy<Op>,
    runner: TestRunner,
    /// What was done last, for whoever has to find a failure.
    log: Vec<String>,
}

#[test]
fn random_calls_on_a_mount_agree_with_a_model() {
    if !has_fuse("random_calls_on_a_mount_agree_with_a_model") {
        return;
    }
    let (steps, time) = match number("PFS_MODEL_STEPS") {
        Some(steps) => (steps, Duration::MAX),
        None => (600, TIME),
    };
    let seeds = match number("PFS_MODEL_SEED") {
        Some(seed) => vec![seed],
        None => vec![1, u64::from(std::process::id())],
    };
    for seed in seeds {
        println!("model: PFS_MODEL_SEED={seed}, {steps} steps at most");
        let (started, mut world) = (Instant::now(), World::new(seed));
        let done = (0..steps).take_while(|_| started.elapsed() < time).map(|_| world.step());
        let done = done.count();
        world.conclude();
        println!("model: seed {seed}: {done} steps in {:?}", started.elapsed());
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let server = Server::start();
        server.pfs(&["create", "repo", "data"]);
        let first = server.dir("first");
        for (path, text) in [("a/c", "a twin"), ("b/b", "a twin"), ("c", "a file at the top")] {
            fs::create_dir_all(first.join(path).parent().unwrap()).unwrap();
            fs::write(first.join(path), text).unwrap();
        }
        server.pfs(&["put", "file", "-r", "data@master:/", "-f", first.to_str().unwrap()]);
        server.pfs(&["mount", "-d", server.dir("mnt/reader").to_str().unwrap()]);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut world = Self {
            daemon: mount(&server, "one", &[]),
            server,
            place: "one",
            mounted: Mounted::new(PathBuf::new()),
            memory: Memory::default(),
            head: Tree::new(),
            random: Random::new(seed),
            ops: op(Sizes { small: 60, large: None }),
            runner: TestRunner::new_with_rng(Config::default(), rng),
            log: Vec::new(),
        };
        world.mounted.move_to(world.data());
        world.head = world.committed();
        world.memory.show(&world.head);
        world
    }

    fn at(&self) -> PathBuf {
        self.server.dir("mnt").join(self.place)
    }

    fn data(&self) -> PathBuf {
        self.at().join("data")
    }

    fn op(&mut self) -> Op {
        self.ops.new_tree(&mut self.runner).unwrap().current()
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    /// Fails with what was done before.
    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let from = self.log.len().saturating_sub(60);
        let last = self.log[from..].join("\n");
        panic!("{why}\nafter {} steps, the last of which were\n{last}", self.log.len());
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..3 => self.commit(),
            3..5 => self.commit_under_writers(),
            5 => self.abort(),
            6..8 => self.others(),
            8 => self.conflict(),
            9 => self.kill_mount(),
            10..12 => self.kill_mount_at_work(),
            12 => self.kill_mount_in_commit(),
            13 => self.kill_server_at_work(),
            14 => self.kill_server_in_commit(),
            15 => self.remount(),
            _ => {
                let op = self.op();
                self.run(&op);
            }
        }
        self.check();
    }

    /// The operation is allowed as the model says.
    fn run(&mut self, op: &Op) {
        self.note(format!("{op:?}"));
        let done = self.mounted.run(op);
        let wanted = self.memory.run(op);
        if wanted != done.is_ok() {
            self.fail(&format!("{op:?} should have been {wanted}: {done:?}"));
        }
        if let Err(error) = done
            && gone(&error)
        {
            self.fail(&format!("{op:?}: {error}"));
        }
    }

    /// The mount shows what the model does.
    fn check(&self) {
        let (found, wanted) = (self.mounted.tree(), self.memory.seen());
        if let Some(other) = agreement::difference(&found, &wanted) {
            self.fail(&format!("the mount shows something else: {other}"));
        }
        if self.mounted.handles() != self.memory.handles() {
            let (found, wanted) = (self.mounted.handles(), self.memory.handles());
            self.fail(&format!("open files\n found: {found:?}\nwanted: {wanted:?}"));
        }
    }

    /// Where a mount of its own shows the head of the branch.
    fn newest(&self) -> PathBuf {
        let head = self.server.pfs(&["inspect", "commit", "data@master", "--raw"]);
        let head: serde_json::Value = serde_json::from_str(&head).unwrap();
        let id = head["commit"]["id"].as_str().unwrap();
        self.server.dir("mnt").join("reader").join(format!("data@{id}"))
    }

    /// What the branch holds.
    fn committed(&self) -> Tree {
        mounted::tree(&self.newest())
    }
}

/// Mounts the repo for writing by a process that can be killed.
fn mount(server: &Server, place: &str, more: &[&str]) -> Child {
    let at = server.dir("mnt").join(place);
    fs::create_dir_all(&at).unwrap_or(());
    let log = server.dir("logs").join("mount.log");
    let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut command = server.command(&["mount", "-r", "data@master+w"]);
    command.args(more).arg(&at).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut daemon = command.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    // What is remembered of a mount that died is no answer.
    while nix::sys::statvfs::statvfs(&at.join("data")).is_err() {
        let ended = daemon.try_wait().unwrap();
        let said = || fs::read_to_string(server.dir("logs").join("mount.log")).unwrap();
        assert!(ended.is_none(), "the mount ended: {}", said());
        assert!(Instant::now() < deadline, "not mounted: {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon
}

/// Whether the mount is not there any more.
fn gone(error: &std::io::Error) -> bool {
    let gone = [libc::ENOTCONN, libc::ECONNABORTED, libc::EIO, libc::ESTALE, libc::EINTR];
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

impl Drop for World {
    fn drop(&mut self) {
        self.mounted.move_to(PathBuf::new());
        drop(self.daemon.kill());
        drop(self.daemon.wait());
        detach(&self.at());
    }
}
