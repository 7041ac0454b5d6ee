//! Where transactions are staged, and those that outlived their process.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::model::Branch;
use crate::vfs::Started;
use crate::vfs::transaction::inspect;

/// The directory of one transaction, held by this process.
#[derive(Debug)]
pub struct Held {
    /// The directory.
    pub dir: PathBuf,
    lock: Flock<File>,
}

/// Where transactions are staged: below the cache directory when there is
/// one, else below the state directory, which is found as for the server.
pub fn root(cache: Option<&Path>) -> PathBuf {
    if let Some(cache) = cache {
        return cache.join("mounts");
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = match set("PFS_ROOT") {
        Some(root) => root,
        None if nix::unistd::geteuid().is_root() => PathBuf::from("/var/lib/pfs"),
        None => set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .unwrap_or_else(std::env::temp_dir)
            .join("pfs"),
    };
    state.join("mounts")
}

impl Held {
    /// Lets go of a transaction that is over, for whoever waits for it, and
    /// then removes it.
    pub fn discard(self, root: &Path) -> io::Result<()> {
        let Self { dir, lock } = self;
        let over = over(root);
        fs::create_dir_all(&over)?;
        let away = over.join(dir.file_name().unwrap_or_default());
        fs::rename(dir, away)?;
        drop(lock);
        fs::remove_dir_all(over)
    }
}

/// Names the directories of transactions that are over; a process follows.
const OVER: &str = "mounts-over-";

/// Where this process moves transactions that are over.
fn over(root: &Path) -> PathBuf {
    root.with_file_name(format!("{OVER}{}", std::process::id()))
}

/// Removes what processes have left that died while they removed it.
pub fn sweep(root: &Path) -> io::Result<()> {
    let Some(Ok(entries)) = root.parent().map(fs::read_dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(OVER));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Takes hold of `dir`, creating it; `None` while another process has it.
pub fn hold(dir: PathBuf) -> io::Result<Option<Held>> {
    fs::create_dir_all(&dir)?;
    let lock = File::create(dir.join("lock"))?;
    match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Held { dir, lock })),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// A transaction on `branch` that a dead mount of `mounted` has left below
/// `root` without ending it. `place` says which repo of which server it is for:
/// one of the same name, made anew or elsewhere, is another.
pub fn left_behind(
    root: &Path,
    branch: &Branch,
    mounted: &Path,
    place: &str,
) -> io::Result<Option<(Held, Started)>> {
    for (dir, started) in not_ended(root, mounted)? {
        let at_place = fs::read_to_string(dir.join(PLACE)).is_ok_and(|noted| noted == place);
        if started.branch == *branch
            && at_place
            && let Some(held) = hold(dir)?
        {
            return Ok(Some((held, started)));
        }
    }
    Ok(None)
}

/// The transactions that a dead mount of `mounted` has left below `root`.
pub fn abandoned(root: &Path, mounted: &Path) -> io::Result<Vec<Started>> {
    let mut found = Vec::new();
    for (dir, started) in not_ended(root, mounted)? {
        if hold(dir)?.is_some() {
            found.push(started);
        }
    }
    Ok(found)
}

/// The transactions of a mount of `mounted` that were not ended, with their
/// directories.
fn not_ended(root: &Path, mounted: &Path) -> io::Result<Vec<(PathBuf, Started)>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let dir = entry?.path();
        let Ok(started) = inspect(&dir) else { continue };
        let here = fs::read(dir.join(MOUNT)).is_ok_and(|noted| noted == bytes(mounted));
        if here && started.ended.is_none() {
            found.push((dir, started));
        }
    }
    Ok(found)
}

/// The file that says where a transaction is mounted.
const MOUNT: &str = "mount";

/// The file that says which repo of which server a transaction is for.
const PLACE: &str = "place";

/// Notes where the transaction in `held` is mounted, and what it is for.
pub fn note(held: &Held, mounted: &Path, place: &str) -> io::Result<()> {
    fs::write(held.dir.join(PLACE), place)?;
    fs::write(held.dir.join(MOUNT), bytes(mounted))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
