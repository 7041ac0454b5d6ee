//! pjdfstest: what each system call on names and attributes must do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{Disk, tool};
use crate::machine::is_root;

/// The most patterns there may be.
const EXCLUSIONS_MAX: usize = 10;

/// How many cases pass, fail and are skipped; the suite is pinned.
const COUNTS: [(&str, usize); 3] = [("ok", 208), ("FAILED", 176), ("skipped", 14)];

fn exclusions() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("pjdfstest.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let split = |line: &'static str| line.split_once(' ').map(|(p, why)| (p, why.trim()));
    lines.map(|line| split(line).expect("a pattern and a reason")).collect()
}

/// Whether `name` is `pattern`, in which one `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => name == pattern,
    }
}

/// What became of each case.
fn outcomes(said: &str) -> BTreeMap<&str, &str> {
    let mut words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = BTreeMap::new();
    for line in &mut words {
        if let [name, outcome @ ("ok" | "FAILED" | "skipped")] = line[..] {
            found.insert(name, outcome);
        }
    }
    found
}

#[test]
fn pjdfstest_passes_but_for_what_repos_do_not_hold() {
    let test = "pjdfstest_passes_but_for_what_repos_do_not_hold";
    if !is_root(test) {
        return;
    }
    let Some(suite) = tool(test, "pjdfstest") else { return };
    let Some(disk) = Disk::with(test, |_| {}, &["--allow-other"]) else { return };
    disk.open_to_all();
    let dir = disk.dir("suite");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/posix/pjdfstest.toml");
    let output = Command::new(suite)
        .args(["-c", config.to_str().unwrap(), "-p", dir.to_str().unwrap()])
        .args(["-s", disk.server.dir("other").to_str().unwrap()])
        .env("RUST_BACKTRACE", "0")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let found = outcomes(&said);
    let exclusions = exclusions();
    assert!(exclusions.len() <= EXCLUSIONS_MAX);
    let failed: Vec<_> = found.iter().filter(|(_, o)| **o == "FAILED").map(|(n, _)| *n).collect();
    for (pattern, _) in &exclusions {
        assert!(failed.iter().any(|name| matches(pattern, name)), "{pattern} excuses nothing");
    }
    let excused = |name: &str| exclusions.iter().any(|(pattern, _)| matches(pattern, name));
    let wrong: Vec<_> = failed.iter().filter(|name| !excused(name)).collect();
    assert!(wrong.is_empty(), "{wrong:?} failed:\n{said}");
    let counts = COUNTS
        .map(|(outcome, _)| (outcome, found.values().filter(|found| **found == outcome).count()));
    assert_eq!(counts, COUNTS, "the counts are pinned");
}
