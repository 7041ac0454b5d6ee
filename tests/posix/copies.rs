//! Copies within a mount, which move no bytes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use super::{Disk, run};
use crate::server::Server;

/// The bytes of `input@master:/large`: several chunks.
fn noise() -> Vec<u8> {
    (0..9_000_000_u64).map(|i| (i * i / 7 % 251) as u8).collect()
}

fn with_input(server: &Server) {
    let source = server.dir("source");
    fs::write(source.join("large"), noise()).unwrap();
    fs::write(source.join("small"), "small").unwrap();
    for repo in ["input", "data"] {
        let to = format!("{repo}@master:/");
        server.pfs(&["put", "file", "-r", &to, "-f", source.to_str().unwrap()]);
    }
}

fn cp(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--reflink=auto").arg(from).arg(to));
}

fn hash(at: &Path) -> Vec<u8> {
    xattr::get(at, "user.pfs.hash").unwrap().unwrap()
}

#[test]
fn copies_within_a_mount_move_no_bytes() {
    let test = "copies_within_a_mount_move_no_bytes";
    let Some(disk) = Disk::with(test, with_input, &[]) else { return };
    for (from, to) in [
        (disk.input("large"), disk.path("from-input")),
        (disk.path("large"), disk.path("from-base")),
        (disk.path("from-input"), disk.path("from-copy")),
        (disk.input("small"), disk.path("small-copy")),
        (disk.input("large"), disk.path("small")),
    ] {
        cp(&from, &to);
        assert_eq!(hash(&to), hash(&from), "{}", to.display());
    }
    assert_eq!(disk.staged(), 0, "nothing was written");
    assert!(fs::read(disk.path("from-copy")).unwrap() == noise());
    // A copy is a file of its own.
    OpenOptions::new()
        .write(true)
        .open(disk.path("from-copy"))
        .unwrap()
        .write_all_at(b"changed", 5_000_000)
        .unwrap();
    assert!(fs::read(disk.path("from-input")).unwrap() == noise());
    disk.unmount();
    let get = |path: &str| disk.server.output(&["get", "file", path]).stdout;
    assert!(get("data@master:/from-input") == noise());
    assert!(get("data@master:/small") == noise());
    let mut changed = noise();
    changed[5_000_000..5_000_007].copy_from_slice(b"changed");
    assert!(get("data@master:/from-copy") == changed);
    disk.server.pfs(&["fsck"]);
}

#[test]
fn a_copy_may_be_larger_than_one_request() {
    /// More than twice what one request to the kernel's other side may copy.
    const SIZE: u64 = 10 << 30;
    let prepare = |server: &Server| {
        let mount = server.dir("first");
        let at = mount.to_str().unwrap();
        server.pfs(&["mount", "-d", "-r", "input@master+w", at]);
        File::create(mount.join("input/huge")).unwrap().set_len(SIZE).unwrap();
        server.pfs(&["umount", at]);
    };
    let test = "a_copy_may_be_larger_than_one_request";
    let Some(disk) = Disk::with(test, prepare, &[]) else { return };
    cp(&disk.input("huge"), &disk.path("huge"));
    assert_eq!(disk.staged(), 0);
    assert_eq!(fs::metadata(disk.path("huge")).unwrap().len(), SIZE);
    assert_eq!(hash(&disk.path("huge")), hash(&disk.input("huge")));
}

#[test]
fn ranges_are_copied_wherever_they_begin() {
    let test = "ranges_are_copied_wherever_they_begin";
    let Some(disk) = Disk::with(test, with_input, &[]) else { return };
    let (noise, path) = (noise(), disk.path("target"));
    let mut wanted = vec![b'-'; 100];
    fs::write(&path, &wanted).unwrap();
    let target = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut copy = |source: &Path, from: usize, to: usize, count: usize| {
        let source = File::open(source).unwrap();
        let (mut at, mut into, mut left) = (from as i64, to as i64, count);
        while left > 0 {
            let (at, into) = (Some(&mut at), Some(&mut into));
            match nix::fcntl::copy_file_range(&source, at, &target, into, left).unwrap() {
                0 => break,
                copied => left -= copied,
            }
        }
        let end = (from + count - left).min(noise.len());
        wanted.resize(wanted.len().max(to + end - from), 0);
        wanted[to..to + end - from].copy_from_slice(&noise[from..end]);
        assert!(fs::read(&path).unwrap() == wanted, "{from} to {to}");
    };
    copy(&disk.input("large"), 1_000, 50, 3_000_000);
    copy(&disk.path("large"), 0, 5_000_000, 1_000_000);
    copy(&disk.input("large"), 8_999_000, 10, 5_000);
    copy(&disk.input("large"), 5_000_000, 6_000_000, 10_000_000);
}
