//! A node is gone, with all that ran on it.

use serde_json::{Value, json};

use super::Volumes;
use crate::cluster::eventually;

#[test]
fn what_pods_of_a_lost_node_wrote_is_orphaned() {
    let volumes = Volumes::alone("orphan");
    let node = volumes.cluster().second_node();
    let (repo, pod) = volumes.writer("writer", "onUnmount", "sleep infinity");
    volumes.start(&pod.with("nodeName", json!("pfs-node-2")));
    volumes.written("writer");

    node.lose();
    volumes.cluster().kubectl(&["wait", "node/pfs-node-2", "--for=condition=Ready=Unknown"]);
    eventually("the transaction's lease has lapsed", || {
        let orphaned = |one: &Value| one["state"] == "orphaned";
        volumes.server.transactions(&repo).iter().any(orphaned).then_some(())
    });
    assert_eq!(volumes.server.get(&format!("{repo}@master:/file")), None);
    // Nobody is left who could say that it has ended.
    volumes.kubectl(&["delete", "pod/writer", "--force", "--grace-period=0"]);
}
