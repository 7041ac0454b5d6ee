//! Parts of the node end without warning; pods go on.

use crate::cluster::{Part, eventually};
use crate::namespace::Namespace;

const COUNTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "n=0; while :; do n=$((n+1)); echo $n >/tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"]
"#;

#[test]
fn pods_outlive_a_killed_kubelet() {
    outlive(Part::Kubelet);
}

#[test]
fn pods_outlive_a_killed_containerd() {
    outlive(Part::Containerd);
}

/// The pod of before is the same afterwards, has gone on counting, and new
/// pods come.
fn outlive(part: Part) {
    let namespace = Namespace::alone("outlive");
    namespace.apply(&COUNTER.replace("NAME", "before"));
    namespace.ready("before");
    let container = |namespace: &Namespace| {
        namespace.get("pod/before")["status"]["containerStatuses"][0]["containerID"].clone()
    };
    // There may be none yet.
    let count = || {
        let said = namespace.exec("before", &["sh", "-c", "cat /tmp/count || echo 0"]);
        said.trim().parse::<u64>().unwrap()
    };
    let (first, counted) = (container(&namespace), count());

    namespace.cluster().kill(part);
    namespace.cluster().resume(part);
    namespace.apply(&COUNTER.replace("NAME", "after"));
    namespace.ready("after");

    assert_eq!(container(&namespace), first);
    eventually("it has gone on counting", || (count() > counted).then_some(()));
    namespace.delete("pod/before");
}
