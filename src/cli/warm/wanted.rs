//! What is to be warm: a part of a mount, or of a commit.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::client::Address;
use crate::cli::prelude::*;
use crate::model::{FileRef, ProjectName, Ref, Repo, RepoKind, TreePath};
use crate::mount::control;
use crate::mount::stats::STATS;
use crate::vfs::xattr::COMMIT;

/// A path in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The repo.
    pub repo: Repo,
    /// The commit; the head of master when there is none.
    pub reference: Option<Ref>,
    /// The path.
    pub path: TreePath,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        if let Some(reference) = &self.reference {
            write!(f, "@{reference}")?;
        }
        write!(f, ":{}", self.path.absolute())
    }
}

/// What was named, and what is known from that.
#[derive(Debug)]
pub struct Wanted {
    /// What is to be warm.
    pub targets: Vec<Target>,
    /// The cache directory of the mount that was named, and how large it may
    /// grow.
    pub cache: Option<(PathBuf, u64)>,
    /// Its server.
    pub address: Option<Address>,
}

impl Wanted {
    /// Reads what was typed: a directory of a mount when there is one of that
    /// name, else a repo.
    pub fn parse(text: &str, project: &ProjectName) -> Outcome<Self> {
        let meant = text.starts_with(['/', '.']);
        match Path::new(text).canonicalize() {
            Ok(dir) => match mount_around(&dir)? {
                Some((mount, address)) => of_mount(&dir, &mount, &address),
                None if meant => Err(Failure::new(format!("{text} is not mounted by pfs"))
                    .hint("see the mounts with: findmnt -t fuse.pfs")),
                None => of_repo(text, project),
            },
            Err(error) if meant => Err(Failure::new(format!("{text}: {error}"))),
            Err(_) => of_repo(text, project),
        }
    }
}

fn of_repo(text: &str, project: &ProjectName) -> Outcome<Wanted> {
    let FileRef { repo, reference, path } = FileRef::parse(text, project)?;
    let path = path.unwrap_or_default();
    let target = Target { repo, reference, path: path.trim_end_matches('/').parse()? };
    Ok(Wanted { targets: vec![target], cache: None, address: None })
}

/// The mount that `dir` is below, and the server it shows.
fn mount_around(dir: &Path) -> Outcome<Option<(PathBuf, String)>> {
    let around = control::mounts()?.into_iter().filter(|(point, _)| dir.starts_with(point));
    Ok(around.max_by_key(|(point, _)| point.components().count()))
}

fn of_mount(dir: &Path, mount: &Path, address: &str) -> Outcome<Wanted> {
    let address = address.parse().map_err(|error| Failure::new(format!("{error}")))?;
    let text = control::read(mount, STATS)?;
    let stats: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))?;
    let cache = cache_of(&stats);
    if cache.is_none() {
        return Err(Failure::new(format!("{} was mounted without --cache", mount.display()))
            .hint("what is fetched would not be kept; mount it with --cache DIR"));
    }
    let shown: Vec<PathBuf> = match dir.strip_prefix(mount) {
        Ok(below) if below.components().next().is_some() => vec![below.to_owned()],
        Ok(_) | Err(_) => std::fs::read_dir(mount)?
            .map(|entry| Ok(entry?.file_name().into()))
            .collect::<io::Result<_>>()?,
    };
    let targets = shown.iter().map(|below| in_mount(mount, below)).collect::<Outcome<Vec<_>>>()?;
    Ok(Wanted { targets: targets.into_iter().flatten().collect(), cache, address: Some(address) })
}

/// The cache directory of a mount that counts so, and its budget.
fn cache_of(stats: &Value) -> Option<(PathBuf, u64)> {
    let disk = &stats["caches"]["disk"];
    let dir = Path::new(disk["directory"].as_str()?).parent()?.to_owned();
    // A mount of a version that did not tell keeps what it has: only it removes.
    Some((dir, disk["budget"].as_u64().unwrap_or(u64::MAX)))
}

/// The commit and the path that `below` shows in the mount; none where a repo
/// has no commit.
fn in_mount(mount: &Path, below: &Path) -> Outcome<Option<Target>> {
    let text = below.to_string_lossy();
    let (top, path) = text.split_once('/').unwrap_or((&text, ""));
    let commit = control::read(&mount.join(top), COMMIT)?;
    if commit.is_empty() {
        return Ok(None);
    }
    let directory = top.split('@').next().unwrap_or(top);
    let (project, name) = match directory.split_once('.') {
        Some((project, name)) => (project.parse()?, name),
        None => (ProjectName::default_project(), directory),
    };
    let repo = Repo { project, name: name.parse()?, kind: RepoKind::User };
    Ok(Some(Target { repo, reference: Some(commit.parse()?), path: path.parse()? }))
}

#[cfg(test)]
mod tests;
