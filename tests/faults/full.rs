//! A disk with no room left: a clear error, and everything before it intact.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::machine;
use crate::server::{Server, detach};

pub(super) const MIB: usize = 1 << 20;

/// A file system of a given size in memory; gone when dropped.
pub(super) struct SmallDisk(pub(super) PathBuf);

impl SmallDisk {
    pub(super) fn new(scratch: &Path, mebibytes: usize) -> Self {
        let at = scratch.join("disk");
        fs::create_dir(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success(), "mount a tmpfs");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        detach(&self.0);
    }
}

#[test]
fn disk_full_while_putting_keeps_everything_before() {
    if !machine::is_root("disk_full_while_putting_keeps_everything_before") {
        return;
    }
    let (disk, server) = server_on_small_disk(64);
    server.pfs(&["create", "repo", "data"]);
    let (first, large) = (file_of(&server, "first", 9 * MIB), file_of(&server, "large", 90 * MIB));
    server.pfs(&["put", "file", "data@master:/first", "-f", first.to_str().unwrap()]);

    let error =
        server.refused(&["put", "file", "data@master:/large", "-f", large.to_str().unwrap()]);
    assert!(mentions_no_space(&error), "{error}");

    assert_eq!(names(&server), ["/first"], "nothing of the failed put is visible");
    assert!(content(&server, "first") == fs::read(&first).unwrap(), "what was there is intact");
    drop_garbage(&disk);
    let small = file_of(&server, "small", 1000);
    server.pfs(&["put", "file", "data@master:/small", "-f", small.to_str().unwrap()]);
    assert_eq!(names(&server), ["/first", "/small"], "with room again, puts go on");
    server.pfs(&["fsck"]);
}

#[test]
fn disk_full_while_writing_through_a_mount_is_enospc() {
    let test = "disk_full_while_writing_through_a_mount_is_enospc";
    if !machine::is_root(test) || !machine::has_fuse(test) {
        return;
    }
    let server = Server::start();
    let disk = SmallDisk::new(&server.dir("staging"), 32);
    server.pfs(&["create", "repo", "data"]);
    let first = file_of(&server, "first", 3 * MIB);
    server.pfs(&["put", "file", "data@master:/first", "-f", first.to_str().unwrap()]);
    let (mount, cache) = (server.dir("mnt"), disk.0.join("cache"));
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", "--cache", cache.to_str().unwrap(), at]);

    let mut file = fs::File::create(mount.join("data/large")).unwrap();
    let block = noise(MIB);
    let written = (0..64).try_for_each(|_| file.write_all(&block)).and_then(|()| file.sync_all());
    assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    drop(file);

    server.pfs(&["abort", at]);
    let _ = server.output(&["umount", at]);
    assert_eq!(names(&server), ["/first"], "nothing of the aborted transaction is visible");
    assert!(content(&server, "first") == fs::read(&first).unwrap(), "what was there is intact");
    server.pfs(&["fsck"]);
}

#[test]
fn a_writer_goes_on_once_a_full_staging_disk_has_room() {
    let test = "a_writer_goes_on_once_a_full_staging_disk_has_room";
    if !machine::is_root(test) || !machine::has_fuse(test) {
        return;
    }
    let server = Server::start();
    let disk = SmallDisk::new(&server.dir("staging"), 16);
    server.pfs(&["create", "repo", "data"]);
    let (mount, cache) = (server.dir("mnt"), disk.0.join("cache"));
    let (at, repo) = (mount.to_str().unwrap(), mount.join("data"));
    server.pfs(&["mount", "-d", "-r", "data@master+w", "--cache", cache.to_str().unwrap(), at]);
    let before = noise(MIB);
    fs::write(repo.join("before"), &before).unwrap();
    let full = fs::write(repo.join("large"), noise(32 * MIB));
    assert_eq!(full.unwrap_err().raw_os_error(), Some(libc::ENOSPC));

    fs::remove_file(repo.join("large")).unwrap();
    fs::write(repo.join("after"), "after").unwrap();
    fs::File::open(repo.join("after")).unwrap().sync_all().unwrap();
    server.pfs(&["commit", at]);
    server.pfs(&["umount", at]);
    assert_eq!(names(&server), ["/after", "/before"]);
    assert!(content(&server, "before") == before, "what fitted is intact");
    assert_eq!(content(&server, "after"), b"after");
    server.pfs(&["fsck"]);
}

#[test]
fn what_a_full_disk_has_cut_short_leaves_nothing() {
    let test = "what_a_full_disk_has_cut_short_leaves_nothing";
    if !machine::is_root(test) || !machine::has_fuse(test) {
        return;
    }
    let server = Server::start();
    let disk = SmallDisk::new(&server.dir("staging"), 16);
    server.pfs(&["create", "repo", "data"]);
    let large = file_of(&server, "large", 24 * MIB);
    server.pfs(&["put", "file", "data@master:/large", "-f", large.to_str().unwrap()]);
    let (mount, cache) = (server.dir("mnt"), disk.0.join("cache"));
    let (at, repo) = (mount.to_str().unwrap(), mount.join("data"));
    let cache = cache.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", "--cache", cache, "--cache-size", "0", at]);

    let mut file = fs::OpenOptions::new().write(true).open(repo.join("large")).unwrap();
    let refused = file.write_all(b"changed").and_then(|()| file.sync_all());
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOSPC), "it is copied up first");
    drop(file);
    fs::write(repo.join("fits"), noise(9 * MIB)).unwrap();

    let file = fs::File::create(repo.join("grows")).unwrap();
    let (mut at_end, block) = (0, noise(MIB));
    while let Ok(written) = file.write_at(&block, at_end) {
        at_end += written as u64;
    }
    let size = file.metadata().unwrap().len();
    fs::remove_file(repo.join("fits")).unwrap();
    file.set_len(size + 2 * MIB as u64).unwrap();
    let shown = fs::read(repo.join("grows")).unwrap();
    assert!(shown[size as usize..].iter().all(|byte| *byte == 0), "what was refused shows");
    drop(file);
    server.pfs(&["abort", at]);
    server.pfs(&["umount", at]);
}

/// A server whose state lies on a disk of few mebibytes, with a ballast file
/// that can be dropped to make room.
fn server_on_small_disk(mebibytes: usize) -> (SmallDisk, Server) {
    let scratch: TempDir = tempfile::Builder::new().prefix("pfs-full.").tempdir().unwrap();
    let disk = SmallDisk::new(scratch.path(), mebibytes);
    fs::write(disk.0.join("ballast"), noise(4 * MIB)).unwrap();
    let root = disk.0.join("root");
    let server = Server::start_on(scratch, root);
    (disk, server)
}

fn drop_garbage(disk: &SmallDisk) {
    fs::remove_file(disk.0.join("ballast")).unwrap();
}

fn mentions_no_space(error: &str) -> bool {
    let error = error.to_lowercase();
    ["no space", "disk full", "disk is full", "enospc"].iter().any(|text| error.contains(text))
}

fn names(server: &Server) -> Vec<String> {
    let text = server.pfs(&["list", "file", "data@master", "--raw"]);
    let entities = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    entities.map(|e| e.unwrap()["file"]["path"].as_str().unwrap().to_owned()).collect()
}

fn content(server: &Server, name: &str) -> Vec<u8> {
    server.output(&["get", "file", &format!("data@master:/{name}")]).stdout
}

pub(super) fn file_of(server: &Server, name: &str, size: usize) -> PathBuf {
    let path = server.dir("files").join(name);
    fs::write(&path, noise(size)).unwrap();
    path
}

/// Bytes that neither compress nor repeat.
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
