//! What any volume is built on: the cluster itself does as Kubernetes does.

use serde_json::json;

use crate::cluster::Cluster;
use crate::namespace::Namespace;

#[test]
fn the_node_is_ready() {
    let cluster = Cluster::shared();
    let nodes = cluster.kubectl(&["get", "nodes", "--no-headers"]);
    assert_eq!(nodes.split_whitespace().take(2).collect::<Vec<_>>(), ["pfs-node-1", "Ready"]);
    assert!(nodes.contains("v1.34."), "{nodes}");
}

#[test]
fn a_pod_runs_and_its_log_is_read() {
    let namespace = Namespace::new("log");
    namespace.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: speaker}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000}
  containers:
  - {name: main, image: "busybox:test", command: [sh, -c, "echo $(id -u) speaks; exit 3"]}
"#,
    );
    assert_eq!(namespace.ended("speaker"), "Failed");
    assert_eq!(namespace.logs("speaker"), "1000 speaks\n");
    let pod = namespace.get("pod/speaker");
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(ended["exitCode"], 3, "{pod}");
}

#[test]
fn a_pod_writes_into_a_directory_of_its_own() {
    let namespace = Namespace::new("directory");
    namespace.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  securityContext: {runAsUser: 1000, fsGroup: 2000}
  volumes: [{name: dir, emptyDir: {}}]
  containers:
  - name: main
    image: busybox:test
    command: [sleep, infinity]
    volumeMounts: [{name: dir, mountPath: /dir}]
"#,
    );
    namespace.ready("writer");
    namespace.exec("writer", &["sh", "-c", "echo kept >/dir/file"]);
    let said = namespace.exec("writer", &["sh", "-c", "cat /dir/file; stat -c %g /dir/file"]);
    assert_eq!(said, "kept\n2000\n");
}

#[test]
fn a_projected_token_passes_a_review() {
    let namespace = Namespace::new("token");
    namespace.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: holder}
spec:
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {audience: pfs, path: token}}]}
  containers:
  - name: main
    image: busybox:test
    command: [sleep, infinity]
    volumeMounts: [{name: token, mountPath: /token}]
"#,
    );
    namespace.ready("holder");
    let token = namespace.exec("holder", &["cat", "/token/token"]);
    let review = |audience: &str| {
        namespace.cluster().review(&json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }))["status"]
            .clone()
    };

    let status = review("pfs");
    assert_eq!(status["authenticated"], true, "{}", status["error"]);
    let account = format!("system:serviceaccount:{}:default", namespace.name());
    assert_eq!(status["user"]["username"], account);
    let uid = &namespace.get("pod/holder")["metadata"]["uid"];
    assert_eq!(&status["user"]["extra"]["authentication.kubernetes.io/pod-uid"][0], uid);
    assert_ne!(review("somebody-else")["authenticated"], true);
}

#[test]
fn a_pod_reaches_services_by_name() {
    let namespace = Namespace::new("service");
    namespace.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "mkdir /www; echo served >/www/page; exec httpd -f -p 8080 -h /www"]
    readinessProbe: {httpGet: {path: /page, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "until wget -qO- http://web/page; do sleep 0.2; done; nc -w 5 kubernetes.default.svc 443 </dev/null && echo reached"]
"#,
    );
    assert_eq!(namespace.ended("client"), "Succeeded");
    let said = namespace.logs("client");
    assert!(said.ends_with("served\nreached\n"), "{said}");
}
