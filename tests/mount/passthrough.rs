//! Large files that the kernel reads by itself.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use pfs::model::{Clock as _, SystemClock};
use pfs::mount::stats::STATS;
use pfs::mount::{Backing, MountOptions, Mounted, Privileged, control};
use pfs::vfs::{Files, LARGE_FILE, Source};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::fake::Fake;
use super::{Mount, eventually};
use crate::machine::{has_fuse, is_root};

const SIZE: usize = LARGE_FILE as usize + 123_456;

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    let mut state = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    state.fill(&mut bytes);
    bytes
}

/// A mount of `fake` that lets the kernel read by itself.
fn mount(fake: &Arc<Fake>) -> Mount {
    mount_by(fake, Arc::new(Privileged))
}

fn mount_by(fake: &Arc<Fake>, backing: Arc<dyn Backing>) -> Mount {
    let (runtime, scratch) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let dir = scratch.path().join("mnt");
    fs::create_dir_all(&dir).unwrap();
    let source: Arc<dyn Source> = fake.clone();
    let files = Arc::new(Files::of_repos(source, None, SystemClock.now()));
    let options =
        MountOptions { passthrough: Some(backing), push: true, ..MountOptions::default() };
    let mounted = Some(Mounted::new(&dir, &files, &options, runtime.handle()).unwrap());
    Mount { mounted, files, dir, scratch, runtime }
}

fn sample(cache: &Path) -> Arc<Fake> {
    let fake = Fake::cached(cache, 1 << 30);
    Runtime::new().unwrap().block_on(async {
        let edits = vec![("f", fake.file(noise(1)).await), ("small", fake.file("small").await)];
        fake.commit("r", edits).await;
    });
    fake
}

fn stats(mount: &Mount) -> Value {
    serde_json::from_str(&control::read(&mount.dir, STATS).unwrap()).unwrap()
}

fn passed(mount: &Mount) -> u64 {
    stats(mount)["passthrough_opens"].as_u64().unwrap()
}

fn count(mount: &Mount, operation: &str) -> u64 {
    stats(mount)["operations"][operation]["count"].as_u64().unwrap_or(0)
}

/// Opens the file until the kernel reads it by itself; whatever way it is
/// opened, it is what it is.
fn open(mount: &Mount, expected: &[u8]) -> File {
    let file = Cell::new(None);
    eventually("the kernel reads by itself", || {
        let before = passed(mount);
        let opened = File::open(mount.path("r/f")).unwrap();
        check(&opened, expected);
        let passed = passed(mount) > before;
        file.set(passed.then_some(opened));
        passed
    });
    file.take().unwrap()
}

fn check(file: &File, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == expected, "other bytes");
    assert_eq!(file.read_at(&mut [0], expected.len() as u64).unwrap(), 0);
}

fn kept(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().len();
    // A hash, a dash and a size.
    entries.filter(|path| name(path) == 64 + 1 + 16).collect()
}

fn can_run(test: &str) -> bool {
    has_fuse(test) && is_root(test)
}

#[test]
fn the_kernel_reads_a_large_file_by_itself_once_it_lies_in_the_cache() {
    if !can_run("the_kernel_reads_a_large_file_by_itself_once_it_lies_in_the_cache") {
        return;
    }
    let (cache, bytes) = (tempfile::tempdir().unwrap(), noise(1));
    let mut mount = mount(&sample(cache.path()));
    let first = File::open(mount.path("r/f")).unwrap();
    check(&first, &bytes);
    eventually("it lies whole in the cache", || !kept(cache.path()).is_empty());
    check(&File::open(mount.path("r/f")).unwrap(), &bytes);
    assert_eq!(passed(&mount), 0, "as long as it is open in the other way");
    drop(first);
    let second = open(&mount, &bytes);
    let asked = count(&mount, "read");
    let opened: Vec<_> = (0..5).map(|_| File::open(mount.path("r/f")).unwrap()).collect();
    opened.iter().for_each(|file| check(file, &bytes));
    drop(second);
    opened.iter().for_each(|file| check(file, &bytes));
    assert_eq!((count(&mount, "read"), passed(&mount)), (asked, 6));
    drop(opened);
    check(&File::open(mount.path("r/f")).unwrap(), &bytes);
    assert_eq!((count(&mount, "read"), passed(&mount)), (asked, 7));
    for _ in 0..2 {
        assert_eq!(fs::read(mount.path("r/small")).unwrap(), b"small");
    }
    assert!(count(&mount, "read") <= asked + 1, "small files are in the kernel's cache");
    assert_eq!(passed(&mount), 7);
    mount.unmount();
}

#[test]
fn what_leaves_the_cache_while_it_is_read_is_read_on() {
    if !can_run("what_leaves_the_cache_while_it_is_read_is_read_on") {
        return;
    }
    let (cache, bytes) = (tempfile::tempdir().unwrap(), noise(1));
    let mut mount = mount(&sample(cache.path()));
    let file = open(&mount, &bytes);
    for path in fs::read_dir(cache.path()).unwrap() {
        fs::remove_file(path.unwrap().path()).unwrap();
    }
    check(&file, &bytes);
    let before = passed(&mount);
    check(&File::open(mount.path("r/f")).unwrap(), &bytes);
    assert_eq!(passed(&mount), before + 1, "from what is open");
    drop(file);
    drop(open(&mount, &bytes));
    assert_eq!(kept(cache.path()).len(), 1, "it is there again");
    mount.unmount();
}

#[test]
fn a_whole_file_that_is_not_what_it_was_is_not_read() {
    if !can_run("a_whole_file_that_is_not_what_it_was_is_not_read") {
        return;
    }
    let (cache, bytes) = (tempfile::tempdir().unwrap(), noise(1));
    let damages: [fn(&File); 2] = [
        |file| file.write_all_at(b"other bytes", 5_000_000).unwrap(),
        |file| file.set_len(SIZE as u64 - 1).unwrap(),
    ];
    let damage = |how: fn(&File)| {
        let path = kept(cache.path()).pop().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        how(&fs::OpenOptions::new().write(true).open(path).unwrap());
    };
    let mut one = mount(&sample(cache.path()));
    drop(open(&one, &bytes));
    // In the process that has made it, and in another one.
    for how in damages {
        damage(how);
        drop(open(&one, &bytes));
    }
    one.unmount();
    for how in damages {
        damage(how);
        let mut other = mount(&sample(cache.path()));
        drop(open(&other, &bytes));
        other.unmount();
    }
}

#[test]
fn a_file_that_changes_while_the_kernel_reads_it_stays_for_those_who_have_it() {
    if !can_run("a_file_that_changes_while_the_kernel_reads_it_stays_for_those_who_have_it") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let fake = sample(cache.path());
    let mut mount = mount(&fake);
    let old = open(&mount, &noise(1));
    mount
        .runtime
        .block_on(async { fake.commit("r", vec![("f", fake.file(noise(2)).await)]).await });
    let first = || {
        let mut byte = [0; 8];
        File::open(mount.path("r/f")).unwrap().read_exact_at(&mut byte, 0).unwrap();
        byte == noise(2)[..8]
    };
    eventually("the change is seen", first);
    let new = open(&mount, &noise(2));
    check(&old, &noise(1));
    check(&new, &noise(2));
    drop((old, new));
    mount.unmount();
}

/// One that is away at times.
#[derive(Debug, Default)]
struct Fickle {
    away: AtomicBool,
    /// How often it was asked in vain.
    missed: AtomicI32,
    open: AtomicI32,
}

impl Fickle {
    fn ask(&self) -> io::Result<Privileged> {
        if self.away.load(Ordering::Acquire) {
            self.missed.fetch_add(1, Ordering::AcqRel);
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(Privileged)
    }
}

impl Backing for Fickle {
    fn open(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32> {
        let number = self.ask()?.open(device, file)?;
        self.open.fetch_add(1, Ordering::AcqRel);
        Ok(number)
    }

    fn close(&self, device: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        self.ask()?.close(device, number)?;
        self.open.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
}

#[test]
fn what_nobody_could_close_is_closed_before_more_is_opened() {
    if !can_run("what_nobody_could_close_is_closed_before_more_is_opened") {
        return;
    }
    let (cache, bytes) = (tempfile::tempdir().unwrap(), noise(1));
    let backing = Arc::<Fickle>::default();
    let mut mount = mount_by(&sample(cache.path()), backing.clone());
    for _ in 0..3 {
        let (file, missed) = (open(&mount, &bytes), backing.missed.load(Ordering::Acquire));
        assert_eq!(backing.open.load(Ordering::Acquire), 1);
        backing.away.store(true, Ordering::Release);
        drop(file);
        eventually("it is to be closed", || backing.missed.load(Ordering::Acquire) > missed);
        let before = passed(&mount);
        check(&File::open(mount.path("r/f")).unwrap(), &bytes);
        assert_eq!(passed(&mount), before, "nobody could be asked");
        assert_eq!(backing.open.load(Ordering::Acquire), 1);
        backing.away.store(false, Ordering::Release);
    }
    drop(open(&mount, &bytes));
    eventually("all is closed", || backing.open.load(Ordering::Acquire) == 0);
    mount.unmount();
}
