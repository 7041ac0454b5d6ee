//! Mounts whose server dies or makes way: programs that use them notice
//! nothing but a pause.

mod ends;
mod passthrough;
mod pushes;
pub mod readers;
mod suites;
mod writers;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pfs::mount::control;

use crate::server::Server;

/// A daemon's mount of a server's repos.
pub struct Held {
    pub server: Server,
    pub dir: PathBuf,
}

impl Held {
    /// Repo `data` with `files` files of `size` bytes each, mounted.
    pub fn new(files: usize, size: usize) -> Self {
        Self::with(files, size, |_| Vec::new())
    }

    /// The same, mounted with `options`.
    pub fn with(files: usize, size: usize, options: impl Fn(&Server) -> Vec<String>) -> Self {
        let server = Server::start();
        server.pfs(&["create", "repo", "data"]);
        let source = server.dir("source");
        for file in 0..files {
            fs::write(source.join(name(file)), content(file, size)).unwrap();
        }
        server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
        let dir = server.dir("mnt");
        let options = options(&server);
        let options = options.iter().map(String::as_str);
        let mount: Vec<_> =
            ["mount", "-d", dir.to_str().unwrap()].into_iter().chain(options).collect();
        server.pfs(&mount);
        Self { server, dir }
    }

    pub fn at(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The process that serves the mount.
    pub fn process(&self) -> Pid {
        process(&self.dir)
    }

    pub fn holder(&self) -> Pid {
        parent(self.process())
    }

    /// Kills the server; returns once another one answers.
    pub fn kill(&self) -> Pid {
        let before = self.process();
        kill(before, Signal::SIGKILL).unwrap();
        let start = Instant::now();
        loop {
            let now = self.process();
            if now != before {
                return now;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "no successor");
        }
    }
}

pub fn process(dir: &Path) -> Pid {
    let process = control::read(dir, "user.pfs.process").unwrap();
    Pid::from_raw(process.parse().unwrap())
}

/// The process that has started `process`.
pub fn parent(process: Pid) -> Pid {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap())
}

pub fn name(file: usize) -> String {
    format!("file-{file:03}")
}

/// What is in a file: every eight bytes tell where they are.
pub fn content(file: usize, size: usize) -> Vec<u8> {
    (0..size / 8).flat_map(|at| word(file, at)).collect()
}

fn word(file: usize, at: usize) -> [u8; 8] {
    (((file as u64) << 40 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()
}

/// Reads `count` bytes at `offset`, both multiples of 8, of a file whose pages
/// the kernel has been told to drop, and compares them.
pub fn verify(open: &fs::File, file: usize, offset: usize, count: usize) -> Result<(), String> {
    let mut bytes = vec![0; count];
    open.read_exact_at(&mut bytes, offset as u64).map_err(|error| format!("{file}: {error}"))?;
    compare(&bytes, file, offset)
}

pub fn compare(bytes: &[u8], file: usize, offset: usize) -> Result<(), String> {
    let wrong = |(at, found): (usize, &[u8])| found != word(file, offset / 8 + at);
    match bytes.chunks(8).enumerate().find(|pair| wrong(*pair)) {
        Some((at, _)) => Err(format!("{}: wrong at {}", name(file), offset + at * 8)),
        None => Ok(()),
    }
}

pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and no zombie.
pub fn is_alive(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
