//! A cache directory that takes nothing more: readers do not notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::full::{MIB, SmallDisk, file_of, noise};
use crate::machine;
use crate::server::Server;

/// A server whose repo `data` holds a large file; what it holds; and a disk
/// for the cache, smaller than that.
fn server(test: &str) -> Option<(Server, Vec<u8>, SmallDisk)> {
    if !machine::is_root(test) || !machine::has_fuse(test) {
        return None;
    }
    let server = Server::start();
    let disk = SmallDisk::new(&server.dir("small"), 4);
    let large = file_of(&server, "large", 12 * MIB);
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["put", "file", "data@master:/large", "-f", large.to_str().unwrap()]);
    Some((server, fs::read(large).unwrap(), disk))
}

/// What a mount of its own, with that cache, reads of the large file.
#[track_caller]
fn read_with(server: &Server, cache: &Path, meanwhile: impl Fn()) -> Vec<u8> {
    let mount = server.dir("mnt");
    let (at, cache) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    server.pfs(&["mount", "-d", "-r", "data", "--cache", cache, at]);
    meanwhile();
    let read = fs::read(mount.join("data/large")).unwrap();
    server.pfs(&["umount", at]);
    read
}

#[test]
fn a_full_cache_disk_is_no_matter_to_readers() {
    let Some((server, large, disk)) = server("a_full_cache_disk_is_no_matter_to_readers") else {
        return;
    };
    let cache: PathBuf = disk.0.join("cache");
    assert!(read_with(&server, &cache, || ()) == large, "the cache fills its disk");
    let fill = || {
        // As much as there is room for.
        let _ = fs::write(disk.0.join("foreign"), noise(4 * MIB));
    };
    assert!(read_with(&server, &cache, fill) == large, "somebody else fills the disk");
    assert!(read_with(&server, &cache, || ()) == large, "it is full from the start");
}

#[test]
fn a_read_only_cache_is_no_matter_to_readers() {
    let Some((server, large, disk)) = server("a_read_only_cache_is_no_matter_to_readers") else {
        return;
    };
    let (cache, missing) = (disk.0.join("cache"), disk.0.join("missing"));
    let remount = || {
        let mut command = Command::new("mount");
        command.args(["-o", "remount,ro"]).arg(&disk.0);
        assert!(command.status().unwrap().success(), "remount the cache's disk");
    };
    assert!(read_with(&server, &cache, remount) == large, "it becomes read-only");
    assert!(read_with(&server, &cache, || ()) == large, "it is read-only from the start");
    assert!(read_with(&server, &missing, || ()) == large, "it cannot be made");
}

#[test]
fn what_is_wrong_in_a_cache_is_not_shown() {
    if !machine::has_fuse("what_is_wrong_in_a_cache_is_not_shown") {
        return;
    }
    let server = Server::start();
    let large = file_of(&server, "large", 12 * MIB);
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["put", "file", "data@master:/large", "-f", large.to_str().unwrap()]);
    let (cache, large) = (server.dir("cache"), fs::read(large).unwrap());
    assert!(read_with(&server, &cache, || ()) == large);
    let spoilt = spoil(&cache);
    assert!(spoilt > 0, "something is in the cache");
    assert!(read_with(&server, &cache, || ()) == large);
}

/// Writes other bytes over the files of a directory, cuts every third short;
/// returns how many there were.
fn spoil(dir: &Path) -> usize {
    let mut spoilt = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spoilt += spoil(&path);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(1000).for_each(|byte| *byte ^= 0x55);
        let keep = if spoilt % 3 == 2 { bytes.len() / 2 } else { bytes.len() };
        fs::write(&path, &bytes[..keep]).unwrap();
        spoilt += 1;
    }
    spoilt
}
