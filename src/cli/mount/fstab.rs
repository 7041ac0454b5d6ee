//! The mount(8) calling convention: `mount.pfs SPEC DIR [-sfnv] [-o OPTS]`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::{CommitWhen, MountPlan, MountedRepo, duration, octal};
use super::prefetch::Prefetch;
use crate::api::client::Address;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{parse_memory, parse_size};
use crate::model::{ProjectName, TransactionId};
use crate::web::{HttpAddress, InvalidHttpAddress};

/// How the helper is called.
const USAGE: &str = "Usage: mount.pfs REPO[@REF] DIR [-o OPTIONS]

Mounts a repo, or every repo when REPO is 'all' or 'none'. mount(8) finds this
program as /sbin/mount.fuse.pfs, a link to pfs:

  mount -t fuse.pfs images@master /mnt/images -o ro,allow_other

or as a line in /etc/fstab:

  images@master  /mnt/images  fuse.pfs  ro,allow_other,_netdev  0  0

A comma in a value is written '\\,'.

Options: ro, rw, repo=REPO[@REF][+w] (one more, may be repeated), allow_other, uid=N, gid=N,
umask=OCTAL, commit=on-unmount|explicit, resume=TRANSACTION, cache=DIR, cache-size=SIZE,
passthrough, memory=SIZE, prefetch=none|meta|all|GLOB, metrics=ADDRESS, slow-op=DURATION, log=FILE,
project=NAME, address=ADDRESS.
";

/// What mount(8) asked for.
#[derive(Debug, PartialEq)]
pub enum Call {
    /// A mount.
    Mount(Box<MountPlan>),
    /// `-h`: print this.
    Help(&'static str),
    /// `-f`: everything but the mount itself.
    Fake,
}

/// Options that mount(8) handles or that say nothing about what is shown.
const GENERIC: [&str; 27] = [
    "defaults",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "auto",
    "noauto",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "sync",
    "async",
    "lazytime",
    "follow",
];

/// Reads the arguments that follow the program's name.
pub fn parse(args: &[String], default_address: &Address) -> Outcome<Call> {
    let mut words = Vec::new();
    let mut options = Vec::new();
    let mut fake = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Call::Help(USAGE)),
            "-o" => {
                let list = args.next().ok_or_else(|| Failure::usage("-o needs options"))?;
                options.extend(split(list).into_iter().filter(|option| !option.is_empty()));
            }
            "-t" | "-N" => drop(args.next()),
            flags if is_flags(flags) => fake |= flags.contains('f'),
            word if word.starts_with('-') => {
                return Err(Failure::usage(format!("unknown option {word:?}")).hint("see --help"));
            }
            word => words.push(word),
        }
    }
    let (spec, dir) = match words[..] {
        [spec, dir] => (spec, dir),
        [dir] if dir.starts_with('/') => ("none", dir),
        _ => {
            return Err(Failure::usage("expected REPO[@REF] and DIR").hint("see --help"));
        }
    };
    let plan = plan(spec, dir, &options, default_address)?;
    Ok(if fake { Call::Fake } else { Call::Mount(Box::new(plan)) })
}

/// `-s`, `-f`, `-n`, `-v` and their combinations.
fn is_flags(arg: &str) -> bool {
    let letters = arg.strip_prefix('-').unwrap_or_default();
    !letters.is_empty() && letters.bytes().all(|b| matches!(b, b's' | b'f' | b'n' | b'v'))
}

/// The options in a list, between its commas; one after a backslash belongs to
/// a value.
fn split(list: &str) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut goes_on = false;
    for part in list.split(',') {
        let before = part.strip_suffix('\\');
        let text = before.unwrap_or(part);
        match options.last_mut().filter(|_| goes_on) {
            Some(last) => last.extend([",", text]),
            None => options.push(text.to_owned()),
        }
        goes_on = before.is_some();
    }
    // No comma followed.
    options.last_mut().filter(|_| goes_on).into_iter().for_each(|last| last.push('\\'));
    options
}

fn plan(spec: &str, dir: &str, options: &[String], address: &Address) -> Outcome<MountPlan> {
    let mut project = ProjectName::default_project();
    let (mut writable, mut more) = (false, Vec::new());
    let mut plan = plain(dir, address);
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "ro" => writable = false,
            "rw" => writable = true,
            "allow_other" => plan.allow_other = true,
            "uid" => plan.uid = Some(number(option, value)?),
            "gid" => plan.gid = Some(number(option, value)?),
            "umask" => plan.umask = Some(octal(value).map_err(Failure::usage)?),
            "commit" => plan.commit = when(option, value)?,
            "resume" => plan.resume.push(transaction(value)?),
            "cache" => plan.cache = Some(PathBuf::from(value)),
            "cache-size" => plan.cache_size = parse_size(value).map_err(Failure::usage)?,
            "passthrough" => plan.passthrough = true,
            "memory" => plan.memory = parse_memory(value).map_err(Failure::usage)?,
            "prefetch" => {
                plan.prefetch = value.parse().map_err(|e| Failure::usage(format!("{e}")))?;
            }
            "metrics" => plan.metrics = Some(address_of(value)?),
            "slow-op" => plan.slow_op = duration(value).map_err(Failure::usage)?,
            "log" => plan.log = Some(PathBuf::from(value)),
            "repo" => more.push(value),
            "project" => project = value.parse()?,
            "address" => {
                plan.address = value.parse().map_err(|e| Failure::usage(format!("{e}")))?;
            }
            name if GENERIC.contains(&name) || name.starts_with("x-") || name == "comment" => {}
            _ => {
                return Err(Failure::usage(format!("unknown mount option {option:?}"))
                    .hint("see mount.pfs --help"));
            }
        }
    }
    let named = [spec].into_iter().filter(|spec| !is_everything(spec));
    for text in named.chain(more) {
        let repo = MountedRepo::parse(text, &project)?;
        // mount(8) says `rw` unless told otherwise, also for what is pinned.
        let branch = repo.reference.as_ref().is_some_and(|r| r.as_branch().is_some());
        plan.repos.push(MountedRepo { writable: repo.writable || writable && branch, ..repo });
    }
    Ok(plan)
}

/// A mount at `dir` without any option.
fn plain(dir: &str, address: &Address) -> MountPlan {
    MountPlan {
        dir: PathBuf::from(dir),
        repos: Vec::new(),
        daemon: true,
        commit: CommitWhen::OnUnmount,
        resume: Vec::new(),
        cache: None,
        cache_size: 20 << 30,
        passthrough: false,
        memory: 512 << 20,
        allow_other: false,
        uid: None,
        gid: None,
        umask: None,
        prefetch: Prefetch::None,
        metrics: None,
        slow_op: Duration::from_secs(1),
        log: None,
        address: address.clone(),
    }
}

/// Whether `spec` names no repo. mount(8) leaves a source out, or names in full
/// what it takes for a file.
fn is_everything(spec: &str) -> bool {
    let named = match spec.starts_with('/') {
        true => Path::new(spec).file_name().and_then(OsStr::to_str).unwrap_or_default(),
        false => spec,
    };
    matches!(named, "" | "all" | "none")
}

fn transaction(text: &str) -> Outcome<TransactionId> {
    text.parse().map_err(|e| Failure::usage(format!("{e}")))
}

fn address_of(text: &str) -> Outcome<HttpAddress> {
    text.parse().map_err(|error: InvalidHttpAddress| Failure::usage(error.to_string()))
}

fn number(option: &str, value: &str) -> Outcome<u32> {
    value.parse().map_err(|_| Failure::usage(format!("{option:?} is no number")))
}

fn when(option: &str, value: &str) -> Outcome<CommitWhen> {
    match value {
        "on-unmount" => Ok(CommitWhen::OnUnmount),
        "explicit" => Ok(CommitWhen::Explicit),
        _ => Err(Failure::usage(format!("{option:?} is neither on-unmount nor explicit"))),
    }
}
