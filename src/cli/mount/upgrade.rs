//! `upgrade-mounts`: other programs behind the mounts there are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::prelude::*;
use crate::mount::{control, holder};
use crate::vfs::xattr::PROCESS;

/// Have the mounts of this machine served by another version
///
/// Programs that use a mount wait for a few milliseconds and notice nothing
/// else. A mount that the other version cannot go on with stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs upgrade-mounts
  pfs upgrade-mounts --binary /usr/local/bin/pfs /pfs")]
pub struct Args {
    /// The program to serve them; this one unless said
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Only these mounts; all unless named
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

impl Args {
    /// Upgrades them one after the other; fails when one could not be.
    pub async fn run(self, cx: &Context) -> Outcome {
        let binary = match self.binary {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        };
        if !binary.is_file() {
            return Err(Failure::new(format!("{} is no program", binary.display())));
        }
        let mut failed = 0;
        let dirs = match self.dirs.is_empty() {
            true => control::mount_points()?,
            false => self.dirs,
        };
        for dir in dirs {
            let (at, program) = (dir.clone(), binary.clone());
            let outcome = tokio::task::spawn_blocking(move || upgrade(&at, &program));
            match outcome.await.map_err(|error| Failure::new(error.to_string()))? {
                Ok(()) => cx.say(&format!("upgraded {}", dir.display()))?,
                Err(reason) => {
                    cx.notice(&format!("{} goes on as it was: {reason}", dir.display()));
                    failed += 1;
                }
            }
        }
        match failed {
            0 => Ok(()),
            count => Err(Failure::new(format!("mounts that were not upgraded: {count}"))
                .hint("unmount them when nothing uses them, and mount them again")),
        }
    }
}

fn upgrade(dir: &Path, binary: &Path) -> Result<(), String> {
    let server =
        control::read(dir, PROCESS).map_err(|error| format!("nobody serves it: {error}"))?;
    let unheld = "no holder stands behind it; it was not mounted with -d, or the holder has died";
    let holder = parent(&server).ok_or(unheld)?;
    match holder::upgrade(holder, binary) {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(unheld.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The process that has started `process`.
fn parent(process: &str) -> Option<u32> {
    let status = fs::read_to_string(Path::new("/proc").join(process).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
