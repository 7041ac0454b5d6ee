//! What a mount shows, whichever grammar asked for it.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::prefetch::Prefetch;
use crate::api::client::Address;
use crate::cli::failure::{Failure, Outcome};
use crate::model::{ProjectName, Ref, Repo, RepoRef, TransactionId};
use crate::web::HttpAddress;

/// When a writable mount commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CommitWhen {
    /// When it is unmounted.
    OnUnmount,
    /// Only by `pfs commit`.
    Explicit,
}

/// One repo of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedRepo {
    /// The repo.
    pub repo: Repo,
    /// Which state of it; the head of master, followed, when there is none.
    pub reference: Option<Ref>,
    /// Whether a transaction is opened on the branch.
    pub writable: bool,
}

/// What a mount shows, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct MountPlan {
    /// Where.
    pub dir: PathBuf,
    /// Which repos; all when empty.
    pub repos: Vec<MountedRepo>,
    /// Whether to return once mounted.
    pub daemon: bool,
    /// When writable repos commit.
    pub commit: CommitWhen,
    /// The transactions to go on with, whatever became of them.
    pub resume: Vec<TransactionId>,
    /// Where to keep what was read; nowhere when `None`.
    pub cache: Option<PathBuf>,
    /// How many bytes to keep there.
    pub cache_size: u64,
    /// Whether the kernel may read files of the cache by itself.
    pub passthrough: bool,
    /// What to fetch ahead of reads.
    pub prefetch: Prefetch,
    /// How many bytes of memory to use.
    pub memory: u64,
    /// Whether other users may look.
    pub allow_other: bool,
    /// The owner to show; the caller when `None`.
    pub uid: Option<u32>,
    /// The group to show; the caller's when `None`.
    pub gid: Option<u32>,
    /// Permission bits to take away.
    pub umask: Option<u32>,
    /// Where metrics are shown; nowhere when `None`.
    pub metrics: Option<HttpAddress>,
    /// How long an operation takes that is logged; none is when zero.
    pub slow_op: Duration,
    /// The file that log lines go to; standard error when `None`.
    pub log: Option<PathBuf>,
    /// The server.
    pub address: Address,
}

impl MountPlan {
    /// Refuses to let the kernel read by itself where it cannot; `is_root` says
    /// who mounts.
    pub fn check_passthrough(&self, is_root: bool) -> Outcome {
        if !self.passthrough {
            return Ok(());
        }
        if let Some(written) = self.repos.iter().find(|repo| repo.writable) {
            let repo = &written.repo;
            let what =
                format!("--passthrough is for mounts that are only read, not to write {repo}");
            return Err(Failure::usage(what)
                .hint("mount what is written at a directory of its own, without --passthrough"));
        }
        if self.cache.is_none() {
            return Err(Failure::usage("--passthrough needs a place to keep files whole")
                .hint("name a directory with --cache DIR"));
        }
        if !is_root {
            return Err(Failure::new("--passthrough is for root alone: the kernel says so")
                .hint("mount as root, or without --passthrough"));
        }
        Ok(())
    }
}

impl MountedRepo {
    /// `REPO[@REF][+w]`; `REPO@BRANCH=COMMIT` is the commit.
    pub fn parse(text: &str, project: &ProjectName) -> Outcome<Self> {
        let (name, writable) = match text.strip_suffix("+w") {
            Some(name) => (name, true),
            None => (text.strip_suffix("+r").unwrap_or(text), false),
        };
        let name = match name.split_once('=') {
            Some((branch, commit)) => {
                let repo = branch.split('@').next().unwrap_or(branch);
                format!("{repo}@{commit}")
            }
            None => name.to_owned(),
        };
        let RepoRef { repo, reference } = RepoRef::parse(&name, project)?;
        let branch = reference.as_ref().is_none_or(|reference| reference.as_branch().is_some());
        if writable && !branch {
            return Err(Failure::usage(format!("{text:?} cannot be written: it is no branch"))
                .hint("only branches can be written; leave out '+w', or name a branch"));
        }
        Ok(Self { repo, reference, writable })
    }
}

/// A span of time such as `1s`, `250ms` or `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::pipeline::spec::parse_duration(text)
        .ok_or_else(|| format!("{text:?} is no duration such as 1s or 250ms"))
}

/// A number in octal.
pub fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mask| *mask <= 0o7777)
        .ok_or_else(|| format!("{text:?} is no octal permission mask"))
}
