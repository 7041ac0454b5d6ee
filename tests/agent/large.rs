//! Large files of a volume, which the kernel reads by itself: the agent has them,
//! the driver opens them for it.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use nix::sys::signal::Signal;
use pfs::mount::control;
use pfs::mount::stats::STATS;
use pfs::vfs::LARGE_FILE;
use serde_json::Value;

use super::{Node, Volume, end, eventually};

fn noise() -> Vec<u8> {
    let mut bytes = vec![0; LARGE_FILE as usize + 123_456];
    blake3::Hasher::new().update(b"large").finalize_xof().fill(&mut bytes);
    bytes
}

/// Opens that the kernel needs nobody to read for.
fn passed(volume: &Volume) -> u64 {
    let stats: Value = serde_json::from_str(&control::read(&volume.dir, STATS).unwrap()).unwrap();
    stats["passthrough_opens"].as_u64().unwrap()
}

fn check(file: &File, wanted: &[u8]) {
    let mut bytes = vec![0; wanted.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == wanted);
}

impl Volume {
    /// A file of it that the kernel reads by itself, as soon as it can.
    fn pass(&self, name: &str, wanted: &[u8]) -> File {
        let before = passed(self);
        let open = || {
            let file = File::open(self.path(name)).unwrap();
            check(&file, wanted);
            (passed(self) > before).then_some(file)
        };
        let found = OnceCell::new();
        eventually("the kernel reads by itself", || {
            open().is_some_and(|file| found.set(file).is_ok())
        });
        found.into_inner().unwrap()
    }
}

#[test]
fn the_kernel_reads_large_files_that_a_driver_opens_for_it() {
    let test = "the_kernel_reads_large_files_that_a_driver_opens_for_it";
    let cache = tempfile::tempdir().unwrap();
    let Some(mut node) = Node::with(test, &["--cache", cache.path().to_str().unwrap()]) else {
        return;
    };
    let bytes = noise();
    let file = node.server.dir("put").join("large");
    fs::write(&file, &bytes).unwrap();
    node.server.pfs(&["create", "repo", "large"]);
    node.server.pfs(&["put", "file", "large@master:/f", "-f", file.to_str().unwrap()]);
    node.server.pfs(&["create", "repo", "small"]);
    node.put("small@master:/f", "small");
    let driver = node.start_driver();
    let (large, small) = (&[("repo", "large")][..], &[("repo", "small")][..]);
    let volume = node.volume("one", large);
    let one = volume.pass("f", &bytes);
    end(Some(driver), Signal::SIGKILL);
    // What is open stays good, and what is opened is read as others are.
    check(&one, &bytes);
    drop(one);
    let before = passed(&volume);
    let other = File::open(volume.path("f")).unwrap();
    check(&other, &bytes);
    assert_eq!(passed(&volume), before);
    drop(other);
    let driver = node.start_driver();
    let one = volume.pass("f", &bytes);
    node.kill_agent();
    node.start_agent();
    check(&one, &bytes);
    drop(one);
    node.await_agent();
    drop(volume.pass("f", &bytes));
    // Where files are small the kernel does not even tell of an open.
    let volume_of_small = node.volume("small", small);
    assert_eq!(volume_of_small.read("f"), "small");
    let stats: Value =
        serde_json::from_str(&control::read(&volume_of_small.dir, STATS).unwrap()).unwrap();
    assert_eq!(stats["operations"]["open"]["count"], 1, "asked once, and never again: {stats}");
    node.unpublish(volume_of_small);
    node.unpublish(volume);
    end(Some(driver), Signal::SIGTERM);
}
