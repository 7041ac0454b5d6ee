//! The order in which parts of packs are read, as the plan of what to fetch
//! next.
//!
//! A training job often reads what the one before it has read, in that order. So
//! the first read of each part since it came is noted, and when readers go the
//! way of earlier ones, what came next is fetched before it is asked for. The
//! notes are kept in the cache directory, for the mount after this one; a
//! damaged or foreign file is as good as none, and nothing but speed depends on
//! what it says: what was fetched is compared with its hash like all else.

mod follow;
mod format;
mod history;

use std::fs::{self, File};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::Semaphore;

use self::follow::{Followers, Outcomes, Room};
use self::history::History;
use super::lock;
use crate::model::{Clock, Timestamp};

pub(super) use self::follow::Plan;
pub(super) use self::history::Unit;

/// The share of the memory that notes may take.
pub(super) const SHARE: usize = 32;
/// How many parts are noted at most, however much memory there is.
const MOST: usize = 1 << 20;
/// How often the file is written while there is something new, and after how
/// many new notes at the latest.
const EVERY: Duration = Duration::from_secs(30);
const MANY: u64 = 1 << 16;
/// Parts whose reads in the cache directory are passed over quickly.
const SEEN: usize = 4096;

const FILE: &str = "order";

/// Whether the order of reads is noted, and what comes next in it fetched before
/// it is asked for. It never is where the store is a directory of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Replay {
    /// It is not.
    #[default]
    Off,
    /// It is, and forgotten with the process.
    Forgotten,
    /// It is, and kept in a file of this directory, of so many bytes at most.
    Kept(PathBuf, u64),
}

/// What was read, who follows it, and where it is kept.
pub(super) struct Order {
    state: Mutex<State>,
    file: Option<Kept>,
    seen: Box<[AtomicU64]>,
    saving: AtomicBool,
    clock: Arc<dyn Clock>,
    /// Room for what is fetched ahead at a time, in KiB: demand has the rest.
    pub lane: Semaphore,
}

struct Kept {
    dir: PathBuf,
    most: usize,
}

struct State {
    history: History,
    followers: Followers,
    /// What was noted from here on is this process's.
    began: u64,
    /// What was noted up to here is in the file.
    saved: u64,
    saved_at: Timestamp,
}

impl Order {
    /// The order as `replay` says, with `memory` bytes for it and `lane` on the
    /// way at a time; `None` when none is noted.
    pub fn open(
        replay: &Replay,
        memory: usize,
        lane: usize,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let most = (memory / history::ENTRY).clamp(64, MOST);
        let file = match replay {
            Replay::Off => return None,
            Replay::Forgotten => None,
            Replay::Kept(dir, bytes) => Some(Kept::new(dir, *bytes)),
        };
        let mut history = History::new(most);
        let known = file.as_ref().map(Kept::read).unwrap_or_default();
        known.iter().for_each(|unit| history.push(unit));
        let (end, now) = (history.end(), clock.now());
        let followers = Followers::default();
        let state = State { history, followers, began: end, saved: end, saved_at: now };
        Some(Self {
            state: Mutex::new(state),
            file,
            seen: (0..SEEN).map(|_| AtomicU64::new(0)).collect(),
            saving: AtomicBool::new(false),
            clock,
            lane: Semaphore::new(lane >> 10),
        })
    }

    /// Notes the first read of a part since it came; answers what to fetch now,
    /// about `bytes` at most of what is not `here`.
    pub fn touch(&self, unit: &Unit, bytes: u64, here: &dyn Fn(&Unit) -> bool) -> Option<Plan> {
        let mut state = lock(&self.state);
        let State { history, followers, .. } = &mut *state;
        let around = unit.around().filter(|around| !history.knows(unit) && history.knows(around));
        let seen = around.as_ref().unwrap_or(unit);
        let plan = followers.touch(history, seen, &Room { here, bytes });
        history.push(unit);
        plan
    }

    /// Whether a read of a part in the cache directory is the first by this
    /// process.
    pub fn is_first(&self, unit: &Unit) -> bool {
        let mark = BuildHasherDefault::<DefaultHasher>::default().hash_one(unit) | 1;
        let slot = &self.seen[mark as usize / 2 % SEEN];
        if slot.load(Ordering::Relaxed) == mark {
            return false;
        }
        slot.store(mark, Ordering::Relaxed);
        let state = lock(&self.state);
        !state.history.has_since(unit, state.began)
    }

    /// Says that of a plan the fetch of `units` begins; `false` when nobody
    /// goes that way any more.
    pub fn fetching(&self, cursor: u64, units: &[Unit]) -> bool {
        let mut state = lock(&self.state);
        let State { history, followers, .. } = &mut *state;
        followers.fetching(history, cursor, units)
    }

    pub fn outcomes(&self) -> Outcomes {
        lock(&self.state).followers.outcomes()
    }

    /// Whether [`Order::save`] has something to do by now; the first who hears
    /// so is to see to it.
    pub fn is_due(&self) -> bool {
        if self.file.is_none() || self.saving.load(Ordering::Relaxed) {
            return false;
        }
        let state = lock(&self.state);
        let since = self.clock.now().as_nanos().saturating_sub(state.saved_at.as_nanos());
        let late = u128::try_from(since).is_ok_and(|since| since >= EVERY.as_nanos());
        let due = late || state.history.end() - state.saved >= MANY;
        due && !self.saving.swap(true, Ordering::Relaxed)
    }

    /// Writes what is new behind what is in the file by now, whoever put it
    /// there. Blocks on the disk; a failure costs speed only.
    pub fn save(&self) {
        if let Some(file) = &self.file {
            let (new, end) = {
                let mut state = lock(&self.state);
                state.saved_at = self.clock.now();
                let new: Vec<Unit> = state.history.since(state.saved).collect();
                (new, state.history.end())
            };
            match if new.is_empty() { Ok(()) } else { file.add(&new) } {
                Ok(()) => lock(&self.state).saved = end,
                Err(error) => {
                    tracing::debug!(dir = %file.dir.display(), %error, "cannot keep the order");
                }
            }
        }
        self.saving.store(false, Ordering::Relaxed);
    }
}

impl Kept {
    /// The file in `dir`, without what a process that died has left beside it.
    fn new(dir: &Path, bytes: u64) -> Self {
        for left in fs::read_dir(dir).into_iter().flatten().flatten() {
            if left.file_name().to_str().is_some_and(is_unfinished) {
                let _ = fs::remove_file(left.path());
            }
        }
        let most = usize::try_from(bytes / format::ENTRY_MOST).unwrap_or(MOST).min(MOST);
        Self { dir: dir.to_owned(), most }
    }

    fn read(&self) -> Vec<Unit> {
        // What is larger was not written by this, and is not read into memory.
        let path = self.dir.join(FILE);
        let most = MOST as u64 * format::ENTRY_MOST * 2;
        let fits = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= most);
        let found = fits.then(|| fs::read(&path).ok()).flatten();
        found.and_then(|file| format::decode(&file)).unwrap_or_default()
    }

    fn add(&self, new: &[Unit]) -> io::Result<()> {
        // Others who add wait; where there are no locks, the last one wins.
        let locked = Flock::lock(File::open(&self.dir)?, FlockArg::LockExclusive);
        let units = self.read();
        let all = units.iter().chain(new);
        let beyond = (units.len() + new.len()).saturating_sub(self.most);
        let bytes = format::encode(all.skip(beyond).copied());
        let fresh = self.dir.join(format!("{FILE}.{}.new", std::process::id()));
        let written =
            fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, self.dir.join(FILE)));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        drop(locked);
        written
    }
}

/// Whether a file of this name is an order that is being written.
fn is_unfinished(name: &str) -> bool {
    let process = name.strip_prefix(FILE).and_then(|rest| rest.strip_prefix('.'));
    let process = process.and_then(|rest| rest.strip_suffix(".new"));
    process.is_some_and(|process| process.parse::<u32>().is_ok())
}

/// Reads a file that claims to hold an order, for fuzzing.
pub(super) fn read_any(body: &[u8]) {
    let _ = format::decode(body);
    if let Some(units) = format::parse(body) {
        let again = format::encode(units.iter().copied());
        assert_eq!(format::decode(&again), Some(units));
    }
}

#[cfg(test)]
mod tests;
