//! What is installed on the cluster before volumes are, once for all tests.

use std::sync::OnceLock;

use serde_json::json;

use crate::cluster::{Cluster, eventually, programs};
use crate::namespace::Namespace;

static SNAPSHOTS: OnceLock<()> = OnceLock::new();

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
