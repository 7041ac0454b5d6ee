//! How much memory the control groups of this process leave to it, where it
//! runs in any of version 2.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Where they are: alone, or beside those of version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How many bytes; `None` where nothing limits them.
#[must_use]
pub fn free() -> Option<u64> {
    let table = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut roots = ROOTS.iter().map(Path::new);
    let root = roots.find(|root| root.join("cgroup.controllers").exists())?;
    free_in(root, &table)
}

/// The limit of the group of this process and those around it, in bytes; `None`
/// where there is none.
#[must_use]
pub fn limit() -> Option<u64> {
    let table = fs::read_to_string("/proc/self/cgroup").ok()?;
    let root = ROOTS.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists())?;
    limit_in(root, &table)
}

/// What the group that `table` names below `root`, and those around it, leave.
fn free_in(root: &Path, table: &str) -> Option<u64> {
    groups(root, table)?.iter().filter_map(|group| left(group)).min()
}

fn limit_in(root: &Path, table: &str) -> Option<u64> {
    groups(root, table)?.iter().filter_map(|group| most(group)).min()
}

/// The group that `table` names, and those around it.
fn groups(root: &Path, table: &str) -> Option<Vec<PathBuf>> {
    let own = table.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // A container may see its own group as the root, and not the path to it.
    let own = root.join(own);
    Some(own.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_owned).collect())
}

fn number(group: &Path, file: &str) -> Option<u64> {
    // A limit that is none is a word.
    fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

fn most(group: &Path) -> Option<u64> {
    ["memory.max", "memory.high"].into_iter().filter_map(|file| number(group, file)).min()
}

fn left(group: &Path) -> Option<u64> {
    let most = most(group)?;
    // What was read of files and not again is given back before anything else.
    let given_back = fs::read_to_string(group.join("memory.stat")).ok().and_then(|table| {
        let line = table.lines().find_map(|line| line.strip_prefix("inactive_file "))?;
        line.trim().parse::<u64>().ok()
    });
    let used = number(group, "memory.current")?.saturating_sub(given_back.unwrap_or(0));
    Some(most.saturating_sub(used))
}
