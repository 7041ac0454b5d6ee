//! Suites that hammer a file system and check what they read.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Disk, count, is_full, run, tool};
use crate::machine::has_command;

fn beside(name: &str) -> String {
    format!("{}/tests/posix/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn fsx_finds_every_byte_where_it_was_written() {
    let test = "fsx_finds_every_byte_where_it_was_written";
    let Some(fsx) = tool(test, "fsx") else { return };
    let Some(disk) = Disk::new(test) else { return };
    let artifacts = disk.server.dir("artifacts");
    let seeds: &[&str] = if is_full() { &["1", "2", "3", "4"] } else { &["1", "2"] };
    for seed in seeds {
        let file = disk.path(&format!("fsx.{seed}"));
        run(Command::new(&fsx)
            .args(["-f", &beside("fsx.toml"), "-S", seed, "-N", &count(5_000, 100_000), "-P"])
            .arg(&artifacts)
            .arg(&file));
    }
    let sum = |at: &Path| blake3::hash(&fs::read(at).unwrap());
    let before = sum(&disk.path("fsx.1"));
    disk.unmount();
    disk.mount(&[]);
    assert_eq!(sum(&disk.path("fsx.1")), before, "the commit holds what was written");
}

/// What stress-ng does, and how often in short and in long.
const STRESSORS: [(&str, &[&str], u64, u64); 14] = [
    ("hdd", &["--hdd-bytes", "8M"], 200, 2_000),
    ("dir", &[], 200, 4_000),
    ("rename", &[], 2_000, 50_000),
    ("lockf", &[], 5_000, 200_000),
    ("locka", &[], 1_000, 50_000),
    ("lockofd", &[], 1_000, 50_000),
    ("flock", &[], 1_000, 50_000),
    ("mmap", &["--mmap-file", "--mmap-bytes", "2M"], 10, 200),
    ("xattr", &[], 20, 500),
    ("fallocate", &["--fallocate-bytes", "4M"], 10, 200),
    ("link", &[], 30, 500),
    ("utime", &[], 500, 20_000),
    ("dentry", &[], 500, 10_000),
    ("iomix", &["--iomix-bytes", "4M"], 100, 5_000),
];

#[test]
fn stress_ng_finds_nothing_wrong() {
    let test = "stress_ng_finds_nothing_wrong";
    if !has_command(test, "stress-ng") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let dir = disk.dir("stress");
    for (name, options, few, many) in STRESSORS {
        let said = run(Command::new("stress-ng")
            .args(["--verify", "--timeout", "120", "--temp-path"])
            .arg(&dir)
            .args([&format!("--{name}"), "2", &format!("--{name}-ops"), &count(few, many)])
            .args(options));
        assert!(!said.contains("skipped"), "{name}: {said}");
    }
}

#[test]
fn fio_reads_back_what_it_wrote() {
    let test = "fio_reads_back_what_it_wrote";
    if !has_command(test, "fio") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let mut command = Command::new("fio");
    command.arg(format!("--directory={}", disk.dir("fio").display()));
    if is_full() {
        command.arg("--loops=10");
    }
    run(command.arg(beside("verify.fio")).current_dir(disk.server.dir("fio-state")));
}

#[test]
fn dbench_runs_to_its_end() {
    let test = "dbench_runs_to_its_end";
    if !has_command(test, "dbench") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let said = run(Command::new("dbench")
        .args(["-t", &count(3, 60), "-D"])
        .arg(disk.dir("dbench"))
        .args(["-c", "/usr/share/dbench/client.txt", "4"]));
    assert!(said.contains("Throughput"), "{said}");
    assert!(!said.contains("ERROR"), "{said}");
}
