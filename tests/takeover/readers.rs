//! Servers killed and replaced under programs that read.
//!
//! `PFS_TAKEOVER_ROUNDS` says how often (default 20), `PFS_TAKEOVER_SEED`
//! repeats a run's choices.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::signal::{Signal, kill};
use pfs::mount::control;

use super::{Held, compare, name, verify};
use crate::machine::has_fuse;
use crate::random::Random;

const FILES: usize = 50;
const SIZE: usize = 512 << 10;

/// What the programs tell.
#[derive(Default)]
struct Watch {
    over: AtomicBool,
    operations: AtomicU64,
    /// The longest operation since this was last reset, in microseconds.
    slowest: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Watch {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn time(&self, operation: impl FnOnce() -> Result<(), String>) {
        let start = Instant::now();
        let outcome = operation();
        let took = u64::try_from(start.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(took, Ordering::AcqRel);
        self.operations.fetch_add(1, Ordering::AcqRel);
        if let Err(what) = outcome {
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }
}

/// Lets the programs end, also when what goes on beside them fails.
struct Over<'a>(&'a Watch);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn forget(open: &File) {
    posix_fadvise(open, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// Reads at random in files that stay open.
fn read(held: &Held, watch: &Watch, mut random: Random) {
    let open: Vec<_> =
        (0..FILES).map(|file| File::open(held.data().join(name(file))).unwrap()).collect();
    while !watch.is_over() {
        let file = random.below(FILES as u64) as usize;
        let offset = random.below(SIZE as u64 / 4096) as usize * 4096;
        let count = (SIZE - offset).min(64 << 10);
        forget(&open[file]);
        watch.time(|| verify(&open[file], file, offset, count));
    }
}

/// Reads at random in a mapped file.
fn read_mapped(held: &Held, watch: &Watch, mut random: Random) {
    let open = File::open(held.data().join(name(1))).unwrap();
    let length = NonZeroUsize::new(SIZE).unwrap();
    let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(None, length, access, flags, open.as_fd(), 0) }.unwrap();
    // SAFETY: the mapping is as long as that, stays until the end of this
    // function, and nobody writes to the file.
    let bytes = unsafe { std::slice::from_raw_parts(base.cast::<u8>().as_ptr(), SIZE) };
    while !watch.is_over() {
        // SAFETY: the pages are read again from the file.
        unsafe { madvise(base, SIZE, MmapAdvise::MADV_DONTNEED) }.unwrap();
        forget(&open);
        let offset = random.below(SIZE as u64 / 4096) as usize * 4096;
        watch.time(|| compare(&bytes[offset..offset + 4096], 1, offset));
    }
    // SAFETY: nothing uses the mapping any more.
    unsafe { munmap(base, SIZE) }.unwrap();
}

/// Looks names up that are not there, and asks for what nobody caches.
fn look_up(held: &Held, watch: &Watch, mut random: Random) {
    while !watch.is_over() {
        let absent = held.data().join(format!("absent-{:x}", random.below(u64::MAX)));
        watch.time(|| match fs::metadata(&absent) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => Err(format!("{}: {other:?}", absent.display())),
        });
        let file = held.data().join(name(random.below(FILES as u64) as usize));
        watch.time(|| match control::read(&file, "user.pfs.hash") {
            Ok(hash) if hash.len() == 64 => Ok(()),
            other => Err(format!("{}: {other:?}", file.display())),
        });
    }
}

/// Walks the tree, by a name that the kernel does not know yet where there is
/// one.
fn walk(held: &Held, watch: &Watch, commits: &[String]) {
    let mut names = commits
        .iter()
        .map(|commit| format!("data@{commit}"))
        .chain(std::iter::repeat("data".to_owned()));
    while let (false, Some(name)) = (watch.is_over(), names.next()) {
        watch.time(|| {
            let entries = fs::read_dir(held.dir.join(&name)).map_err(|e| format!("{name}: {e}"))?;
            let mut count = 0;
            for entry in entries {
                let found = entry.and_then(|entry| entry.metadata());
                count += usize::from(found.map_err(|e| format!("{name}: {e}"))?.is_file());
            }
            (count >= FILES).then_some(()).ok_or(format!("{name}: {count} files"))
        });
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn report(what: &str, mut pauses: Vec<u64>) {
    pauses.sort_unstable();
    let at = |part: usize| pauses[(pauses.len() - 1) * part / 100] as f64 / 1000.0;
    println!(
        "{what}: {} rounds, pause ms median {:.1}, 90% {:.1}, 99% {:.1}, longest {:.1}",
        pauses.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
}

#[test]
fn readers_notice_nothing_of_a_killed_server() {
    if !has_fuse("readers_notice_nothing_of_a_killed_server") {
        return;
    }
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(20);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("take-over: {rounds} rounds, seed {seed}");
    let held = Held::new(FILES, SIZE);
    let commits: Vec<String> = (0..5)
        .map(|number| {
            let file = held.server.dir("more").join("more");
            fs::write(&file, number.to_string()).unwrap();
            let target = format!("data@master:/more-{number}");
            held.server.pfs(&["put", "file", &target, "-f", file.to_str().unwrap()]);
            format!("master^{}", number + 1)
        })
        .collect();
    let (watch, mut random) = (Watch::default(), Random::new(seed));
    let mut pauses = Vec::new();
    thread::scope(|scope| {
        let (held, watch, commits) = (&held, &watch, &commits);
        scope.spawn(move || read(held, watch, Random::new(seed + 1)));
        scope.spawn(move || read_mapped(held, watch, Random::new(seed + 2)));
        scope.spawn(move || look_up(held, watch, Random::new(seed + 3)));
        scope.spawn(move || walk(held, watch, commits));
        let _over = Over(watch);
        for _ in 0..rounds {
            thread::sleep(Duration::from_micros(3000 + random.below(7000)));
            let before = held.process();
            watch.slowest.store(0, Ordering::Release);
            kill(before, Signal::SIGKILL).unwrap();
            watch.time(|| {
                loop {
                    if held.process() != before {
                        return Ok(());
                    }
                }
            });
            thread::sleep(Duration::from_millis(1));
            pauses.push(watch.slowest.load(Ordering::Acquire));
        }
    });
    let wrong = watch.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} of many: {:?}", wrong.len(), &wrong[..wrong.len().min(9)]);
    assert!(watch.operations.load(Ordering::Acquire) > rounds);
    report("killed", pauses);
    held.server.pfs(&["umount", held.at()]);
}

#[test]
fn an_open_file_keeps_its_commit_and_heads_are_followed_on() {
    if !has_fuse("an_open_file_keeps_its_commit_and_heads_are_followed_on") {
        return;
    }
    let held = Held::new(2, 64 << 10);
    let open = File::open(held.data().join(name(0))).unwrap();
    let put = |text: &str| {
        let file = held.server.dir("new").join("new");
        fs::write(&file, text).unwrap();
        let target = format!("data@master:/{}", name(0));
        held.server.pfs(&["put", "file", &target, "-f", file.to_str().unwrap()]);
    };
    let shown = || fs::read_to_string(held.data().join(name(0))).unwrap_or_default();
    put("two");
    super::eventually("the head is followed", || shown() == "two");
    held.kill();
    forget(&open);
    verify(&open, 0, 0, 64 << 10).unwrap();
    assert_eq!(shown(), "two");
    put("three");
    super::eventually("the head is followed on", || shown() == "three");
    held.kill();
    put("four");
    super::eventually("and on", || shown() == "four");
    forget(&open);
    verify(&open, 0, 0, 64 << 10).unwrap();
    held.server.pfs(&["create", "repo", "later"]);
    super::eventually("a new repo appears", || held.dir.join("later").is_dir());
}

#[test]
fn a_successor_starts_while_the_server_of_the_repos_is_away() {
    if !has_fuse("a_successor_starts_while_the_server_of_the_repos_is_away") {
        return;
    }
    let mut held = Held::new(3, 64 << 10);
    let open = File::open(held.data().join(name(0))).unwrap();
    assert_eq!(fs::read_dir(held.data()).unwrap().count(), 3);
    held.server.kill();
    held.kill();
    forget(&open);
    verify(&open, 0, 0, 64 << 10).unwrap();
    let other = File::open(held.data().join(name(2))).unwrap();
    verify(&other, 2, 0, 64 << 10).unwrap();
    held.server.resume();
    held.server.pfs(&["create", "repo", "later"]);
    super::eventually("heads are followed again", || held.dir.join("later").is_dir());
}
