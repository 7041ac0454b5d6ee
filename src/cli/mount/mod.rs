//! `mount` and what belongs to it.

mod begin;
mod behind;
pub mod control;
mod daemon;
pub mod fstab;
mod heads;
pub mod held;
mod left;
mod observed;
mod plan;
mod prefetch;
mod reader;
mod remote;
mod serving;
mod source;
mod staging;
pub mod upgrade;
pub(super) mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use behind::{Stage, Unfinished};
pub use plan::{CommitWhen, MountPlan, MountedRepo, duration};
pub use prefetch::{Prefetch, fetch};
pub use reader::{nodes, reach, server_nodes, through};
pub use source::{Following, ServerSource};
pub use staging::area;

use crate::cli::output::{parse_memory, parse_size};
use crate::cli::prelude::*;
use crate::model::TransactionId;
use crate::web::HttpAddress;

/// Show repos as directories
///
/// Without -r every repo of the server appears at the head of master,
/// read-only, and follows it. Runs until the directory is unmounted or the
/// command is interrupted.
///
/// A writable repo is a transaction. It follows its branch until something is
/// written. When its process dies, mounting the same branch at the same
/// directory goes on with it; what was left elsewhere, aborted or in conflict
/// is taken up with --resume. What is over is kept for seven days.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs mount /pfs -d
  pfs mount ~/work -r images@master+w -r labels
  pfs mount ~/old -r images@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11
  pfs mount ~/work -r images@master+w --resume 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77

As a file system, once mount(8) finds the program under its name for it:
  ln -s \"$(command -v pfs)\" /sbin/mount.fuse.pfs
  mount -t fuse.pfs images@master /mnt/images -o ro

Or as a line in /etc/fstab; a comma in an option's value is written '\\,':
  images@master  /mnt/images  fuse.pfs  ro,allow_other,_netdev  0  0")]
pub struct Args {
    /// The directory to mount at
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only this repo, at this branch or commit; '+w' makes it writable; may
    /// be repeated
    #[arg(short, long = "repos", value_name = "REPO[@REF][+w]")]
    repos: Vec<String>,
    /// Make every repo named with -r writable
    #[arg(short, long, requires = "repos")]
    write: bool,
    /// Return once mounted; the exit code tells whether that worked
    #[arg(short, long)]
    daemon: bool,
    /// When a writable mount commits
    #[arg(long, value_name = "WHEN", default_value = "on-unmount")]
    commit: CommitWhen,
    /// Go on with this transaction, which another mount has left or lost;
    /// may be repeated
    #[arg(long, value_name = "TRANSACTION", requires = "repos")]
    resume: Vec<TransactionId>,
    /// Keep what was read in this directory
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How large that directory may grow
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = parse_size)]
    cache_size: u64,
    /// What to fetch before it is read: none, meta (names and attributes), all,
    /// or what matches a glob pattern; content needs --cache
    #[arg(long, value_name = "WHAT", default_value = "none")]
    prefetch: Prefetch,
    /// Let the kernel read large files by itself, as fast as it reads local
    /// ones, once they lie whole in the directory of --cache; for root, and
    /// mounts that are only read. Small files take longer to open then
    #[arg(long)]
    passthrough: bool,
    /// How much memory to use
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_memory)]
    memory: u64,
    /// Let other users in
    #[arg(long)]
    allow_other: bool,
    /// Show files as owned by this user
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Show files as owned by this group
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,
    /// Permission bits to take away, in octal
    #[arg(long, value_name = "MASK", value_parser = plan::octal)]
    umask: Option<u32>,
    /// Show metrics for Prometheus at HOST:PORT, PORT or unix:/PATH
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<HttpAddress>,
    /// Log operations that take as long, and count them in `pfs stats`; 0 for none
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = plan::duration)]
    slow_op: Duration,
    /// Add what is logged to this file instead of standard error, which -d closes
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Accepted; every commit is there as DIR/REPO@REF
    #[arg(short, long, hide = true)]
    all_commits: bool,
}

impl Args {
    /// What was asked for.
    pub fn plan(&self, cx: &Context) -> Outcome<MountPlan> {
        let project = cx.project_name()?;
        let repos = self.repos.iter().map(|text| {
            MountedRepo::parse(text, &project)
                .map(|repo| MountedRepo { writable: repo.writable || self.write, ..repo })
        });
        Ok(MountPlan {
            dir: self.dir.clone(),
            repos: repos.collect::<Outcome<_>>()?,
            daemon: self.daemon,
            commit: self.commit,
            resume: self.resume.clone(),
            cache: self.cache.clone(),
            cache_size: self.cache_size,
            passthrough: self.passthrough,
            memory: self.memory,
            allow_other: self.allow_other,
            uid: self.uid,
            gid: self.gid,
            umask: self.umask,
            prefetch: self.prefetch.clone(),
            metrics: self.metrics.clone(),
            slow_op: self.slow_op,
            log: self.log.clone(),
            address: cx.address()?,
        })
    }

    /// Mounts, and serves until unmounted.
    pub async fn run(self, cx: &Context) -> Outcome {
        control::mount(self.plan(cx)?).await
    }
}

#[cfg(test)]
mod tests;
