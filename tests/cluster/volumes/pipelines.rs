//! Pipelines that run when a pod's volume is committed.

use serde_json::json;

use super::Volumes;
use crate::pod::Pod;

#[test]
fn what_a_pod_commits_is_processed() {
    let volumes = Volumes::new("pipeline");
    let (repo, out) = (volumes.repo("data"), format!("{}-sums", volumes.name()));
    volumes.server.output(&["delete", "pipeline", &out, "--force"], "");
    let script = format!("wc -l </pfs/{repo}/lines >/pfs/out/count");
    let pipeline = json!({
        "pipeline": {"name": out},
        "transform": {"cmd": ["/bin/busybox", "sh"], "stdin": [script]},
        "input": {"pfs": {"repo": repo, "glob": "/"}},
    });
    volumes.server.pfs_with(&["create", "pipeline", "-f", "-"], &pipeline.to_string());

    let attributes = [("repo", &*repo), ("mode", "rw")];
    let writer = Pod::new("writer", "seq 7 >/data/lines").inline("data", &attributes);
    volumes.run("writer", &writer);
    volumes.server.has(&format!("{out}@master:/count"), "7\n");

    let reader = Pod::new("reader", "cat /sums/count").inline("sums", &[("repo", &out)]);
    assert_eq!(volumes.run("reader", &reader), "7\n");
    volumes.server.pfs(&["delete", "pipeline", &out]);
}
