//! Servers killed and replaced under programs that write.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use nix::sys::signal::{Signal, kill};

use super::readers::{number, report};
use super::{eventually, process};
use crate::machine::has_fuse;
use crate::random::Random;
use crate::server::Server;

/// A writable mount of repo `data`, served by a daemon.
pub struct Writable {
    pub server: Server,
    dir: PathBuf,
}

impl Writable {
    /// `None`, and a note, where there is no FUSE.
    pub fn new(test: &str) -> Option<Self> {
        if !has_fuse(test) {
            return None;
        }
        let server = Server::start();
        server.pfs(&["create", "repo", "data"]);
        let dir = server.dir("mnt");
        let writable = Self { server, dir };
        writable.mount("explicit");
        Some(writable)
    }

    fn mount(&self, commit: &str) {
        let at = self.dir.to_str().unwrap();
        self.server.pfs(&["mount", "-d", "-r", "data@master+w", "--commit", commit, at]);
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Kills the server; returns once another one answers.
    pub fn kill(&self) {
        let before = process(&self.dir);
        kill(before, Signal::SIGKILL).unwrap();
        eventually("a successor", || process(&self.dir) != before);
    }

    pub fn umount(&self) {
        self.server.pfs(&["umount", self.dir.to_str().unwrap()]);
    }
}

/// A program of its own directory: it knows what must be there.
struct Writer {
    dir: PathBuf,
    model: BTreeMap<String, Vec<u8>>,
    random: Random,
    next: u32,
}

impl Writer {
    fn new(dir: PathBuf, seed: u64) -> Self {
        fs::create_dir(&dir).unwrap();
        Self { dir, model: BTreeMap::new(), random: Random::new(seed), next: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn pick(&mut self) -> Option<String> {
        let count = self.model.len() as u64;
        let which = (count > 0).then(|| self.random.below(count) as usize)?;
        self.model.keys().nth(which).cloned()
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("f{}", self.next)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = 1 + self.random.below(20_000) as usize;
        let first = self.random.below(251);
        (0..size as u64).map(|at| ((at * 7 + first) % 251) as u8).collect()
    }

    fn step(&mut self) -> Result<(), String> {
        let what = self.random.below(10);
        let known = self.pick();
        let outcome = match (what, known) {
            (0..3, _) | (_, None) => self.create(),
            (3..5, Some(name)) => self.overwrite(&name),
            (5, Some(name)) => self.append(&name),
            (6, Some(name)) => self.rename(&name),
            (7, Some(name)) => self.remove(&name),
            (8, Some(name)) => self.remove_open(&name),
            (_, Some(name)) => self.compare(&name),
        };
        outcome.map_err(|error| format!("{}: step {what}: {error}", self.dir.display()))
    }

    fn create(&mut self) -> std::io::Result<()> {
        let (name, bytes) = (self.fresh(), self.bytes());
        let mut file = OpenOptions::new().write(true).create_new(true).open(self.path(&name))?;
        file.write_all(&bytes)?;
        self.model.insert(name, bytes);
        Ok(())
    }

    fn overwrite(&mut self, name: &str) -> std::io::Result<()> {
        let bytes = self.bytes();
        let at = self.random.below(10_000) as usize;
        let file = OpenOptions::new().write(true).open(self.path(name))?;
        file.write_all_at(&bytes, at as u64)?;
        let known = self.model.get_mut(name).unwrap();
        known.resize(known.len().max(at + bytes.len()), 0);
        known[at..at + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    fn append(&mut self, name: &str) -> std::io::Result<()> {
        let bytes = self.bytes();
        OpenOptions::new().append(true).open(self.path(name))?.write_all(&bytes)?;
        self.model.get_mut(name).unwrap().extend(bytes);
        Ok(())
    }

    fn rename(&mut self, name: &str) -> std::io::Result<()> {
        let to = match self.random.below(2) {
            0 => self.fresh(),
            _ => self.pick().unwrap_or_default(),
        };
        fs::rename(self.path(name), self.path(&to))?;
        let bytes = self.model.remove(name).unwrap();
        self.model.insert(to, bytes);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> std::io::Result<()> {
        fs::remove_file(self.path(name))?;
        self.model.remove(name);
        Ok(())
    }

    /// What is open is there without a name.
    fn remove_open(&mut self, name: &str) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).open(self.path(name))?;
        fs::remove_file(self.path(name))?;
        let mut wanted = self.model.remove(name).unwrap();
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"more")?;
        wanted.extend(b"more");
        thread::sleep(Duration::from_millis(self.random.below(4)));
        let mut found = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut found)?;
        match found == wanted && file.metadata()?.nlink() == 0 {
            true => Ok(()),
            false => Err(std::io::Error::other(format!("{name} without a name is another"))),
        }
    }

    fn compare(&mut self, name: &str) -> std::io::Result<()> {
        match fs::read(self.path(name))? == self.model[name] {
            true => Ok(()),
            false => Err(std::io::Error::other(format!("{name} is another"))),
        }
    }

    fn compare_all(&self, dir: &Path) {
        let found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let found: Vec<String> = found.map(|name| name.into_string().unwrap()).collect();
        let mut wanted: Vec<&String> = self.model.keys().collect();
        let mut sorted: Vec<&String> = found.iter().collect();
        sorted.sort();
        wanted.sort();
        assert_eq!(sorted, wanted);
        for (name, bytes) in &self.model {
            assert!(fs::read(dir.join(name)).unwrap() == *bytes, "{name}");
        }
    }
}

/// Writes through a mapping and reads what it has written.
fn write_mapped(path: &Path, over: &AtomicBool, mut random: Random) -> Result<(), String> {
    const SIZE: usize = 256 << 10;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
    file.set_len(SIZE as u64).map_err(|error| error.to_string())?;
    let length = std::num::NonZeroUsize::new(SIZE).unwrap();
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file.as_fd(), 0) };
    let base = base.map_err(|error| error.to_string())?;
    // SAFETY: the mapping is as long as that, nobody else uses it, and it stays
    // until the end of this function.
    let bytes = unsafe { std::slice::from_raw_parts_mut(base.cast::<u8>().as_ptr(), SIZE) };
    let mut outcome = Ok(());
    while outcome.is_ok() && !over.load(Ordering::Acquire) {
        let at = random.below(SIZE as u64) as usize;
        let value = random.below(256) as u8;
        bytes[at] = value;
        // SAFETY: the whole of a mapping of our own.
        let synced = unsafe { msync(base, SIZE, MsFlags::MS_SYNC) };
        let mut read = [0];
        let found = file.read_exact_at(&mut read, at as u64);
        if let (Err(_), _) | (_, Err(_)) = (synced, &found) {
            outcome = Err(format!("mapped: {synced:?}, {found:?}"));
        } else if read[0] != value {
            outcome = Err(format!("mapped: {} at {at} and not {value}", read[0]));
        }
    }
    // SAFETY: nothing uses the mapping any more.
    unsafe { munmap(base, SIZE) }.unwrap();
    outcome
}

/// Programs that write until it is over.
#[derive(Default)]
struct Programs {
    over: AtomicBool,
    wrong: Mutex<Vec<String>>,
    /// The longest write since this was last reset, in microseconds.
    slowest: AtomicU64,
}

impl Programs {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn take(&self, outcome: Result<(), String>) {
        self.wrong.lock().unwrap().extend(outcome.err());
    }

    fn is_wrong(&self) -> bool {
        !self.wrong.lock().unwrap().is_empty()
    }

    fn write(&self, writer: &mut Writer) {
        while !self.is_over() && !self.is_wrong() {
            self.take(writer.step());
        }
    }

    /// One write after the other, each timed.
    fn write_timed(&self, path: &Path) {
        let file = File::create(path).unwrap();
        while !self.is_over() && !self.is_wrong() {
            let start = Instant::now();
            self.take(file.write_all_at(b"x", 0).map_err(|error| format!("timed: {error}")));
            let took = u64::try_from(start.elapsed().as_micros()).unwrap();
            self.slowest.fetch_max(took, Ordering::AcqRel);
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Kills the server under them; answers how long they waited each time.
    fn kill(&self, mount: &Writable, rounds: u64, random: &mut Random) -> Vec<u64> {
        let mut pauses = Vec::new();
        for round in 0..rounds {
            thread::sleep(Duration::from_micros(3000 + random.below(12_000)));
            self.slowest.store(0, Ordering::Release);
            mount.kill();
            thread::sleep(Duration::from_millis(1));
            pauses.push(self.slowest.load(Ordering::Acquire));
            if self.is_wrong() {
                break;
            }
            if round % 5 == 4 {
                mount.server.pfs(&["commit", mount.data().to_str().unwrap()]);
            }
        }
        self.over.store(true, Ordering::Release);
        pauses
    }
}

#[test]
fn writers_notice_nothing_of_a_killed_server() {
    let test = "writers_notice_nothing_of_a_killed_server";
    let Some(mount) = Writable::new(test) else { return };
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(20);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("writers: {rounds} rounds, seed {seed}");
    let (programs, mut random) = (Programs::default(), Random::new(seed));
    let data = mount.data();
    let mut writers: Vec<Writer> =
        (0..2).map(|number| Writer::new(data.join(format!("w{number}")), seed + number)).collect();
    let lock = File::create(data.join("lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let pauses = thread::scope(|scope| {
        let programs = &programs;
        for writer in &mut writers {
            scope.spawn(|| programs.write(writer));
        }
        let mapped = || write_mapped(&data.join("mapped"), &programs.over, Random::new(seed + 7));
        scope.spawn(move || programs.take(mapped()));
        scope.spawn(|| programs.write_timed(&data.join("timed")));
        programs.kill(&mount, rounds, &mut random)
    });
    let wrong = programs.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    let other = File::open(data.join("lock")).unwrap();
    let refused = Flock::lock(other, FlockArg::LockExclusiveNonblock);
    assert_eq!(refused.map_err(|(_, error)| error).err(), Some(Errno::EWOULDBLOCK));
    drop(lock);
    writers.iter().for_each(|writer| writer.compare_all(&writer.dir));
    report("writers, killed", pauses);
    mount.server.pfs(&["commit", data.to_str().unwrap()]);
    mount.umount();
    mount.server.pfs(&["mount", "-d", "-r", "data", mount.dir.to_str().unwrap()]);
    for writer in &writers {
        writer.compare_all(&data.join(writer.dir.file_name().unwrap()));
    }
    mount.umount();
}

#[test]
fn a_commit_is_made_once_though_its_server_is_killed() {
    let test = "a_commit_is_made_once_though_its_server_is_killed";
    let Some(mount) = Writable::new(test) else { return };
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("commits: seed {seed}");
    let mut random = Random::new(seed);
    let rounds = 6;
    for round in 0..rounds {
        for file in 0..20 {
            fs::write(mount.data().join(file.to_string()), format!("{round} {file}")).unwrap();
        }
        let data = mount.data();
        thread::scope(|scope| {
            let commit = scope.spawn(|| mount.server.pfs(&["commit", data.to_str().unwrap()]));
            thread::sleep(Duration::from_micros(random.below(120_000)));
            mount.kill();
            commit.join().unwrap();
        });
        // Whoever is told that it is done finds it.
        let found = mount.server.pfs(&["get", "file", "data@master:/7"]);
        assert_eq!(found, format!("{round} 7"));
        let log = mount.server.pfs(&["list", "commit", "data@master", "--raw"]);
        assert_eq!(log.matches("\"finished\"").count(), round + 1, "{log}");
    }
    mount.umount();
}

#[test]
fn a_server_killed_while_it_commits_at_the_end_leaves_that_to_another() {
    let test = "a_server_killed_while_it_commits_at_the_end_leaves_that_to_another";
    let Some(mut mount) = Writable::new(test) else { return };
    mount.umount();
    mount.mount("on-unmount");
    fs::write(mount.data().join("file"), "kept").unwrap();
    let server = process(&mount.dir);
    mount.server.kill();
    // Nobody can commit now; then nobody tries any more, either.
    let unmounted = nix::mount::umount(&mount.dir);
    assert_eq!(unmounted, Ok(()));
    thread::sleep(Duration::from_millis(100));
    // An error says that it has given up, and kept all.
    let _ = kill(server, Signal::SIGKILL);
    mount.server.resume();
    eventually("the commit", || {
        let shown = mount.server.output(&["get", "file", "data@master:/file"]);
        shown.stdout == b"kept"
    });
}
