//! Volumes that follow a branch.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Volumes;
use crate::cluster::PATIENCE;
use crate::pod::Pod;

/// Counts what it reads: a change is seen whole or not at all.
const READER: &str = r#"
cat /model/version
until [ -e /tmp/over ]; do
  read -r before </model/version
  echo $before >/tmp/version
done
"#;

impl Volumes {
    /// Where the node has a pod's volume: the mount that the pod sees.
    #[track_caller]
    pub(super) fn on_node(&self, pod: &str, volume: &str) -> PathBuf {
        let found = self.get(&format!("pod/{pod}"));
        let uid = found["metadata"]["uid"].as_str().unwrap();
        let kind = "volumes/kubernetes.io~csi";
        PathBuf::from(format!("/var/lib/kubelet/pods/{uid}/{kind}/{volume}/mount"))
    }
}

/// How long after `begun` a file has that content.
#[track_caller]
fn until(file: &PathBuf, content: &str, begun: Instant) -> Duration {
    while fs::read_to_string(file).unwrap() != content {
        assert!(begun.elapsed() < PATIENCE, "{} is not {content:?}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

#[test]
fn a_pod_that_follows_sees_the_head_move_and_go_back() {
    let volumes = Volumes::new("follows");
    let repo = volumes.repo("model");
    let (master, next) = (format!("{repo}@master"), format!("{repo}@next"));
    volumes.server.put(&format!("{master}:/version"), "1\n");
    let attributes = [("repo", &*repo), ("follow", "true")];
    volumes.start(&Pod::new("reader", READER).inline("model", &attributes));
    volumes.ready("reader");
    let shown = volumes.on_node("reader", "model").join("version");
    let in_pod = |content: &str| {
        crate::cluster::eventually(&format!("the pod reads {content}"), || {
            let said = volumes.exec("reader", &["cat", "/tmp/version"]);
            (said.trim() == content).then_some(())
        });
    };
    in_pod("1");

    let mut taken = Vec::new();
    for version in 2..=11 {
        let content = format!("{version}\n");
        volumes.server.pfs(&["create", "branch", &next, "--head", &master]);
        volumes.server.put(&format!("{next}:/version"), &content);
        // From before the command that moves it has been started.
        let begun = Instant::now();
        volumes.server.pfs(&["create", "branch", &master, "--head", &next]);
        taken.push(until(&shown, &content, begun));
    }
    in_pod("11");
    let begun = Instant::now();
    volumes.server.pfs(&["create", "branch", &master, "--head", &format!("{master}~10")]);
    let back = until(&shown, "1\n", begun);
    in_pod("1");
    taken.sort();
    let (median, longest) = (taken[taken.len() / 2], taken[taken.len() - 1]);
    eprintln!("figure: head moved, seen after {median:?} (longest {longest:?}, back {back:?})");

    volumes.exec("reader", &["touch", "/tmp/over"]);
    assert_eq!(volumes.ended("reader"), "Succeeded");
    assert_eq!(volumes.logs("reader"), "1\n");
}

#[test]
fn a_pod_that_follows_an_empty_repo_sees_its_first_commit() {
    let volumes = Volumes::new("first");
    let repo = volumes.repo("model");
    let attributes = [("repo", &*repo), ("follow", "true")];
    let script = "until [ -e /model/version ]; do sleep 0.1; done; cat /model/version";
    volumes.start(&Pod::new("reader", script).inline("model", &attributes));
    volumes.ready("reader");
    volumes.server.put(&format!("{repo}@master:/version"), "1");
    assert_eq!(volumes.ended("reader"), "Succeeded");
    assert_eq!(volumes.logs("reader"), "1");
}
