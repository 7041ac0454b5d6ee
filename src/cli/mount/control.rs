//! Starting, ending and asking mounts.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::daemon;
use super::left::{dead, dead_mount, is_gone, kept, remedy, say, take_away};
use super::plan::MountPlan;
use super::serving::serve;
use crate::cli::prelude::*;
use crate::mount::{MountError, control, unmount};
use crate::vfs::transaction::Left;
use crate::vfs::transaction::directory::{RETENTION, wait_for};
use crate::vfs::xattr::{ABORT, COMMIT, STATUS, STORE};

/// Mounts as planned; returns when unmounted, or once mounted as a daemon.
pub async fn mount(plan: MountPlan) -> Outcome {
    match plan.daemon && !daemon::is_child() {
        true => daemon::start().await,
        // Large, and deep in what calls it.
        false => Box::pin(serve(plan)).await,
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
            (_, reason) => {
                let (dir, id) = (self.dir.display(), self.text("transaction"));
                Failure::new(format!("cannot {doing} {branch}: {reason}")).hint(format!(
                    "the changes are kept: 'pfs abort {dir}' gives them up; unmounted, \
                     'pfs mount -r {branch}+w --resume {id} DIR' puts them in place of the others"
                ))
            }
        }
    }
}

/// What `dir`, a mount or a directory in one, says about transactions.
fn statuses(dir: &Path) -> Outcome<Vec<Writable>> {
    if let Some(at) = dead_mount(dir) {
        return Err(dead(&at));
    }
    let dir = dir.canonicalize().map_err(|error| unusable(dir, &error))?;
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
    match is_gone(error) {
        true => dead(dir),
        false => Failure::new(format!("{}: {error}", dir.display())),
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

/// Unmounts `dir` and waits for the process behind it to have committed.
fn unmount_and_wait(dir: &Path) -> Outcome {
    if let Some(at) = dead_mount(dir) {
        // Without a process nobody commits any more.
        return take_away(&at);
    }
    // The kernel unmounts what a link leads to only under its own name.
    let dir = &dir.canonicalize().map_err(|error| unusable(dir, &error))?;
    let transactions = statuses(dir)?;
    let staged: Vec<PathBuf> = transactions
        .iter()
        .map(|one| PathBuf::from(one.text("staging")))
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    // Opened before the process may have removed them.
    let waiting: Vec<_> = staged.iter().map(|dir| wait_for(dir)).collect::<io::Result<_>>()?;
    unmount(dir).map_err(|error| match error {
        MountError::Busy { .. } => Failure::new(error.to_string())
            .hint(format!("find the program with: fuser -vm {}", dir.display())),
        MountError::NoFuse(_)
        | MountError::Directory { .. }
        | MountError::Helper(_)
        | MountError::NotMounted { .. }
        | MountError::Session(_) => Failure::new(error.to_string()),
    })?;
    for one in waiting {
        one.released()?;
    }
    let mut failure = None;
    for left in staged.into_iter().filter_map(Left::at) {
        match left.failure() {
            Some(reason) => failure = Some(Failure::new(reason).hint(kept(&left))),
            None if left.is_open() => {
                let (id, branch) = (left.started.id, &left.started.branch);
                say(&format!("{branch} was not committed, transaction {id} keeps the changes"));
                say(&format!("hint: {}", remedy(&left)));
            }
            None => {}
        }
    }
    failure.map_or(Ok(()), Err)
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
        let mut failure = None;
        for dir in dirs {
            let done = tokio::task::spawn_blocking(move || unmount_and_wait(&dir)).await;
            let done = done.map_err(|error| Failure::new(error.to_string()))?;
            // One that fails does not keep the others mounted.
            match (done, &failure) {
                (Ok(()), _) => {}
                (Err(first), None) => failure = Some(first),
                (Err(other), Some(_)) => say(&format!("error: {other}")),
            }
        }
        failure.map_or(Ok(()), Err)
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
            // What fails here the commit tells.
            drop(control::read(&one.dir, STORE));
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
///
/// The mount goes on from the head of its branch. What was written is kept for
/// seven days, and taken up again with 'pfs mount --resume'.
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
            if one.status.get("changes").and_then(Value::as_u64).is_some_and(|count| count > 0) {
                say(&format!(
                    "gave up transaction {}; its changes are kept for {} days in {}",
                    one.text("transaction"),
                    RETENTION.as_secs() / 86_400,
                    one.text("staging")
                ));
            }
            for now in statuses(&one.dir)?.iter().filter(|now| now.text("state") == "ABORTED") {
                say(&format!("{}; {} stays read-only", now.text("reason"), now.text("branch")));
            }
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
    #[command(flatten)]
    format: Format,
}

impl Status {
    /// Prints it.
    #[expect(clippy::unused_async, reason = "every command is asynchronous")]
    pub async fn run(self, cx: &Context) -> Outcome {
        for mut one in writable(&self.dir)? {
            if let Some(encoding) = self.format.encoding() {
                one.status["directory"] = one.dir.display().to_string().into();
                let mut sink = cx.sink();
                encoding.write(&mut sink, &one.status)?;
                sink.flush()?;
                continue;
            }
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
