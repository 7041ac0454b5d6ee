//! Servers killed while they put into the kernel's caches what programs are
//! about to ask for.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::readers::number;
use super::{content, verify};
use crate::machine::has_fuse;
use crate::random::Random;
use crate::server::Server;

const DIRS: usize = 20;
const FILES: usize = 50;
const SIZE: usize = 8 << 10;

fn fill(source: &Path) {
    for dir in 0..DIRS {
        let dir = source.join(dir.to_string());
        fs::create_dir(&dir).unwrap();
        for file in 0..FILES {
            fs::write(dir.join(file.to_string()), content(file, SIZE)).unwrap();
        }
    }
}

/// Reads every file once, in an order of its own; answers what was wrong.
fn read_all(data: &Path, mut random: Random) -> Vec<String> {
    let mut left: Vec<usize> = (0..DIRS * FILES).collect();
    let mut wrong = Vec::new();
    while !left.is_empty() {
        let next = left.swap_remove(random.below(left.len() as u64) as usize);
        let (dir, file) = (next / FILES, next % FILES);
        let path = data.join(dir.to_string()).join(file.to_string());
        let read = File::open(&path).map_err(|error| error.to_string());
        let outcome = read.and_then(|open| verify(&open, file, 0, SIZE));
        wrong.extend(outcome.err().map(|what| format!("{}: {what}", path.display())));
    }
    wrong
}

#[test]
fn readers_notice_nothing_of_a_server_killed_while_it_pushes() {
    if !has_fuse("readers_notice_nothing_of_a_server_killed_while_it_pushes") {
        return;
    }
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(20).div_ceil(4);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("pushes: {rounds} rounds, seed {seed}");
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let source = server.dir("source");
    fill(&source);
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    let dir = server.dir("mnt");
    let at = dir.to_str().unwrap();
    let mut random = Random::new(seed);
    for round in 0..rounds {
        server.pfs(&["mount", "-d", at]);
        let wrong = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for reader in 0..3 {
                let (wrong, data) = (&wrong, dir.join("data"));
                let random = Random::new(seed + 10 * round + reader);
                scope.spawn(move || {
                    let found = read_all(&data, random);
                    wrong.lock().unwrap().extend(found);
                });
            }
            for _ in 0..3 {
                thread::sleep(Duration::from_micros(random.below(40_000)));
                kill(super::process(&dir), Signal::SIGKILL).unwrap();
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} in round {round}: {:?}", wrong.len(), wrong.first());
        server.pfs(&["umount", at]);
    }
}
