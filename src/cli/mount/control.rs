//! Starting, ending and asking mounts.

use std::path::PathBuf;

use super::plan::MountPlan;
use crate::cli::prelude::*;

/// Mounts as planned; returns when unmounted, or once mounted as a daemon.
#[expect(clippy::unused_async, reason = "mounting is not built in yet")]
pub async fn mount(plan: MountPlan) -> Outcome {
    drop(plan);
    Err(absent())
}

fn absent() -> Failure {
    Failure::new("this build cannot mount")
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
    #[expect(clippy::unused_async, reason = "mounting is not built in yet")]
    pub async fn run(self, _: &Context) -> Outcome {
        Err(absent())
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
    #[expect(clippy::unused_async, reason = "mounting is not built in yet")]
    pub async fn run(self, _: &Context) -> Outcome {
        Err(absent())
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
    #[expect(clippy::unused_async, reason = "mounting is not built in yet")]
    pub async fn run(self, _: &Context) -> Outcome {
        Err(absent())
    }
}

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
    #[expect(clippy::unused_async, reason = "mounting is not built in yet")]
    pub async fn run(self, _: &Context) -> Outcome {
        Err(absent())
    }
}
