//! What operators apply.

use crate::cluster::{Cluster, checkout};
use crate::install::snapshots;

#[test]
fn the_manifests_are_accepted() {
    let cluster = Cluster::shared();
    snapshots(&cluster);
    // What is in a namespace can only be asked about when that is there.
    cluster.output(&["create", "namespace", "pfs"], "");
    let overlay = checkout().join("tests/cluster/overlay").display().to_string();
    let said = cluster.kubectl(&["apply", "-k", &overlay, "--dry-run=server"]);
    for object in [
        "deployment.apps/pfs-server",
        "daemonset.apps/pfs-agent",
        "daemonset.apps/pfs-keeper",
        "daemonset.apps/pfs-csi",
        "deployment.apps/pfs-csi-controller",
        "csidriver.storage.k8s.io/csi.pfs.internal",
        "volumesnapshotclass.snapshot.storage.k8s.io/pfs",
    ] {
        assert!(said.contains(object), "no {object}:\n{said}");
    }
}
