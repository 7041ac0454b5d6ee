//! csi-sanity: what every driver must do.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pfs::cli::csi::ServerVolumes;
use pfs_csi::{Config, Volumes as _};

use super::handshake::Handshake;
use crate::in_process::InProcess;
use crate::machine::{has_fuse, is_root};
use crate::posix::tool;
use crate::server::Server;

/// How many specs end in which way; the suite is pinned. Skipped are those of
/// capabilities that the driver does not declare, pending those that the suite
/// itself has put aside.
const COUNTS: [(&str, usize); 4] = [("Passed", 60), ("Failed", 0), ("Pending", 1), ("Skipped", 42)];

/// `4 Passed` and its like in the last line.
fn counts(said: &str) -> Vec<(&str, usize)> {
    let line = said.lines().rev().find(|line| line.contains(" Passed | ")).expect("a summary");
    let words: Vec<_> = line.split_whitespace().collect();
    let count = |name: &str| {
        let at = words.iter().position(|word| *word == name).expect("a kind of end");
        words[at - 1].parse().expect("a number")
    };
    COUNTS.iter().map(|(name, _)| (*name, count(name))).collect()
}

fn mounts_below(dir: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = |line: &&str| line.contains(dir.to_str().unwrap());
    table.lines().filter(below).map(str::to_owned).collect()
}

/// What the suite says of the driver at `endpoint`; its own files are in `dir`.
fn judged(suite: &Path, endpoint: &Path, dir: &Path) -> Output {
    Command::new(suite)
        .args(["--csi.endpoint", endpoint.to_str().unwrap()])
        .args(["--csi.mountdir", dir.join("mount").to_str().unwrap()])
        .args(["--csi.stagingdir", dir.join("staging").to_str().unwrap()])
        .args(["--csi.testvolumesize", "1048576", "--ginkgo.no-color"])
        .output()
        .unwrap()
}

#[track_caller]
fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(counts(&said), COUNTS, "the counts are pinned:\n{said}");
    assert!(output.status.success());
}

#[test]
fn csi_sanity_passes() {
    let test = "csi_sanity_passes";
    if !is_root(test) || !has_fuse(test) {
        return;
    }
    let Some(suite) = tool(test, "csi-sanity") else { return };
    let server = Server::start();
    let dir = server.dir("csi");
    let endpoint = dir.join("csi.sock");
    let log = File::create(dir.join("csi.log")).unwrap();
    let arguments = ["csi", "--endpoint", endpoint.to_str().unwrap(), "--node-id", "node"];
    let mut driver = server.command(&arguments).stderr(log).spawn().unwrap();
    let output = judged(&suite, &endpoint, &dir);
    kill(Pid::from_raw(i32::try_from(driver.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(driver.wait().unwrap().success());
    let log = std::fs::read_to_string(dir.join("csi.log")).unwrap();
    print!("{log}");
    passed(&output);
    // Nothing is left of what the specs made.
    assert_eq!(mounts_below(&dir), Vec::<String>::new());
    assert!(!endpoint.exists());
    assert_eq!(server.pfs(&["list", "repo"]).lines().count(), 1);
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_passes_whatever_the_agent() {
    let test = "csi_sanity_passes_whatever_the_agent";
    if !is_root(test) || !has_fuse(test) {
        return;
    }
    let Some(suite) = tool(test, "csi-sanity") else { return };
    let server = InProcess::start().await;
    let scratch = tempfile::Builder::new().prefix("pfs-csi.").tempdir().unwrap();
    let (volumes, agent) =
        (Arc::new(ServerVolumes::new(server.client().await)), Arc::new(Handshake::default()));
    let config = Config {
        endpoint: scratch.path().join("csi.sock"),
        node_id: "node".to_owned(),
        max_volumes: 0,
        kubelet_dir: None,
        version: "0".to_owned(),
    };
    let (endpoint, dir) = (config.endpoint.clone(), scratch.path().to_owned());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let driver = tokio::spawn(pfs_csi::serve(config, volumes.clone(), agent.clone(), until));
    let judge = tokio::task::spawn_blocking(move || judged(&suite, &endpoint, &dir));
    passed(&judge.await.unwrap());
    stop.send(()).unwrap();
    driver.await.unwrap().unwrap();
    // Nothing is left of what the specs made.
    assert_eq!(mounts_below(scratch.path()), Vec::<String>::new());
    assert_eq!(agent.count(), 0);
    agent.join();
    assert!(volumes.volumes().await.unwrap().is_empty());
    assert!(volumes.snapshots().await.unwrap().is_empty());
    server.stop().await;
}

#[test]
fn a_summary_is_read() {
    let said = "\n\x1bFAIL! -- 3 Passed | 1 Failed | 0 Pending | 2 Skipped\n--- FAIL\n";
    let expected = [("Passed", 3), ("Failed", 1), ("Pending", 0), ("Skipped", 2)];
    assert_eq!(counts(said), expected);
}
