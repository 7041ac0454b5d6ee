//! What a mount leaves behind when its process dies or does not commit, and
//! what can be done about it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::staging;
use crate::cli::failure::{Failure, Outcome};
use crate::mount::{MountError, control, detach};
use crate::vfs::transaction::Left;
use crate::vfs::xattr::PROCESS;

/// Tells the user something that is no result.
pub fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// How to go on with a transaction, or not.
pub fn remedy(left: &Left) -> String {
    let (id, branch) = (left.started.id, &left.started.branch);
    let dir = match left.started.mounted.as_str() {
        "" => "DIR",
        dir => dir,
    };
    format!(
        "'pfs mount -r {branch}+w --resume {id} {dir}' goes on with it, \
         'pfs delete transaction {id}' gives it up"
    )
}

/// The same, of one whose commit failed.
pub fn kept(left: &Left) -> String {
    format!("the changes are kept: {}", remedy(left))
}

/// Whether an error says that nobody answers at a mount point any more.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// The mount of this program that `dir` is in, when its process is gone.
pub fn dead_mount(dir: &Path) -> Option<PathBuf> {
    let plain = std::path::absolute(dir).ok()?;
    // The last component may be what nobody answers for.
    let real = dir
        .canonicalize()
        .ok()
        .or_else(|| Some(plain.parent()?.canonicalize().ok()?.join(plain.file_name()?)));
    let points = control::mount_points().ok()?;
    let candidates = [Some(plain), real];
    let holds = |at: &PathBuf| candidates.iter().flatten().any(|dir| dir.starts_with(at));
    let at = points.into_iter().filter(holds).max_by_key(|at| at.as_os_str().len())?;
    match control::read(&at, PROCESS) {
        Err(error) if is_gone(&error) => Some(at),
        Ok(_) | Err(_) => None,
    }
}

/// The transactions that a dead mount of `dir` has left with changes.
pub fn left_at(dir: &Path) -> Outcome<Vec<Left>> {
    let mounted = dir.to_string_lossy();
    let mut left = staging::area(None).all()?;
    left.retain(|left| left.started.mounted == mounted && left.is_open() && !left.is_held());
    Ok(left)
}

/// What there is to say about a dead mount.
pub fn dead(at: &Path) -> Failure {
    let (shown, left) = (at.display(), left_at(at).unwrap_or_default());
    let failure = Failure::new(format!("the process behind {shown} is gone"));
    match left.first() {
        Some(one) => failure.hint(format!(
            "its changes of {} are kept as transaction {}; 'pfs umount {shown}' clears the \
             directory, then {}",
            one.started.branch,
            one.started.id,
            remedy(one)
        )),
        None => failure.hint(format!("'pfs umount {shown}' clears the directory")),
    }
}

/// Takes a dead mount away; fails when something was not committed.
pub fn take_away(at: &Path) -> Outcome {
    clear(at)?;
    let Some(one) = left_at(at)?.into_iter().next() else { return Ok(()) };
    let what = format!(
        "the process behind {} is gone, and transaction {} of {} was not committed",
        at.display(),
        one.started.id,
        one.started.branch
    );
    Err(Failure::new(what).hint(remedy(&one)))
}

/// Takes the remains of a mount out of the tree of directories.
pub fn clear(at: &Path) -> Outcome {
    match detach(at) {
        Ok(()) | Err(MountError::NotMounted { .. }) => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "{} is left over from a mount whose process is gone, and cannot be cleared: {error}",
            at.display()
        ))
        .hint(format!("as root: umount -l {}", at.display()))),
    }
}
