//! What is installed on the cluster before volumes are, once for all tests.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, checkout, eventually, programs};
use crate::namespace::Namespace;
use crate::server::Server;

static SNAPSHOTS: OnceLock<()> = OnceLock::new();
static PYTHON: OnceLock<()> = OnceLock::new();
static PFS: OnceLock<Result<Server, String>> = OnceLock::new();

/// Has the node know the image of Python that `scripts/python-image.sh` makes.
pub fn python(cluster: &Cluster) {
    PYTHON.get_or_init(|| {
        let image = std::env::var("PFS_CLUSTER_PYTHON");
        cluster.load(&image.expect("PFS_CLUSTER_PYTHON, as scripts/test-cluster.sh sets it"));
    });
}

/// All of pfs, as an operator installs it.
pub fn pfs(cluster: &Cluster) -> &'static Server {
    let installed = PFS.get_or_init(|| {
        snapshots(cluster);
        let overlay = checkout().join("tests/cluster/overlay").display().to_string();
        cluster.kubectl(&["apply", "-k", &overlay]);
        rolled_out(cluster)?;
        Ok(Server::of(cluster))
    });
    // The others would wait as long for the same.
    installed.as_ref().unwrap_or_else(|error| panic!("pfs is not installed: {error}"))
}

/// What pfs consists of.
const PARTS: [&str; 5] = [
    "deployment/pfs-server",
    "daemonset/pfs-keeper",
    "daemonset/pfs-agent",
    "daemonset/pfs-csi",
    "deployment/pfs-csi-controller",
];

/// Waits until every part runs, and kubelet knows the driver.
fn rolled_out(cluster: &Cluster) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let missing = || PARTS.iter().find(|part| !runs(cluster, part));
    let unknown = || {
        let wanted = "-ojsonpath={.items[*].spec.drivers[*].name}";
        !cluster.kubectl(&["get", "csinode", wanted]).contains("csi.pfs.internal")
    };
    while let Some(part) = missing().or_else(|| unknown().then_some(&"kubelet")) {
        if Instant::now() > deadline {
            let pods = cluster.output(&["-npfs", "describe", "pods"], "");
            let all = ["logs", "--selector=!none", "--all-containers", "--prefix", "--tail=40"];
            let logs = cluster.output(&[&["-npfs"], &all[..]].concat(), "");
            let said = [pods.stdout, logs.stdout].concat();
            return Err(format!("{part} is not ready: {}", String::from_utf8_lossy(&said)));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Whether all pods of a part, in the namespace of pfs, are ready and of its newest
/// version.
pub fn runs(cluster: &Cluster, part: &str) -> bool {
    let found: Value =
        serde_json::from_str(&cluster.kubectl(&["-npfs", "get", part, "-ojson"])).unwrap();
    let status = &found["status"];
    let (wanted, counts) = match part.starts_with("daemonset/") {
        true => (&status["desiredNumberScheduled"], ["numberReady", "updatedNumberScheduled"]),
        false => (&found["spec"]["replicas"], ["readyReplicas", "updatedReplicas"]),
    };
    wanted.as_u64() > Some(0)
        && status["observedGeneration"] == found["metadata"]["generation"]
        && counts.iter().all(|count| &status[*count] == wanted)
        && status["unavailableReplicas"].is_null()
}

/// The kinds of snapshots and their controller, and the images of the programs
/// that stand beside a driver's controller.
pub fn snapshots(cluster: &Cluster) {
    SNAPSHOTS.get_or_init(|| {
        cluster.load_sidecars();
        for part in ["snapshots-crd", "snapshot-controller-deploy"] {
            cluster.kubectl(&["apply", "-k", &programs().join(part).display().to_string()]);
        }
        let kinds = "--for=condition=Established";
        cluster.kubectl(&["wait", "crd", "--all", kinds, "--timeout=60s"]);
        let one = json!({"spec": {"replicas": 1, "minReadySeconds": 0}}).to_string();
        let controller = ["-nkube-system", "patch", "deployment/snapshot-controller"];
        cluster.kubectl(&[&controller[..], &["-p", &one]].concat());
    });
}

#[test]
fn snapshots_are_looked_after() {
    let namespace = Namespace::new("snapshots");
    snapshots(namespace.cluster());
    namespace.apply(
        r#"
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: nobodys}
driver: nobody.pfs.internal
deletionPolicy: Delete
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: early}
spec:
  volumeSnapshotClassName: nobodys
  source: {persistentVolumeClaimName: missing}
"#,
    );
    let error = eventually("the controller says that there is no such claim", || {
        let snapshot = namespace.get("volumesnapshot/early");
        snapshot["status"]["error"]["message"].as_str().map(str::to_owned)
    });
    assert!(error.contains("cannot get claim"), "{error}");
    namespace.delete("volumesnapshot/early");
    namespace.cluster().kubectl(&["delete", "volumesnapshotclass/nobodys"]);
}
