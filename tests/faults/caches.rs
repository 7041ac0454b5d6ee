//! A cache directory that takes nothing more: readers do not notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

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

/// How often a mount found something in its cache directory.
fn hits(stats: &str) -> u64 {
    let stats: Value = serde_json::from_str(stats).unwrap();
    stats["caches"]["disk"]["hits"].as_u64().unwrap()
}

/// What a mount of its own, with that cache, reads of the large file, and how
/// often it found something in the cache.
#[track_caller]
fn read_with(server: &Server, cache: &Path, meanwhile: impl Fn()) -> (Vec<u8>, u64) {
    let mount = server.dir("mnt");
    let (at, cache) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    server.pfs(&["mount", "-d", "-r", "data", "--cache", cache, at]);
    meanwhile();
    let read = fs::read(mount.join("data/large")).unwrap();
    let hits = hits(&server.pfs(&["stats", at, "-o", "json"]));
    server.pfs(&["umount", at]);
    (read, hits)
}

#[test]
fn a_full_cache_disk_is_no_matter_to_readers() {
    let Some((server, large, disk)) = server("a_full_cache_disk_is_no_matter_to_readers") else {
        return;
    };
    let cache: PathBuf = disk.0.join("cache");
    assert!(read_with(&server, &cache, || ()).0 == large, "the cache fills its disk");
    let fill = || {
        // As much as there is room for.
        let _ = fs::write(disk.0.join("foreign"), noise(4 * MIB));
    };
    let (read, hits) = read_with(&server, &cache, fill);
    assert!(read == large && hits > 0, "somebody else fills the disk: {hits}");
    let (read, hits) = read_with(&server, &cache, || ());
    assert!(read == large && hits > 0, "it is full from the start: {hits}");
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
    assert!(read_with(&server, &cache, || ()).0 == large);
    let (read, hits) = read_with(&server, &cache, remount);
    assert!(read == large && hits > 0, "it becomes read-only: {hits}");
    let (read, hits) = read_with(&server, &cache, || ());
    assert!(read == large && hits > 0, "it is read-only from the start: {hits}");
    let (read, hits) = read_with(&server, &missing, || ());
    assert!(read == large && hits == 0, "it cannot be made: {hits}");
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
    assert!(read_with(&server, &cache, || ()).0 == large);
    let (read, hits) = read_with(&server, &cache, || ());
    assert!(read == large && hits > 0, "what is in the cache is used: {hits}");
    assert!(spoil(&cache) > 0, "something is in the cache");
    assert!(read_with(&server, &cache, || ()).0 == large);
}

/// What a mount with that cache reads of all small files where it reaches the
/// store through the server alone, and how often it found something in the cache.
#[track_caller]
fn read_small_from_afar(server: &Server, cache: &Path) -> (Vec<u8>, u64) {
    let (mount, found) = (server.dir("far"), server.dir("found"));
    let script = "set -e
        mount -t tmpfs tmpfs \"$1\"
        \"$0\" mount -d -r data --cache \"$2\" \"$3\"
        cat \"$3\"/data/* > \"$4/bytes\"
        \"$0\" stats \"$3\" -o json > \"$4/stats\"
        \"$0\" umount \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    let pfs = server.command(&[]);
    command.arg(pfs.get_program()).arg(server.root().join("objects"));
    command.arg(cache).arg(mount).arg(&found);
    server.lend_environment(&mut command);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let stats = fs::read_to_string(found.join("stats")).unwrap();
    (fs::read(found.join("bytes")).unwrap(), hits(&stats))
}

#[test]
fn small_files_of_a_store_elsewhere_are_read_from_the_cache() {
    let test = "small_files_of_a_store_elsewhere_are_read_from_the_cache";
    if !machine::is_root(test) || !machine::has_fuse(test) {
        return;
    }
    let server = Server::start();
    let (source, bytes) = (server.dir("source"), noise(4 * MIB));
    for (number, part) in bytes.chunks(MIB / 64).enumerate() {
        fs::write(source.join(format!("{number:03}")), part).unwrap();
    }
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    let cache = server.dir("cache");
    assert!(read_small_from_afar(&server, &cache).0 == bytes);
    let (read, hits) = read_small_from_afar(&server, &cache);
    assert!(read == bytes && hits > 0, "what is in the cache is used: {hits}");
    assert!(spoil(&cache) > 0, "something is in the cache");
    assert!(read_small_from_afar(&server, &cache).0 == bytes, "not as it is there");
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
