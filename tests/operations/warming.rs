//! Caches that are warm before anybody reads.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::{eventually, noise, number, read_all, server, stats};
use crate::machine::has_fuse;
use crate::server::Server;
use crate::takeover::process;

#[test]
fn what_was_warmed_is_read_from_the_cache() {
    if !has_fuse("what_was_warmed_is_read_from_the_cache") {
        return;
    }
    let server = server();
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let (at, kept) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    let missing = server.output(&["warm", "data@master"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("hint: name the directory"));
    let warmed = server.output(&["warm", "data@master", "--cache", kept]);
    let said = String::from_utf8_lossy(&warmed.stderr);
    assert!(warmed.status.success() && said.contains("101 files"), "{said}");
    server.pfs(&["mount", "-d", at, "--cache", kept]);
    let before = stats(&server, at);
    read_all(&mount.join("data"));
    let after = stats(&server, at);
    assert_eq!(number(&after, "/caches/disk/misses"), 0, "{after}");
    assert!(number(&after, "/caches/disk/hits") > 0, "{after}");
    assert_eq!(number(&after, "/store/bytes_in"), number(&before, "/store/bytes_in"));
    let again = server.output(&["warm", "data@master:/small", "--cache", kept]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("100 files") && said.contains("0B fetched in 0 requests"), "{said}");
    server.pfs(&["umount", at]);
    assert!(server.refused(&["warm", "data@master:/none", "--cache", kept]).contains("not found"));
}

#[test]
fn a_mounted_directory_is_warmed_by_its_pattern() {
    if !has_fuse("a_mounted_directory_is_warmed_by_its_pattern") {
        return;
    }
    let server = server();
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", at]);
    assert!(server.refused(&["warm", at]).contains("without --cache"));
    server.pfs(&["umount", at]);
    server.pfs(&["mount", "-d", at, "--cache", cache.to_str().unwrap()]);
    let data = mount.join("data");
    let warmed =
        server.output(&["warm", data.to_str().unwrap(), "--prefetch", "/{large,small/1*}"]);
    let said = String::from_utf8_lossy(&warmed.stderr);
    assert!(warmed.status.success() && said.contains("13 files"), "{said}");
    let before = stats(&server, at);
    assert!(fs::read(data.join("large")).unwrap() == noise(0, 3 << 20));
    let after = stats(&server, at);
    // The mount did not know of it before.
    assert!(number(&after, "/caches/disk/hits") > number(&before, "/caches/disk/hits"));
    assert_eq!(number(&after, "/store/bytes_in"), number(&before, "/store/bytes_in"));
    server.pfs(&["umount", at]);
}

#[test]
fn warming_a_mount_keeps_to_the_budget_of_that_mount() {
    if !has_fuse("warming_a_mount_keeps_to_the_budget_of_that_mount") {
        return;
    }
    let server = server();
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let (at, kept) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    server.pfs(&["mount", "-d", at, "--cache", kept, "--cache-size", "4MiB"]);
    assert_eq!(number(&stats(&server, at), "/caches/disk/budget"), 4 << 20);
    assert!(server.refused(&["warm", at]).contains("is full"), "more than four mebibytes");
    server.pfs(&["warm", mount.join("data/small").to_str().unwrap()]);
    let held = || {
        let files = fs::read_dir(cache.join("content")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = held();
    assert!((1 << 20..=4 << 20).contains(&before), "{before}");
    // Whoever may keep less takes nothing away by looking.
    let other = server.dir("other");
    let less = ["mount", "-d", other.to_str().unwrap(), "--cache", kept, "--cache-size", "1MiB"];
    server.pfs(&less);
    assert_eq!(held(), before);
    server.pfs(&["umount", other.to_str().unwrap()]);
    let whole = server.output(&["warm", at, "--cache-size", "1GiB"]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    server.pfs(&["umount", at]);
}

#[test]
fn a_mount_fetches_ahead_in_the_background() {
    if !has_fuse("a_mount_fetches_ahead_in_the_background") {
        return;
    }
    let server = server();
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let (at, kept) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    let refused = server.output(&["mount", "-d", at, "--prefetch", "all"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs a place to keep it"));
    server.pfs(&["mount", "-d", at, "-r", "data", "--prefetch", "all", "--cache", kept]);
    let held = || number(&stats(&server, at), "/caches/disk/bytes");
    // As much as the files have, which do not compress.
    eventually("the content is on disk", || held() >= 5_145_728);
    let settled = || (held(), std::thread::sleep(Duration::from_millis(100))).0 == held();
    eventually("all of it", settled);
    let before = stats(&server, at);
    read_all(&mount.join("data"));
    let after = stats(&server, at);
    assert_eq!(number(&after, "/store/bytes_in"), number(&before, "/store/bytes_in"));
    // A head that moves is followed.
    let (had, new) = (held(), server.dir("new").join("new"));
    fs::write(&new, noise(77, 2 << 20)).unwrap();
    server.pfs(&["put", "file", "data@master:/new", "-f", new.to_str().unwrap()]);
    eventually("what is new is on disk", || held() >= had + (2 << 20));
    server.pfs(&["umount", at]);
}

/// How many bytes lie in a cache directory.
fn kept_in(cache: &Path) -> u64 {
    let files = fs::read_dir(cache.join("content")).into_iter().flatten();
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}

/// Puts so many bytes that do not compress, as a file of their own.
fn put(server: &Server, place: &str, seed: u32, size: usize) {
    let file = server.dir("put").join(seed.to_string());
    fs::write(&file, noise(seed, size)).unwrap();
    server.pfs(&["put", "file", place, "-f", file.to_str().unwrap()]);
}

#[test]
fn fetching_ahead_goes_on_after_a_takeover() {
    if !has_fuse("fetching_ahead_goes_on_after_a_takeover") {
        return;
    }
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    put(&server, "data@master:/first", 1, 1 << 20);
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let (at, kept) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    server.pfs(&["mount", "-d", at, "--prefetch", "all", "--cache", kept]);
    eventually("the content is on disk", || kept_in(&cache) >= 1 << 20);
    let before = process(&mount);
    kill(before, Signal::SIGKILL).unwrap();
    eventually("there is a successor", || process(&mount) != before);
    let had = kept_in(&cache);
    put(&server, "data@master:/second", 2, 2 << 20);
    eventually("what is new is on disk", || kept_in(&cache) >= had + (2 << 20));
    server.pfs(&["umount", at]);
}

#[test]
fn what_could_not_be_fetched_ahead_is_fetched_later() {
    if !has_fuse("what_could_not_be_fetched_ahead_is_fetched_later") {
        return;
    }
    let server = Server::start();
    server.pfs(&["create", "repo", "first"]);
    put(&server, "first@master:/a", 1, 3 << 20);
    let packs = server.objects("packs");
    assert!(!packs.is_empty());
    packs.iter().for_each(|pack| fs::rename(pack, pack.with_extension("away")).unwrap());
    server.pfs(&["create", "repo", "second"]);
    put(&server, "second@master:/b", 2, 2 << 20);
    let (mount, cache) = (server.dir("mnt"), server.dir("cache"));
    let (at, kept) = (mount.to_str().unwrap(), cache.to_str().unwrap());
    server.pfs(&["mount", "-d", at, "--prefetch", "all", "--cache", kept]);
    eventually("one does not keep the other from it", || kept_in(&cache) >= 2 << 20);
    packs.iter().for_each(|pack| fs::rename(pack.with_extension("away"), pack).unwrap());
    // No head has moved.
    eventually("the other is tried again", || kept_in(&cache) >= 5 << 20);
    server.pfs(&["umount", at]);
}
