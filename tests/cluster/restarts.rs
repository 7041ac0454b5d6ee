//! Parts of the node end without warning; pods go on.

use crate::cluster::Part;
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
    command: [sh, -c, "n=0; while :; do n=$((n+1)); echo $n >/tmp/count; sleep 0.05; done"]
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
    let count = || namespace.exec("before", &["cat", "/tmp/count"]).trim().parse::<u64>().unwrap();
    let (first, counted) = (container(&namespace), count());

    namespace.cluster().kill(part);
    namespace.cluster().resume(part);
    namespace.apply(&COUNTER.replace("NAME", "after"));
    namespace.ready("after");

    assert_eq!(container(&namespace), first);
    assert!(count() > counted);
    namespace.delete("pod/before");
}
