//! Volumes that stand in the manifest of a pod.

use serde_json::json;

use super::Volumes;
use crate::pod::Pod;

#[test]
fn a_pod_reads_a_commit_and_cannot_write() {
    let volumes = Volumes::new("reads");
    let repo = volumes.repo("data");
    volumes.server.put(&format!("{repo}@master:/dir/file"), "first");
    let script = "cat /data/dir/file; id -u; echo x 2>/dev/null >/data/new || echo refused";
    let whole = Pod::new("whole", script).inline("data", &[("repo", &repo)]);
    assert_eq!(volumes.run("whole", &whole), "first1000\nrefused\n");

    let attributes = [("repo", &*repo), ("ref", "master"), ("path", "/dir")];
    let part = Pod::new("part", "ls /data; cat /data/file").inline("data", &attributes);
    assert_eq!(volumes.run("part", &part), "file\nfirst");
}

#[test]
fn a_volume_shows_what_was_the_head_when_it_was_mounted() {
    let volumes = Volumes::new("pinned");
    let repo = volumes.repo("data");
    let file = format!("{repo}@master:/file");
    volumes.server.put(&file, "old");
    let script = "until [ -e /tmp/go ]; do sleep 0.1; done; cat /data/file";
    volumes.start(&Pod::new("reader", script).inline("data", &[("repo", &repo)]));
    volumes.ready("reader");
    volumes.server.put(&file, "new");
    volumes.exec("reader", &["touch", "/tmp/go"]);
    assert_eq!(volumes.ended("reader"), "Succeeded");
    assert_eq!(volumes.logs("reader"), "old");
}

#[test]
fn what_a_pod_wrote_is_one_commit_once_it_has_succeeded() {
    let volumes = Volumes::new("writes");
    let repo = volumes.repo("out");
    volumes.server.put(&format!("{repo}@master:/kept"), "kept");
    let attributes = [("repo", &*repo), ("mode", "rw"), ("message", "by a pod")];
    let script = "cat /out/kept; mkdir /out/dir; echo made >/out/dir/file; mv /out/kept /out/moved";
    let writer = Pod::new("writer", script).inline("out", &attributes);
    assert_eq!(volumes.run("writer", &writer), "kept");

    volumes.server.has(&format!("{repo}@master:/dir/file"), "made\n");
    volumes.server.has(&format!("{repo}@master:/moved"), "kept");
    assert_eq!(volumes.server.get(&format!("{repo}@master:/kept")), None);
    let commits = volumes.server.commits(&format!("{repo}@master"));
    assert_eq!(commits.len(), 2);
    assert_eq!(commits[0]["description"], "by a pod");
}

#[test]
fn nothing_is_published_of_a_pod_that_has_failed_and_it_can_be_looked_at() {
    let volumes = Volumes::new("fails");
    let repo = volumes.repo("out");
    volumes.server.put(&format!("{repo}@master:/kept"), "kept");
    let attributes = [("repo", &*repo), ("mode", "rw"), ("commit", "onSuccess")];
    let script = "echo half >/out/half; exit 3";
    volumes.start(&Pod::new("writer", script).inline("out", &attributes));
    assert_eq!(volumes.ended("writer"), "Failed");

    let over = volumes.server.settled(&repo);
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!(over[0]["state"], "aborted");
    let reason = over[0]["reason"].as_str().unwrap();
    assert!(reason.contains("exit code 3"), "{reason}");
    assert!(over[0]["owner"].as_str().unwrap().contains(volumes.name()), "{over:?}");
    assert_eq!(volumes.server.get(&format!("{repo}@master:/half")), None);
    assert_eq!(volumes.server.commits(&format!("{repo}@master")).len(), 1);
}

#[test]
fn files_have_the_group_that_a_pod_asks_for() {
    let volumes = Volumes::new("group");
    let repo = volumes.repo("out");
    volumes.server.put(&format!("{repo}@master:/file"), "old");
    let attributes = [("repo", &*repo), ("mode", "rw")];
    let script = "stat -c %g /out /out/file; echo new >/out/file; echo more >/out/more";
    let user = json!({"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 2000});
    let writer =
        Pod::new("writer", script).inline("out", &attributes).with("securityContext", user);
    assert_eq!(volumes.run("writer", &writer), "2000\n2000\n");
    volumes.server.has(&format!("{repo}@master:/file"), "new\n");
    volumes.server.has(&format!("{repo}@master:/more"), "more\n");
}
