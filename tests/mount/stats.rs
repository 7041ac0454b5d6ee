//! Statistics of a mount, as its extended attribute tells them.

use std::fs;
use std::path::Path;

use pfs::mount::control;
use pfs::mount::stats::STATS;
use serde_json::Value;

use super::fake::Fake;
use super::{Mount, names};
use crate::machine::has_fuse;

fn stats(dir: &Path) -> Value {
    serde_json::from_str(&control::read(dir, STATS).unwrap()).unwrap()
}

fn count(stats: &Value, operation: &str) -> u64 {
    stats["operations"][operation]["count"].as_u64().unwrap_or(0)
}

fn sample() -> std::sync::Arc<Fake> {
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let edits = vec![("a", fake.file(vec![7; 1 << 20]).await), ("dir/b", fake.file("b").await)];
        fake.commit("data", edits).await;
    });
    fake
}

#[test]
fn a_mount_counts_what_it_is_asked() {
    if !has_fuse("a_mount_counts_what_it_is_asked") {
        return;
    }
    let fake = sample();
    let mount = Mount::all(&fake);
    assert_eq!(fs::read(mount.path("data/a")).unwrap().len(), 1 << 20);
    assert_eq!(names(&mount.path("data/dir")), ["b"]);
    fs::metadata(mount.path("data/none")).unwrap_err();
    let stats = stats(&mount.dir);
    assert_eq!(count(&stats, "lookup"), 4, "data, a, dir and none: {stats}");
    assert!(count(&stats, "read") > 0 && count(&stats, "readdirplus") > 0, "{stats}");
    assert_eq!(stats["bytes_read"], 1 << 20, "{stats}");
    assert_eq!(stats["bytes_written"], 0);
    let inodes = stats["inodes"].as_u64().unwrap();
    assert!((4..=5).contains(&inodes), "{stats}");
    let misses = stats["caches"]["memory"]["misses"].as_u64().unwrap();
    assert!(misses > 0 && stats["store"]["gets"].as_u64().unwrap() > 0, "{stats}");
    let operations = stats["operations"].as_object().unwrap().values();
    let failed: u64 = operations.map(|of| of["errors"].as_u64().unwrap()).sum();
    assert_eq!(stats["errors"]["ENOSYS"], failed, "no open, flush and opendir, please: {stats}");
    let read = &stats["operations"]["read"];
    let at = |key: &str| read[key].as_u64().unwrap();
    assert!(0 < at("p50_ns") && at("p50_ns") <= at("p99_ns") && at("p99_ns") <= at("max_ns"));
}

#[test]
fn asking_for_statistics_changes_none() {
    if !has_fuse("asking_for_statistics_changes_none") {
        return;
    }
    let fake = sample();
    let mount = Mount::all(&fake);
    fs::read(mount.path("data/a")).unwrap();
    fs::read_dir(&mount.dir).unwrap().for_each(drop);
    let settled = |stats: &Value| {
        let counts = stats["operations"].as_object().unwrap().iter();
        let counts = counts.map(|(name, of)| (name.clone(), of["count"].clone()));
        (counts.collect::<Vec<_>>(), stats["store"].clone(), stats["requests"].clone())
    };
    let first = settled(&stats(&mount.dir));
    for dir in [mount.dir.clone(), mount.path("data"), mount.dir.clone()] {
        assert_eq!(settled(&stats(&dir)), first);
    }
    let refused = control::read(&mount.path("data/a"), STATS).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENODATA), "a file has no statistics");
    assert_eq!(count(&stats(&mount.dir), "getxattr"), 1, "what was refused is counted");
}

#[test]
fn written_bytes_and_errors_are_counted() {
    if !has_fuse("written_bytes_and_errors_are_counted") {
        return;
    }
    let fake = sample();
    let mount = Mount::writable(&fake, "data");
    fs::write(mount.path("data/new"), vec![1; 10_000]).unwrap();
    fs::create_dir(mount.path("data/dir")).unwrap_err();
    fs::remove_dir(mount.path("data/dir")).unwrap_err();
    let stats = stats(&mount.path("data"));
    assert_eq!((count(&stats, "create"), &stats["bytes_written"]), (1, &10_000.into()), "{stats}");
    assert_eq!(stats["operations"]["rmdir"]["errors"], 1, "{stats}");
    assert_eq!(stats["errors"]["ENOTEMPTY"], 1, "{stats}");
}
