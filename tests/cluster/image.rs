//! The image of pfs: one static program and nothing else.

use crate::namespace::Namespace;

#[test]
fn the_image_serves_and_finds_servers_by_name() {
    let namespace = Namespace::new("image");
    namespace.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: pfs}
spec: {selector: {app: pfs}, ports: [{port: 30650}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: pfs}}
spec:
  volumes: [{name: state, emptyDir: {}}]
  containers:
  - name: main
    image: pfs:dev
    args: [serve, --address, "0.0.0.0:30650", --root, /state/root]
    securityContext:
      runAsUser: 1000
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
    volumeMounts: [{name: state, mountPath: /state}]
    readinessProbe: {tcpSocket: {port: 30650}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: OnFailure
  containers:
  - name: main
    image: pfs:dev
    args: [create, repo, named]
    env: [{name: PFS_ADDRESS, value: "grpc://pfs:30650"}]
"#,
    );
    assert_eq!(namespace.ended("client"), "Succeeded");
    let server = ["exec", "server", "--", "/pfs", "list", "repo", "--raw"];
    assert!(namespace.kubectl(&server).contains("named"));
}

#[test]
fn the_image_mounts() {
    let namespace = Namespace::new("mounts");
    namespace.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: mounted}
spec:
  volumes: [{name: dir, emptyDir: {}}, {name: state, emptyDir: {}}]
  initContainers:
  - name: directory
    image: busybox:test
    command: [mkdir, /dir/pfs]
    volumeMounts: [{name: dir, mountPath: /dir}]
  containers:
  - name: server
    image: pfs:dev
    args: [serve, --root, /state/root]
    volumeMounts: [{name: state, mountPath: /state}]
  - name: mount
    image: pfs:dev
    args: [mount, /dir/pfs]
    securityContext: {privileged: true, runAsUser: 0}
    volumeMounts: [{name: dir, mountPath: /dir, mountPropagation: Bidirectional}]
  - name: reader
    image: busybox:test
    command: [sh, -c, "until [ -d /dir/pfs/shown ]; do sleep 0.1; done; echo seen; sleep infinity"]
    volumeMounts: [{name: dir, mountPath: /dir, mountPropagation: HostToContainer}]
"#,
    );
    namespace.ready("mounted");
    let pfs = ["exec", "mounted", "-cserver", "--", "/pfs"];
    namespace.kubectl(&[&pfs[..], &["create", "repo", "shown"]].concat());
    namespace.kubectl(&[&pfs[..], &["create", "branch", "shown@master"]].concat());
    crate::cluster::eventually("the reader sees the repo", || {
        namespace.kubectl(&["logs", "mounted", "-creader"]).contains("seen").then_some(())
    });
}
