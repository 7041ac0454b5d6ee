//! The process dies, or the machine: what is on the disk then.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::agreement::agrees;
use super::machine::Machine;
use super::memory::{Body, Id, Memory, UNKNOWN};
use super::operations::Op;
use crate::model::{Clock as _, SystemClock};
use crate::vfs::transaction::noted::Noted;
use crate::vfs::transaction::{TransactionView, inspect};

/// What a staged file held, and since when.
type Staged = (Vec<u8>, SystemTime);

/// What the loss of power must leave.
#[derive(Default)]
pub(super) struct Durable {
    memory: Memory,
    journal: u64,
    files: BTreeMap<String, Staged>,
    /// What every file has held since.
    since: HashMap<Id, HashSet<Vec<u8>>>,
}

impl Durable {
    /// Notes what the files hold now.
    pub(super) fn note(&mut self, memory: &Memory) {
        for (path, seen) in memory.seen() {
            if let (Body::File(bytes), Some(id)) = (seen.body, memory.id(&path)) {
                self.since.entry(id).or_default().insert(bytes);
            }
        }
    }
}

fn staged(dir: &Path) -> BTreeMap<String, Staged> {
    let entries = fs::read_dir(dir.join("files")).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let held = fs::read(entry.path()).unwrap();
        (name, (held, entry.metadata().unwrap().modified().unwrap()))
    };
    entries.map(read).collect()
}

fn put_back(dir: &Path, name: &str, (bytes, time): &Staged) {
    let path = dir.join("files").join(name);
    fs::write(&path, bytes).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_modified(*time).unwrap();
}

fn journal(dir: &Path) -> PathBuf {
    Noted::read(dir).unwrap().journal(dir)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).open(path).unwrap()
}

impl Machine {
    /// Everything that is there now is durable.
    pub(super) fn secure(&mut self) {
        let dir = self.view().dir();
        let mut memory = self.ours.clone();
        memory.crash();
        let journal = length(&journal(&dir));
        self.durable = Durable { memory, journal, files: staged(&dir), since: HashMap::new() };
        self.durable.note(&self.ours);
    }

    /// Ends the process; answers its directory.
    fn die(&mut self) -> PathBuf {
        let view = self.view.take().unwrap();
        self.open.clear();
        self.ours.crash();
        let dir = view.dir();
        drop(view);
        dir
    }

    /// Another process goes on.
    async fn go_on(&mut self, dir: &Path) {
        let base = crate::tree::Tree::new(
            crate::vfs::source::Source::nodes(&*self.source),
            inspect(dir).unwrap().root().unwrap(),
        );
        let mut about = inspect(dir).unwrap();
        if self.source.is_published(about.id) {
            about.id = SystemClock.transaction_id();
        }
        let (boot, clock) = (self.boot.clone(), Arc::new(SystemClock));
        let view = TransactionView::recover_during(&boot, (dir, about), base, clock).await;
        self.view = Some(view.unwrap());
    }

    pub(super) async fn crash(&mut self) {
        let dir = self.die();
        self.go_on(&dir).await;
    }

    /// The process dies when so much of what `op` notes is written.
    pub(super) async fn torn(&mut self, op: &Op, at: u16) {
        let dir = self.view().dir();
        let (path, files) = (journal(&dir), staged(&dir));
        let (before, start) = (self.ours.clone(), length(&path));
        self.run(op).await;
        let end = length(&path);
        // What is durable is not torn.
        if end == start || matches!(op, Op::Sync(_)) {
            return;
        }
        let after = self.ours.clone();
        self.die();
        let cut = start + u64::from(at) % (end - start + 1);
        if cut < end {
            open(&path).set_len(cut).unwrap();
            let now = staged(&dir);
            for (name, held) in files {
                // Content is written before it is noted, all else after.
                if !now.contains_key(&name) || !is_content(op) {
                    put_back(&dir, &name, &held);
                }
            }
        }
        self.go_on(&dir).await;
        if cut == end {
            return;
        }
        match is_content(op) {
            true => self.between(&before, &after).await,
            false => self.ours = before,
        }
        self.ours.crash();
    }

    /// What is there is a mixture of two contents, and goes on to be the model.
    async fn between(&mut self, before: &Memory, after: &Memory) {
        let found = self.viewed().tree().await.0;
        let (old, new) = (before.seen(), after.seen());
        self.ours = before.clone();
        for (path, seen) in &found {
            let (Body::File(bytes), Some(Body::File(a)), Some(Body::File(b))) =
                (&seen.body, old.get(path).map(|s| &s.body), new.get(path).map(|s| &s.body))
            else {
                continue;
            };
            let (least, most) = (a.len().min(b.len()), a.len().max(b.len()));
            assert!((least..=most).contains(&bytes.len()), "{path} is {} long", bytes.len());
            for (at, byte) in bytes.iter().enumerate() {
                let known = [a.get(at), b.get(at)].contains(&Some(byte));
                assert!(known || *byte == 0 && at >= least, "{path} at {at}: {byte}");
            }
            if bytes != a {
                self.ours.hold(path, bytes.clone());
            } else if old[path].mtime != new[path].mtime {
                self.ours.untimed(path);
            }
        }
        agrees("an operation that was not noted", &found, &self.ours.seen(), self.start);
    }

    /// The machine dies: what was not synced may be there or not.
    pub(super) async fn lose_power(&mut self, choices: u64) {
        let dir = self.die();
        let mut random = choices | 1;
        let mut draw = |bound: u64| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (random >> 33) % bound
        };
        let path = journal(&dir);
        let kept = self.durable.journal + draw(length(&path) - self.durable.journal + 1);
        let mut file = open(&path);
        file.set_len(kept).unwrap();
        file.write_all(&vec![0; draw(3) as usize * 7]).unwrap();
        let mut newer = false;
        for (name, (held, _)) in staged(&dir) {
            let path = dir.join("files").join(&name);
            match self.durable.files.get(&name) {
                Some(synced) if held.len() > 4_096 || draw(2) == 0 => {
                    put_back(&dir, &name, synced);
                }
                Some(_) => newer = true,
                None => match draw(3) {
                    0 => fs::remove_file(path).unwrap(),
                    1 => open(&path).set_len(0).unwrap(),
                    _ => {}
                },
            }
        }
        self.boots += 1;
        self.boot = format!("boot {}", self.boots);
        self.go_on(&dir).await;
        let since = std::mem::take(&mut self.durable.since);
        self.ours = self.durable.memory.clone();
        if newer {
            self.take_newer(&since).await;
        }
        self.secure();
    }

    /// Files that were written to since may hold that.
    async fn take_newer(&mut self, since: &HashMap<Id, HashSet<Vec<u8>>>) {
        let found = self.viewed().tree().await.0;
        for (path, seen) in self.ours.seen() {
            let now = found.get(&path).map(|found| &found.body);
            if let (Some(id), Some(Body::File(now)), Body::File(_), true) =
                (self.ours.id(&path), now, seen.body, self.ours.is_touched(&path))
            {
                let known = since.get(&id).is_some_and(|held| held.contains(now));
                assert!(known, "{path} never held {:?}", String::from_utf8_lossy(now));
                self.ours.hold(&path, now.clone());
            }
        }
    }
}

impl Memory {
    /// Whether it is not as it was committed.
    fn is_touched(&self, path: &str) -> bool {
        self.at(path).is_some_and(|inode| inode.touched)
    }

    /// A file holds something else than was thought.
    fn hold(&mut self, path: &str, bytes: Vec<u8>) {
        let inode = self.inodes.get_mut(&self.names[path].id).unwrap();
        (inode.body, inode.mtime) = (Body::File(bytes), Some(UNKNOWN));
    }
}

/// Whether the operation writes to files before it notes that.
fn is_content(op: &Op) -> bool {
    matches!(
        op,
        Op::Write(..)
            | Op::Append(..)
            | Op::Truncate(..)
            | Op::Zero(..)
            | Op::Extend(..)
            | Op::Copy(..)
    )
}
