//! Servers killed and replaced under programs that read files which the kernel
//! reads by itself.

use std::cell::Cell;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use pfs::mount::control;
use serde_json::Value;

use super::readers::number;
use super::{Held, compare, eventually, name, verify};
use crate::machine::{has_fuse, is_root};
use crate::random::Random;

const FILES: usize = 3;
const SIZE: usize = 9 << 20;

fn passed(held: &Held) -> u64 {
    let text = control::read(&held.dir, "user.pfs.stats").unwrap();
    let stats: Value = serde_json::from_str(&text).unwrap();
    stats["passthrough_opens"].as_u64().unwrap()
}

/// Opens the file until the kernel reads it by itself.
fn open(held: &Held, file: usize) -> File {
    let found = Cell::new(None);
    eventually("the kernel reads by itself", || {
        let before = passed(held);
        let opened = File::open(held.data().join(name(file))).unwrap();
        let passed = passed(held) > before;
        found.set(passed.then_some(opened));
        passed
    });
    found.take().unwrap()
}

/// What the programs have met.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

impl Met {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn note(&self, outcome: Result<(), String>) {
        self.wrong.lock().unwrap().extend(outcome.err());
    }
}

struct Over<'a>(&'a Met);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Opens, reads and closes; now and then nobody has the file open.
fn reopen(held: &Held, met: &Met, mut random: Random) {
    let mut open: Vec<(usize, File)> = Vec::new();
    while !met.is_over() {
        let file = random.below(FILES as u64) as usize;
        match File::open(held.data().join(name(file))) {
            Ok(opened) => open.push((file, opened)),
            Err(error) => met.note(Err(format!("open of {file}: {error}"))),
        }
        for (file, opened) in &open {
            let offset = random.below(SIZE as u64 / 4096) as usize * 4096;
            met.note(verify(opened, *file, offset, 4096));
        }
        match random.below(8) {
            0 => open.clear(),
            1..5 => drop(open.pop()),
            _ => {}
        }
        open.truncate(8);
    }
}

/// Reads at random in a mapped file.
fn read_mapped(file: &File, met: &Met, mut random: Random) {
    let length = NonZeroUsize::new(SIZE).unwrap();
    let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(None, length, access, flags, file.as_fd(), 0) }.unwrap();
    // SAFETY: the mapping is as long as that, stays until the end of this
    // function, and nobody writes to the file.
    let bytes = unsafe { std::slice::from_raw_parts(base.cast::<u8>().as_ptr(), SIZE) };
    while !met.is_over() {
        // SAFETY: the pages are read again from the file.
        unsafe { madvise(base, SIZE, MmapAdvise::MADV_DONTNEED) }.unwrap();
        let offset = random.below(SIZE as u64 / 4096) as usize * 4096;
        met.note(compare(&bytes[offset..offset + 4096], 0, offset));
    }
    // SAFETY: nothing uses the mapping any more.
    unsafe { munmap(base, SIZE) }.unwrap();
}

#[test]
fn files_the_kernel_reads_by_itself_outlive_a_killed_server() {
    let test = "files_the_kernel_reads_by_itself_outlive_a_killed_server";
    if !has_fuse(test) || !is_root(test) {
        return;
    }
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(20);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("take-over: {rounds} rounds, seed {seed}");
    let held = Held::with(FILES, SIZE, |server| {
        let cache = server.dir("cache").to_str().unwrap().to_owned();
        vec!["--passthrough".to_owned(), "--cache".to_owned(), cache]
    });
    let (first, met, mut random) = (open(&held, 0), Met::default(), Random::new(seed));
    thread::scope(|scope| {
        let (held, met, first) = (&held, &met, &first);
        for reader in 1..3 {
            scope.spawn(move || reopen(held, met, Random::new(seed + reader)));
        }
        scope.spawn(move || read_mapped(first, met, Random::new(seed + 3)));
        let _over = Over(met);
        for _ in 0..rounds {
            thread::sleep(Duration::from_micros(3000 + random.below(20_000)));
            held.kill();
            met.note(verify(first, 0, 0, 64 << 10));
        }
        held.server.pfs(&["upgrade-mounts", held.at()]);
        thread::sleep(Duration::from_millis(100));
    });
    let wrong = met.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} of many: {:?}", wrong.len(), &wrong[..wrong.len().min(9)]);
    // One that was open all the time, and those that were opened now and then.
    verify(&first, 0, 0, SIZE).unwrap();
    let before = passed(&held);
    verify(&File::open(held.data().join(name(0))).unwrap(), 0, 0, SIZE).unwrap();
    assert_eq!(passed(&held), before + 1, "still by the kernel itself");
    drop(first);
    for file in 0..FILES {
        verify(&open(&held, file), file, 0, SIZE).unwrap();
    }
    held.server.pfs(&["umount", held.at()]);
    let left = fs::read_dir(held.server.dir("cache").join("content")).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let whole: Vec<_> = names.filter(|name| name.len() >= 64 + 1 + 16).collect();
    assert!(whole.len() == FILES && whole.iter().all(|n| !n.ends_with(".new")), "{whole:?}");
}
