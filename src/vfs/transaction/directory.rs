//! Staging directories: who holds one, which were left behind, how long they
//! stay.
//!
//! A staging directory is held through a lock on the file `lock` in it, for as
//! long as its transaction is mounted. One that nobody holds was left behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::journal;
use super::noted::{Noted, Started, inspect, note_end};
use crate::model::{Branch, Timestamp, TransactionId};
use crate::vfs::VfsError;
use crate::vfs::source::{Fate, Source};

/// How long the changes of a transaction that is over are kept.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const LOCK: &str = "lock";
/// Holds why the commit at the unmount failed.
const FAILED: &str = "failed";
/// Names links to other places with staging directories.
const AREA: &str = "area-";
/// Names directories that are being removed; a process follows.
const OVER: &str = "mounts-over-";

/// The file by which `dir` is held.
pub(super) fn lock_file(dir: &Path) -> PathBuf {
    dir.join(LOCK)
}

/// Takes hold of `dir`, which exists, until the lock is dropped.
pub(super) fn hold(dir: &Path) -> io::Result<Flock<File>> {
    // Whoever only looks holds it for a moment.
    const ATTEMPTS: u32 = 40;
    let mut lock = File::create(lock_file(dir))?;
    for _ in 0..ATTEMPTS {
        lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err((lock, Errno::EWOULDBLOCK)) => lock,
            Err((_, error)) => return Err(error.into()),
        };
        std::thread::sleep(Duration::from_millis(25));
    }
    let what = format!("{} is in use by another mount", dir.display());
    Err(io::Error::new(io::ErrorKind::WouldBlock, what))
}

/// Lets go of `dir`, for whoever waits for it, and then removes it.
pub(super) fn discard(dir: &Path, lock: Option<Flock<File>>) -> io::Result<()> {
    /// Others of this process may remove what they share.
    const ATTEMPTS: u32 = 100;
    let root = dir.parent().unwrap_or(dir);
    let over = root.with_file_name(format!("{OVER}{}", std::process::id()));
    let gone = over.join(dir.file_name().unwrap_or_default());
    let mut attempt = 0;
    loop {
        fs::create_dir_all(&over)?;
        match fs::rename(dir, &gone) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && dir.exists()
                    && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            renamed => break renamed?,
        }
    }
    drop(lock);
    fs::remove_dir_all(gone)?;
    // The last one does.
    drop(fs::remove_dir(over));
    Ok(())
}

/// Waits until nobody holds `dir`; at once when it is gone.
pub fn wait_for(dir: &Path) -> io::Result<Waiting> {
    match File::open(dir.join(LOCK)) {
        Ok(lock) => Ok(Waiting(Some(lock))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Waiting(None)),
        Err(error) => Err(error),
    }
}

/// A staging directory whose holder is waited for, also when it removes it.
#[derive(Debug)]
pub struct Waiting(Option<File>);

impl Waiting {
    /// Returns once nobody holds it.
    pub fn released(self) -> io::Result<()> {
        let Some(lock) = self.0 else { return Ok(()) };
        Flock::lock(lock, FlockArg::LockShared).map_err(|(_, error)| io::Error::from(error))?;
        Ok(())
    }
}

/// A staging directory.
#[derive(Debug, Clone)]
pub struct Left {
    /// Where it is.
    pub dir: PathBuf,
    /// What it is about.
    pub started: Started,
}

impl Left {
    /// The one in `dir`, if there is one.
    #[must_use]
    pub fn at(dir: PathBuf) -> Option<Self> {
        let started = inspect(&dir).ok()?;
        Some(Self { dir, started })
    }

    /// Whether anything may have been written that is not committed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        Noted::read(&self.dir).map_or(true, |noted| journal::is_begun(&noted.journal(&self.dir)))
    }

    /// Whether its transaction is mounted.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let Ok(lock) = File::open(self.dir.join(LOCK)) else { return false };
        matches!(Flock::lock(lock, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    /// Whether somebody has to decide what becomes of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.started.ended.is_none() && self.is_changed()
    }

    /// Why its commit failed when it was unmounted.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        fs::read_to_string(self.dir.join(FAILED)).ok()
    }

    /// Notes why its commit failed.
    pub fn fail(dir: &Path, reason: &str) -> io::Result<()> {
        fs::write(dir.join(FAILED), reason)
    }

    pub(super) fn forget_failure(dir: &Path) {
        // Most have none.
        drop(fs::remove_file(dir.join(FAILED)));
    }

    fn is_past(&self, now: Timestamp) -> bool {
        let ended = self.started.ended_at.unwrap_or(self.started.at);
        let kept = i64::try_from(RETENTION.as_nanos()).unwrap_or(i64::MAX);
        now.as_nanos().saturating_sub(ended.as_nanos()) > kept
    }
}

/// Where staging directories are.
#[derive(Debug, Clone)]
pub struct Area {
    /// Where new ones go.
    own: PathBuf,
    /// Where all are found: `own` is linked from there.
    known: PathBuf,
}

impl Area {
    /// New directories go into `own`; all are found through `known`.
    #[must_use]
    pub fn new(own: PathBuf, known: PathBuf) -> Self {
        Self { own, known }
    }

    /// The directory for a new transaction.
    pub fn place(&self, id: TransactionId) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.own)?;
        if self.own != self.known {
            let name = blake3::hash(self.own.as_os_str().as_encoded_bytes()).to_hex();
            fs::create_dir_all(&self.known)?;
            match symlink(&self.own, self.known.join(format!("{AREA}{}", &name[..16]))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(self.own.join(id.to_string()))
    }

    /// Every staging directory that is there, the oldest first.
    pub fn all(&self) -> io::Result<Vec<Left>> {
        let (areas, mut dirs): (Vec<_>, Vec<_>) =
            entries(&self.known)?.into_iter().partition(|dir| is_area(dir));
        for area in areas.iter().chain((self.own != self.known).then_some(&self.own)) {
            dirs.extend(entries(area)?);
        }
        let mut found: Vec<Left> = dirs.into_iter().filter_map(real).filter_map(Left::at).collect();
        found.sort_by(|a, b| (a.started.at, &a.dir).cmp(&(b.started.at, &b.dir)));
        found.dedup_by(|a, b| a.dir == b.dir);
        Ok(found)
    }

    /// The one of transaction `id`.
    pub fn find(&self, id: TransactionId) -> io::Result<Option<Left>> {
        Ok(self.all()?.into_iter().find(|left| left.started.id == id))
    }

    /// Those that nobody holds and that hold changes of `branch` at `server`.
    pub fn left_behind(&self, server: &str, branch: &Branch) -> io::Result<Vec<Left>> {
        let ours = |left: &Left| left.started.server == server && left.started.branch == *branch;
        let open = |left: &Left| left.is_open() && !left.is_held();
        Ok(self.all()?.into_iter().filter(|left| ours(left) && open(left)).collect())
    }

    /// Removes what nobody needs: directories without changes, those whose
    /// transaction has been over for [`RETENTION`], and remains of earlier
    /// removals. What belongs to another server is left alone.
    pub async fn sweep(&self, source: &dyn Source, now: Timestamp) -> Result<(), VfsError> {
        for root in [&self.own, &self.known] {
            remove_remains(root)?;
        }
        for left in self.all()? {
            if left.started.server == source.identity() && !left.is_held() {
                sweep_one(left.dir, source, now).await?;
            }
        }
        Ok(())
    }
}

/// Removes the directory if nobody needs it, unless somebody has just taken
/// hold of it.
async fn sweep_one(dir: PathBuf, source: &dyn Source, now: Timestamp) -> Result<(), VfsError> {
    let lock = match hold(&dir) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Only now is what it says what it stays.
    let Some(left) = Left::at(dir) else { return Ok(()) };
    if !left.is_changed() {
        // Whether the source still knows it decides nothing here.
        drop(source.abandon(&left.started, "nothing was written").await);
        return Ok(discard(&left.dir, Some(lock))?);
    }
    match &left.started.ended {
        Some(_) if left.is_past(now) => discard(&left.dir, Some(lock))?,
        Some(_) => {}
        None => {
            if let Fate::Over(reason) = source.fate(left.started.id).await? {
                note_end(&left.dir, &reason, now)?;
            }
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_area(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(AREA))
}

fn real(dir: PathBuf) -> Option<PathBuf> {
    dir.canonicalize().ok()
}

/// Removes what processes have left that died while they removed it.
fn remove_remains(root: &Path) -> io::Result<()> {
    let Some(parent) = root.parent() else { return Ok(()) };
    for path in entries(parent)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let process = name.and_then(|name| name.strip_prefix(OVER));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
