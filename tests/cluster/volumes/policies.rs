//! What becomes of what a pod wrote.

use std::fs;

use serde_json::json;

use super::Volumes;
use crate::cluster::eventually;
use crate::pod::Pod;

/// A pod that writes `/out/file` into a repo of its own, and how it ends.
struct Case {
    name: &'static str,
    commit: &'static str,
    ends: &'static str,
    /// Why nothing is published, if nothing is.
    refused: Option<&'static str>,
}

const fn case(
    name: &'static str,
    commit: &'static str,
    ends: &'static str,
    refused: Option<&'static str>,
) -> Case {
    Case { name, commit, ends, refused }
}

const CASES: [Case; 7] = [
    case("succeeds", "onSuccess", "exit 0", None),
    case("fails", "onSuccess", "exit 1", Some("exit code 1")),
    case("marks", "onMarker", "touch /out/_SUCCESS; exit 1", None),
    case("marks-not", "onMarker", "exit 0", Some("_SUCCESS")),
    case("says-nothing", "explicit", "exit 0", Some("nobody has committed")),
    case("unmounts", "onUnmount", "exit 1", None),
    case("at-intervals", "interval=1h", "exit 1", None),
];

impl Volumes {
    /// A pod of that name that writes `/out/file` into a repo of its own, then
    /// goes on with a script.
    pub(super) fn writer(&self, name: &str, commit: &str, script: &str) -> (String, Pod) {
        let repo = self.repo(name);
        let attributes = [("repo", &*repo), ("mode", "rw"), ("commit", commit)];
        let pod = Pod::new(name, &format!("echo {name} >/out/file; {script}"));
        let pod = pod.inline("out", &attributes);
        (repo, pod)
    }

    /// Nothing of the repo's only transaction was published; why not.
    #[track_caller]
    fn gave_up(&self, repo: &str) -> String {
        let over = self.server.settled(repo);
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!(over[0]["state"], "aborted", "{over:?}");
        assert_eq!(self.server.get(&format!("{repo}@master:/file")), None);
        over[0]["reason"].as_str().unwrap().to_owned()
    }

    /// The repo of a pod has its file.
    #[track_caller]
    fn published(&self, repo: &str, name: &str) {
        self.server.has(&format!("{repo}@master:/file"), &format!("{name}\n"));
    }

    /// Waits until a pod's container has written its file.
    #[track_caller]
    pub(super) fn written(&self, name: &str) {
        self.ready(name);
        eventually(&format!("pod {name} has written"), || {
            let there = ["exec", name, "--", "cat", "/out/file"];
            let asked = [&["--namespace", self.namespace.name()], &there[..]].concat();
            self.cluster().output(&asked, "").status.success().then_some(())
        });
    }
}

#[test]
fn every_policy_publishes_when_it_says() {
    let volumes = Volumes::new("policies");
    let started: Vec<_> = CASES
        .iter()
        .map(|case| {
            let (repo, pod) = volumes.writer(case.name, case.commit, case.ends);
            volumes.start(&pod);
            (case, repo)
        })
        .collect();
    for (case, repo) in started {
        volumes.ended(case.name);
        match case.refused {
            None => volumes.published(&repo, case.name),
            Some(why) => {
                let reason = volumes.gave_up(&repo);
                assert!(reason.contains(why), "{}: {reason}", case.name);
            }
        }
    }
}

#[test]
fn a_program_commits_when_it_likes() {
    let volumes = Volumes::new("explicit");
    let (repo, writer) = volumes.writer("writer", "explicit", "exit 0");
    let commit = ["/pfs", "commit", "/out", "-m", "by hand"];
    volumes.start(&writer.then("pfs:dev", &commit));
    assert_eq!(volumes.ended("writer"), "Succeeded", "{}", volumes.logs("writer"));
    volumes.published(&repo, "writer");
    assert_eq!(volumes.server.commits(&format!("{repo}@master"))[0]["description"], "by hand");
}

#[test]
fn what_is_written_is_committed_now_and_then_while_the_pod_runs() {
    let volumes = Volumes::new("interval");
    let stays = "until [ -e /tmp/over ]; do sleep 0.1; done; echo last >/out/last";
    let (repo, pod) = volumes.writer("writer", "interval=1s", stays);
    volumes.start(&pod);
    volumes.ready("writer");
    volumes.published(&repo, "writer");
    volumes.exec("writer", &["touch", "/tmp/over"]);
    assert_eq!(volumes.ended("writer"), "Succeeded");
    volumes.server.has(&format!("{repo}@master:/last"), "last\n");
}

#[test]
fn nothing_is_published_of_a_pod_that_was_ended() {
    let volumes = Volumes::new("ended");
    let goes_on = "while :; do echo more >>/out/more; done";
    let (deleted, pod) = volumes.writer("deleted", "onSuccess", goes_on);
    volumes.start(&pod);
    let (evicted, pod) = volumes.writer("evicted", "onSuccess", goes_on);
    volumes.start(&pod);
    let (late, pod) = volumes.writer("late", "onSuccess", goes_on);
    volumes.start(&pod.with("activeDeadlineSeconds", json!(3)));
    // It is killed for its memory, in the middle of it.
    let (hungry, pod) =
        volumes.writer("hungry", "onSuccess", "exec dd if=/dev/zero of=/dev/null bs=256M");
    volumes.start(&pod.container("resources", json!({"limits": {"memory": "24Mi"}})));

    volumes.written("deleted");
    volumes.delete("pod/deleted");
    volumes.gave_up(&deleted);
    volumes.written("evicted");
    evict(&volumes, "evicted");
    volumes.gave_up(&evicted);
    assert_eq!(volumes.ended("late"), "Failed");
    let reason = volumes.gave_up(&late);
    assert!(reason.contains("DeadlineExceeded"), "{reason}");
    assert_eq!(volumes.ended("hungry"), "Failed");
    let reason = volumes.gave_up(&hungry);
    assert!(reason.contains("exit code 137"), "{reason}");
}

/// Has a pod leave as `kubectl drain` does.
fn evict(volumes: &Volumes, pod: &str) {
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": volumes.name()},
    });
    let place = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", volumes.name());
    let create = ["create", "--raw", &place, "-f-"];
    volumes.cluster().kubectl_with(&create, &eviction.to_string());
    volumes.wait(&format!("pod/{pod}"), "delete");
}

#[test]
fn a_pod_that_is_tried_again_starts_afresh() {
    let volumes = Volumes::new("again");
    let repo = volumes.repo("out");
    let attributes = [("repo", &*repo), ("mode", "rw")];
    // What it leaves beside the volume tells the second pod that it is that.
    let script = "ls /out; echo $((1 + $(cat /seen/count 2>/dev/null || echo 0))) >/seen/count
        cp /seen/count /out/try; grep -q 2 /seen/count";
    let place = format!("/run/{repo}");
    // A cluster that stays has it from the run before.
    let _ = fs::remove_dir_all(&place);
    let pod = Pod::new("tried", script)
        .inline("out", &attributes)
        .volume("seen", "hostPath", json!({"path": place, "type": "DirectoryOrCreate"}))
        .with("securityContext", json!({"runAsUser": 0}));
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tried"},
        "spec": {"backoffLimit": 2, "template": pod.template()},
    });
    volumes.apply(&job.to_string());
    volumes.wait("job/tried", "condition=Complete");
    volumes.server.has(&format!("{repo}@master:/try"), "2\n");
    let states: Vec<_> =
        volumes.server.settled(&repo).iter().map(|one| one["state"].to_string()).collect();
    assert!(states.iter().any(|state| state.contains("aborted")), "{states:?}");
    assert_eq!(volumes.server.commits(&format!("{repo}@master")).len(), 1);
}
