//! Directories that are made on this machine for programs to mount over.
//!
//! What is mounted there only a program sees, but the directory itself lies
//! in the machine's file system: it is there as long as a program needs it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The directories made; a cheap clone.
#[derive(Clone)]
pub(super) struct MountPoints(Arc<Made>);

struct Made {
    /// Names them all, so that the next server finds those of one that died.
    journal: PathBuf,
    /// How many programs need each.
    users: Mutex<BTreeMap<PathBuf, usize>>,
}

/// Keeps directories in place until dropped.
pub(super) struct Held {
    points: MountPoints,
    dirs: Vec<PathBuf>,
}

impl MountPoints {
    pub fn new(journal: PathBuf) -> Self {
        Self(Arc::new(Made { journal, users: Mutex::default() }))
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<PathBuf, usize>> {
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what a former server left; what is not empty is in use by
    /// others.
    pub fn clear_left(&self) {
        let text = fs::read_to_string(&self.0.journal).unwrap_or_default();
        for dir in text.lines().rev() {
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_file(&self.0.journal);
    }

    /// Makes what is missing of `at`.
    pub fn hold(&self, at: &Path) -> io::Result<Held> {
        let mut users = self.users();
        let of_ours = |dir: &&Path| users.contains_key(*dir) || fs::symlink_metadata(dir).is_err();
        let mut dirs: Vec<PathBuf> =
            at.ancestors().take_while(of_ours).map(Path::to_owned).collect();
        dirs.reverse();
        let mut held = Held { points: self.clone(), dirs: Vec::new() };
        if is_private(&dirs) {
            return Ok(held);
        }
        for dir in dirs {
            let known = users.contains_key(&dir);
            *users.entry(dir.clone()).or_default() += 1;
            held.dirs.push(dir.clone());
            let made = if known { Ok(()) } else { self.make(&users, &dir) };
            if let Err(error) = made {
                // Giving back needs the lock.
                drop(users);
                return Err(error);
            }
        }
        Ok(held)
    }

    fn make(&self, users: &BTreeMap<PathBuf, usize>, dir: &Path) -> io::Result<()> {
        self.write(users)?;
        fs::create_dir(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o755))
    }

    fn write(&self, users: &BTreeMap<PathBuf, usize>) -> io::Result<()> {
        let lines: Vec<String> = users.keys().map(|dir| format!("{}\n", dir.display())).collect();
        fs::write(&self.0.journal, lines.concat())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut users = self.points.users();
        for dir in self.dirs.iter().rev() {
            let left = users.get_mut(dir).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                users.remove(dir);
                // One that others have put something into stays.
                let _ = fs::remove_dir(dir);
            }
        }
        if !self.dirs.is_empty() {
            // Too many names in it do no harm.
            let _ = self.points.write(&users);
        }
    }
}

/// Whether the missing directories are made where only the program sees them:
/// below `/pfs`, and directly below a root that is made for it.
fn is_private(missing: &[PathBuf]) -> bool {
    let Some(first) = missing.first() else { return true };
    let own_root = !fs::symlink_metadata("/pfs").is_ok_and(|found| found.is_dir());
    first.starts_with("/pfs") || own_root && first.parent() == Some(Path::new("/"))
}
