//! Starting, ending and asking mounts.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::daemon;
use super::plan::MountPlan;
use super::serving::serve;
use super::staging;
use crate::cli::prelude::*;
use crate::mount::{MountError, control, unmount};
use crate::vfs::xattr::{ABORT, COMMIT, STATUS};

/// Mounts as planned; returns when unmounted, or once mounted as a daemon.
pub async fn mount(plan: MountPlan) -> Outcome {
    match plan.daemon && !daemon::is_child() {
        true => daemon::start().await,
        false => serve(plan).await,
    }
}

/// A directory with a transaction, and what that stands at.
struct Writable {
    dir: PathBuf,
    status: Value,
}

impl Writable {
    fn text(&self, key: &str) -> &str {
        self.status.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// What went wrong, with the reason that an error number cannot carry.
    fn failure(&self, doing: &str, error: &io::Error) -> Failure {
        let now = statuses(&self.dir).ok().and_then(|found| found.into_iter().next());
        let reason = now.as_ref().map(|now| now.text("reason")).unwrap_or_default();
        let branch = self.text("branch");
        match (error.raw_os_error(), reason) {
            (Some(libc::EROFS), "") => {
                Failure::new(format!("cannot {doing} {branch}: it is read-only"))
            }
            (_, "") => Failure::new(format!("cannot {doing} {branch}: {error}")),
            (_, reason) => Failure::new(format!("cannot {doing} {branch}: {reason}"))
                .hint("the changes are kept; see pfs status, or give them up with pfs abort"),
        }
    }
}

/// What `dir`, a mount or a directory in one, says about transactions.
fn statuses(dir: &Path) -> Outcome<Vec<Writable>> {
    let dir = dir.canonicalize().map_err(|error| unusable(dir, &error))?;
    if is_dead(&dir) {
        return Err(unusable(&dir, &io::Error::from_raw_os_error(libc::ENOTCONN)));
    }
    for at in dir.ancestors() {
        let Ok(text) = control::read(at, STATUS) else { continue };
        let status: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", at.display())))?;
        if status.get("state").is_some() {
            return Ok(vec![Writable { dir: at.to_owned(), status }]);
        }
        let named = status.as_object().cloned().unwrap_or_default();
        return Ok(named
            .into_iter()
            .map(|(name, status)| Writable { dir: at.join(name), status })
            .collect());
    }
    Err(Failure::new(format!("{} is not mounted by pfs", dir.display()))
        .hint("see the mounts with: findmnt -t fuse.pfs"))
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENOTCONN) => {
            Failure::new(format!("the process behind {} is gone", dir.display()))
                .hint(format!("unmount it with: pfs umount {}", dir.display()))
        }
        _ => Failure::new(format!("{}: {error}", dir.display())),
    }
}

/// The same, with a transaction in it.
fn writable(dir: &Path) -> Outcome<Vec<Writable>> {
    let found: Vec<_> =
        statuses(dir)?.into_iter().filter(|one| one.text("state") != "READ_ONLY").collect();
    match found.is_empty() {
        true => Err(Failure::new(format!("{} is mounted read-only", dir.display()))
            .hint("mount a branch with -r REPO@BRANCH+w")),
        false => Ok(found),
    }
}

/// Whether the process behind a mount is gone. Attributes tell nothing: the
/// kernel answers them from what it knows.
pub fn is_dead(dir: &Path) -> bool {
    let asked = control::read(dir, STATUS);
    asked.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
}

/// Unmounts `dir` and waits for the process behind it to have committed.
fn unmount_and_wait(dir: &Path) -> Outcome {
    // Without a process nobody commits any more.
    let dead = is_dead(dir);
    let transactions = if dead { Vec::new() } else { statuses(dir)? };
    let staged: Vec<PathBuf> = transactions
        .iter()
        .map(|one| PathBuf::from(one.text("staging")))
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    // Opened before the process may have removed them.
    let locks: Vec<File> =
        staged.iter().map(|dir| File::open(dir.join("lock"))).collect::<io::Result<_>>()?;
    unmount(dir).map_err(|error| match error {
        MountError::Busy { .. } => Failure::new(error.to_string())
            .hint(format!("find the program with: fuser -vm {}", dir.display())),
        MountError::NoFuse(_)
        | MountError::Directory { .. }
        | MountError::Helper(_)
        | MountError::NotMounted { .. }
        | MountError::Session(_) => Failure::new(error.to_string()),
    })?;
    if dead {
        return not_committed(dir);
    }
    for lock in locks {
        Flock::lock(lock, FlockArg::LockShared).map_err(|(_, error)| io::Error::from(error))?;
    }
    for dir in staged {
        match std::fs::read_to_string(dir.join("failed")) {
            Ok(reason) => {
                let kept = format!("the changes are kept in {}", dir.display());
                return Err(Failure::new(reason).hint(kept));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Fails when the process that was behind `dir` has left changes.
fn not_committed(dir: &Path) -> Outcome {
    let left = staging::abandoned(&staging::root(None), &dir.canonicalize()?)?;
    let Some(started) = left.first() else { return Ok(()) };
    let (id, branch, shown) = (started.id, &started.branch, dir.display());
    Err(Failure::new(format!(
        "the process behind {shown} has died; transaction {id} on {branch} was not committed"
    ))
    .hint(format!("go on with it: pfs mount -d -r {branch}+w {shown}")))
}

/// Unmount a directory
///
/// Waits until a writable mount has committed; fails when the commit failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs umount /pfs")]
pub struct Umount {
    /// The directory
    #[arg(value_name = "DIR", required_unless_present = "all")]
    dir: Option<PathBuf>,
    /// Unmount every directory of this program
    #[arg(short, long, conflicts_with = "dir")]
    all: bool,
}

impl Umount {
    /// Unmounts.
    pub async fn run(self, _: &Context) -> Outcome {
        let dirs = match self.dir {
            Some(dir) => vec![dir],
            None => control::mount_points()?.into_iter().rev().collect(),
        };
        for dir in dirs {
            tokio::task::spawn_blocking(move || unmount_and_wait(&dir))
                .await
                .map_err(|error| Failure::new(error.to_string()))??;
        }
        Ok(())
    }
}

/// Commit what was written to a mount, and go on
///
/// Prints the id of the commit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs commit ~/work -m 'labels corrected'")]
pub struct Commit {
    /// The directory of the mount, or of one of its repos
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What the commit is about
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
}

impl Commit {
    /// Commits.
    #[expect(clippy::unused_async, reason = "every command is asynchronous")]
    pub async fn run(self, cx: &Context) -> Outcome {
        let Self { dir, message } = self;
        for one in writable(&dir)? {
            // Pages that programs have mapped are written before.
            nix::unistd::syncfs(File::open(&one.dir)?).map_err(io::Error::from)?;
            let before = one.text("base").to_owned();
            control::write(&one.dir, COMMIT, &message)
                .map_err(|error| one.failure("commit", &error))?;
            let commit = control::read(&one.dir, COMMIT)?;
            match commit == before {
                true => cx.notice(&format!("nothing to commit in {}", one.text("branch"))),
                false => cx.say(&commit)?,
            }
        }
        Ok(())
    }
}

/// Throw away what was written to a mount since the last commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs abort ~/work")]
pub struct Abort {
    /// The directory of the mount, or of one of its repos
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Abort {
    /// Aborts.
    #[expect(clippy::unused_async, reason = "every command is asynchronous")]
    pub async fn run(self, _: &Context) -> Outcome {
        for one in writable(&self.dir)? {
            control::write(&one.dir, ABORT, "aborted by pfs abort")
                .map_err(|error| one.failure("abort", &error))?;
        }
        Ok(())
    }
}

/// What `pfs status` shows of a transaction, in order.
const STATUS_LINES: [(&str, &str); 7] = [
    ("Branch:", "branch"),
    ("State:", "state"),
    ("Reason:", "reason"),
    ("Transaction:", "transaction"),
    ("Base:", "base"),
    ("Changes:", "changes"),
    ("Staging:", "staging"),
];

/// Show the transaction behind a writable mount
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs status ~/work")]
pub struct Status {
    /// The directory of the mount, or of one of its repos
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Status {
    /// Prints it.
    #[expect(clippy::unused_async, reason = "every command is asynchronous")]
    pub async fn run(self, cx: &Context) -> Outcome {
        for one in writable(&self.dir)? {
            cx.say(&format!("Directory:   {}", one.dir.display()))?;
            for (label, key) in STATUS_LINES {
                let value = match one.status.get(key) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => continue,
                };
                if !value.is_empty() {
                    cx.say(&format!("{label:<12} {value}"))?;
                }
            }
        }
        Ok(())
    }
}
