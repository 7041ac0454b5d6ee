//! The cache directory: its budget, and who else uses it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::chunk::disk::{DiskCache, Extent};
use crate::model::{Clock, Timestamp};

fn open(dir: &Path, budget: u64) -> DiskCache {
    DiskCache::open(dir, budget, Arc::new(SystemClock)).unwrap()
}

fn extent(start: u32) -> Extent {
    Extent { pack: PackId::new([1; 16]), start, len: 1000 }
}

/// What is in the directory, whoever knows of it.
fn held(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn the_disk_cache_keeps_to_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 5000);
    for n in 0..20 {
        cache.put(&extent(n), &noise(u64::from(n), 1000), &[]);
        assert!(cache.used() <= 5000);
    }
    assert_eq!(cache.get(&extent(0)), None);
    assert_eq!(cache.get(&extent(19)), Some(noise(19, 1000)));
    drop(cache);
    let count = || fs::read_dir(dir.path()).unwrap().count();
    let before = count();
    let reopened = open(dir.path(), 2500);
    assert_eq!(count(), before, "whoever only looks removes nothing");
    assert_eq!(reopened.get(&extent(19)), Some(noise(19, 1000)));
    reopened.put(&extent(20), &noise(20, 1000), &[]);
    assert!(reopened.used() <= 2500 && count() <= 2);
}

#[test]
fn the_disk_cache_touches_only_files_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let pack = PackId::new([1; 16]);
    let foreign =
        ["thesis.tex", "x.1.new", &format!("{pack}-0-0"), &format!("{pack}-0000000g-00000001")];
    for name in foreign {
        fs::write(dir.path().join(name), noise(1, 10_000)).unwrap();
    }
    let cache = open(dir.path(), 5000);
    assert_eq!(cache.used(), 0);
    for start in 0..20 {
        cache.put(&Extent { pack, start, len: 1000 }, &noise(1, 1000), &[]);
    }
    assert!(foreign.iter().all(|name| dir.path().join(name).exists()));
}

#[test]
fn two_that_share_a_directory_keep_to_its_budget_together() {
    const BUDGET: u64 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let caches = [open(dir.path(), BUDGET), open(dir.path(), BUDGET)];
    let mut most = 0;
    for number in 0..1000 {
        // Now in turns, now one for a while.
        let who = if number / 100 % 2 == 0 { number % 2 } else { number / 200 % 2 };
        caches[who as usize].put(&extent(number), &noise(u64::from(number), 1000), &[]);
        most = most.max(held(dir.path()));
    }
    assert!(most <= BUDGET + BUDGET / 16, "{most} bytes");
    assert!(held(dir.path()) >= BUDGET / 2, "most of it is used");
    let [one, other] = &caches;
    assert!(one.contains(&extent(999)) && other.contains(&extent(999)));
}

#[test]
fn what_another_process_removes_is_not_there() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (open(dir.path(), 100_000), open(dir.path(), 100_000));
        for number in 0..3 {
            one.put(&extent(number), &noise(u64::from(number), 1000), &[]);
        }
        assert!(other.contains(&extent(0)) && other.contains(&extent(1)));
        assert!(other.open_file(&extent(0)).is_some());
        (0..3).for_each(|number| other.remove(&extent(number)));
        assert!(!one.contains(&extent(0)), "a name that is known is looked for all the same");
        assert_eq!(one.get(&extent(1)), None);
        assert!(one.open_file(&extent(2)).is_none());
        assert_eq!(one.used(), 0);
        // Not even by the space that it takes.
        assert_eq!(open_below(dir.path()), 0);
    });
}

#[test]
fn what_is_evicted_is_not_held_open() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 5000);
        for number in 0..20 {
            cache.put(&extent(number), &noise(u64::from(number), 1000), &[]);
            assert!(cache.open_file(&extent(number)).is_some());
        }
        let kept = fs::read_dir(dir.path()).unwrap().count();
        assert!(open_below(dir.path()) <= kept);
    });
}

/// How many files that are or were in `dir` this process has open.
fn open_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|to| to.starts_with(dir)).count()
}

/// A clock that is set.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn random(&self) -> [u8; 16] {
        [0; 16]
    }
}

#[test]
fn what_others_read_is_kept() {
    const MINUTE: i64 = 60_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    // Later than any file is written.
    let begin = SystemClock.now().as_nanos();
    let clock = Arc::new(Set(AtomicI64::new(begin)));
    let shared = || DiskCache::open(dir.path(), 50_000, Arc::<Set>::clone(&clock)).unwrap();
    let (writer, reader) = (shared(), shared());
    writer.put(&extent(0), &noise(0, 1000), &[]);
    for number in 1..1000 {
        clock.0.fetch_add(MINUTE, Ordering::Relaxed);
        writer.put(&extent(number), &noise(u64::from(number), 1000), &[]);
        assert!(reader.get(&extent(0)).is_some(), "evicted after {number} others");
    }
    assert_eq!(writer.get(&extent(1)), None);
}
