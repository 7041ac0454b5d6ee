//! How much memory the control groups of this process leave to it, where it
//! runs in any of version 2.

use std::fs;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Where they are: alone, or beside those of version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How many bytes; `None` where nothing limits them.
pub(super) fn free() -> Option<u64> {
    let table = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut roots = ROOTS.iter().map(Path::new);
    let root = roots.find(|root| root.join("cgroup.controllers").exists())?;
    free_in(root, &table)
}

/// What the group that `table` names below `root`, and those around it, leave.
fn free_in(root: &Path, table: &str) -> Option<u64> {
    let own = table.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // A container may see its own group as the root, and not the path to it.
    let own = root.join(own);
    own.ancestors().take_while(|group| group.starts_with(root)).filter_map(left).min()
}

fn left(group: &Path) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok();
    // A limit that is none is a word.
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    let most = ["memory.max", "memory.high"].into_iter().filter_map(number).min()?;
    // What was read of files and not again is given back before anything else.
    let given_back = read("memory.stat").and_then(|table| {
        let line = table.lines().find_map(|line| line.strip_prefix("inactive_file "))?;
        line.trim().parse::<u64>().ok()
    });
    let used = number("memory.current")?.saturating_sub(given_back.unwrap_or(0));
    Some(most.saturating_sub(used))
}
