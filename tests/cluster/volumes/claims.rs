//! Volumes that outlive pods: made by hand, made for a claim, from a snapshot,
//! from another claim.

use serde_json::{Value, json};

use super::Volumes;
use crate::cluster::eventually;
use crate::pod::Pod;

/// Reads all that a claim has, as `name=content` lines.
const READS: &str = "cd /data; for file in *; do echo $file=$(cat $file); done";

impl Volumes {
    /// Asks for storage; `more` is what the claim says besides.
    #[track_caller]
    pub(super) fn claim(&self, name: &str, class: &str, more: &Value) {
        let mut spec = json!({
            "storageClassName": class,
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        });
        let more = more.as_object().into_iter().flatten();
        more.for_each(|(name, value)| spec[name] = value.clone());
        let (kind, metadata) = ("PersistentVolumeClaim", json!({"name": name}));
        let claim = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec});
        self.apply(&claim.to_string());
    }

    /// Waits until a claim has a volume; returns its branch, as `repo@branch`.
    #[track_caller]
    pub(super) fn branch_of(&self, claim: &str) -> String {
        self.wait(&format!("pvc/{claim}"), "jsonpath={.status.phase}=Bound");
        let found = self.get(&format!("pvc/{claim}"));
        let volume = found["spec"]["volumeName"].as_str().unwrap();
        let attributes = &self.get(&format!("pv/{volume}"))["spec"]["csi"]["volumeAttributes"];
        let text = |name: &str| attributes[name].as_str().unwrap_or("master").to_owned();
        format!("{}@{}", text("repo"), text("ref"))
    }

    /// A class whose claims are branches of `repo`; gone with the answer.
    #[track_caller]
    pub(super) fn class(&self, repo: &str) -> Class<'_> {
        let name = format!("{repo}-class");
        self.apply(
            &json!({
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name},
                "provisioner": "csi.pfs.internal",
                "parameters": {"repo": repo},
            })
            .to_string(),
        );
        Class(self, name)
    }

    /// Takes a snapshot of a claim and waits until it can be used.
    #[track_caller]
    fn snapshot(&self, name: &str, claim: &str) {
        self.apply(
            &json!({
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": name},
                "spec": {
                    "volumeSnapshotClassName": "pfs",
                    "source": {"persistentVolumeClaimName": claim},
                },
            })
            .to_string(),
        );
        self.wait(&format!("volumesnapshot/{name}"), "jsonpath={.status.readyToUse}=true");
    }

    /// Writes into a claim and waits until that is a commit.
    #[track_caller]
    fn write(&self, claim: &str, pod: &str, file: &str, content: &str) {
        let script = format!("echo {content} >/data/{file}");
        self.run(pod, &Pod::new(pod, &script).claim("data", claim));
        let branch = self.branch_of(claim);
        self.server.has(&format!("{branch}:/{file}"), &format!("{content}\n"));
    }

    /// All that a claim has.
    #[track_caller]
    fn read(&self, claim: &str, pod: &str) -> String {
        self.run(pod, &Pod::new(pod, READS).claim("data", claim))
    }
}

/// A class of storage, which is in no namespace.
pub(super) struct Class<'v>(&'v Volumes, pub String);

impl Drop for Class<'_> {
    fn drop(&mut self) {
        let name = format!("storageclass/{}", self.1);
        self.0.cluster().output(&["delete", &name, "--wait=false"], "");
    }
}

#[test]
fn a_volume_made_by_hand_shows_a_repo_to_several_pods() {
    let volumes = Volumes::new("static");
    let repo = volumes.repo("data");
    volumes.server.put(&format!("{repo}@master:/dir/file"), "shown");
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": repo},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "csi": {
                "driver": "csi.pfs.internal",
                "volumeHandle": repo,
                "readOnly": true,
                "volumeAttributes": {"repo": repo, "path": "dir"},
            },
        },
    });
    volumes.apply(&volume.to_string());
    volumes.claim("data", "", &json!({"volumeName": repo, "accessModes": ["ReadOnlyMany"]}));
    for name in ["first", "second"] {
        volumes.start(&Pod::new(name, READS).claim("data", "data"));
    }
    for name in ["first", "second"] {
        assert_eq!(volumes.ended(name), "Succeeded");
        assert_eq!(volumes.logs(name), "file=shown\n");
    }
    volumes.kubectl(&["delete", "pods", "--all"]);
    volumes.delete("pvc/data");
    volumes.delete(&format!("pv/{repo}"));
    assert_eq!(volumes.server.get(&format!("{repo}@master:/dir/file")).unwrap(), "shown");
}

#[test]
fn a_claim_is_a_repo_that_goes_with_it() {
    let volumes = Volumes::new("dynamic");
    volumes.claim("data", "pfs", &Value::Null);
    let branch = volumes.branch_of("data");
    volumes.write("data", "writer", "file", "kept");
    assert_eq!(volumes.read("data", "reader"), "file=kept\n");
    volumes.kubectl(&["delete", "pods", "--all"]);
    volumes.delete("pvc/data");
    let repo = branch.split('@').next().unwrap();
    eventually("the repo is gone", || {
        (!volumes.server.output(&["inspect", "repo", repo], "").status.success()).then_some(())
    });
}

#[test]
fn a_claim_of_a_class_with_a_repo_is_a_branch_of_it() {
    let volumes = Volumes::new("branch");
    let repo = volumes.repo("data");
    volumes.server.put(&format!("{repo}@master:/base"), "base");
    let class = volumes.class(&repo);
    volumes.claim("data", &class.1, &Value::Null);
    volumes.write("data", "writer", "more", "more");
    assert_eq!(volumes.read("data", "reader"), "base=base\nmore=more\n");
    assert_eq!(volumes.server.get(&format!("{repo}@master:/more")), None);
    let branch = volumes.branch_of("data");
    assert!(branch.starts_with(&format!("{repo}@pvc-")), "{branch}");
}

#[test]
fn a_snapshot_is_restored_and_a_claim_is_cloned_without_the_later_changes() {
    let volumes = Volumes::new("restore");
    volumes.claim("data", "pfs", &Value::Null);
    volumes.write("data", "early", "early", "1");
    volumes.snapshot("then", "data");
    volumes.write("data", "late", "late", "2");

    let group = "snapshot.storage.k8s.io";
    let snapshot = json!({"apiGroup": group, "kind": "VolumeSnapshot", "name": "then"});
    volumes.claim("restored", "pfs", &json!({"dataSource": snapshot}));
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "data"});
    volumes.claim("cloned", "pfs", &json!({"dataSource": claim}));

    assert_eq!(volumes.read("restored", "restored"), "early=1\n");
    assert_eq!(volumes.read("cloned", "cloned"), "early=1\nlate=2\n");
    volumes.write("cloned", "apart", "apart", "3");
    assert_eq!(volumes.read("data", "origin"), "early=1\nlate=2\n");

    // The claim that the others were made from goes first.
    volumes.kubectl(&["delete", "pods", "--all"]);
    volumes.delete("pvc/data");
    assert_eq!(volumes.read("restored", "restored-again"), "early=1\n");
    volumes.kubectl(&["delete", "pods", "--all"]);
    volumes.kubectl(&["delete", "pvc", "--all"]);
    volumes.delete("volumesnapshot/then");
}
