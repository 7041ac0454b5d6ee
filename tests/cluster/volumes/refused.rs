//! What a pod may not have it does not get, and the server's log says so.

use std::collections::BTreeMap;

use hyper_util::rt::TokioIo;
use pfs_csi::proto::csi::node_client::NodeClient;
use pfs_csi::proto::csi::volume_capability::access_mode::Mode;
use pfs_csi::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use pfs_csi::proto::csi::{NodePublishVolumeRequest, VolumeCapability};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::Volumes;
use crate::cluster::eventually;
use crate::pod::Pod;

/// Where kubelet finds the driver.
const DRIVER: &str = "/var/lib/kubelet/plugins/csi.pfs.internal/csi.sock";

/// What only pods of the namespace `vault` may read.
const SECRET: &str = "vault/secret";

impl Volumes {
    /// Makes what only the namespace `vault` may read.
    fn secret(&self) {
        self.server.output(&["create", "project", "vault"], "");
        let repo = ["create", "repo", "secret", "--project", "vault"];
        self.server.output(&repo, "");
        let put = ["put", "file", "secret@master:/file", "--project", "vault", "-f", "-"];
        self.server.pfs_with(&put, "secret");
    }

    /// Why the volume of a pod is not mounted.
    #[track_caller]
    fn refusal(&self, pod: &str) -> String {
        let wanted = format!("--field-selector=involvedObject.name={pod},reason=FailedMount");
        eventually(&format!("the events of pod {pod} say why"), || {
            let events: Value =
                serde_json::from_str(&self.kubectl(&["get", "events", &wanted, "-ojson"])).unwrap();
            let messages = events["items"].as_array()?.iter();
            let mut messages = messages.filter_map(|event| event["message"].as_str());
            messages.find(|message| message.contains("rpc error")).map(str::to_owned)
        })
    }

    /// The server's log has refused a pod for that reason.
    #[track_caller]
    fn audited(&self, pod: &str, reason: &str) {
        let pod = format!("{}/{pod}", self.name());
        let audit = self.server.audit(self.cluster());
        let of = |event: &&Value| event["fields"]["pod"] == *pod;
        let all: Vec<_> = audit.iter().filter(of).map(|event| &event["fields"]).collect();
        let why =
            |fields: &&&Value| fields["reason"].as_str().is_some_and(|why| why.contains(reason));
        let denied = all.iter().filter(why).any(|fields| fields["decision"] == "denied");
        assert!(denied, "no {reason:?} among {all:?}");
        assert!(all.iter().all(|fields| fields["decision"] == "denied"), "{all:?}");
    }
}

#[test]
fn a_namespace_that_may_not_read_a_repo_is_refused() {
    let volumes = Volumes::new("stranger");
    volumes.secret();
    volumes.start(&Pod::new("reader", "cat /data/file").inline("data", &[("repo", SECRET)]));
    let why = volumes.refusal("reader");
    assert!(why.contains("PermissionDenied"), "{why}");
    assert!(why.contains(volumes.name()) && why.contains(SECRET), "{why}");
    volumes.audited("reader", "may not");
}

#[test]
fn a_namespace_that_may_read_a_repo_reads_it_and_does_not_write_it() {
    let volumes = Volumes::named("vault");
    volumes.secret();
    let reader = Pod::new("reader", "cat /data/file").inline("data", &[("repo", SECRET)]);
    assert_eq!(volumes.run("reader", &reader), "secret");
    let writer = Pod::new("writer", "echo >/data/file");
    volumes.start(&writer.inline("data", &[("repo", SECRET), ("mode", "rw")]));
    let why = volumes.refusal("writer");
    assert!(why.contains("PermissionDenied"), "{why}");
    volumes.audited("writer", "write");
}

#[test]
fn attributes_that_pretend_to_come_from_kubelet_count_for_nothing() {
    let volumes = Volumes::new("forger");
    volumes.secret();
    let forged = [
        ("repo", SECRET),
        ("csi.storage.k8s.io/pod.namespace", "vault"),
        ("csi.storage.k8s.io/pod.name", "reader"),
        ("csi.storage.k8s.io/serviceAccount.name", "trusted"),
        ("csi.storage.k8s.io/serviceAccount.tokens", r#"{"pfs": {"token": "forged"}}"#),
    ];
    volumes.start(&Pod::new("forger", "cat /data/file").inline("data", &forged));
    let why = volumes.refusal("forger");
    assert!(why.contains("PermissionDenied") && why.contains(volumes.name()), "{why}");
    volumes.audited("forger", "may not");

    let unknown = [("repo", "whatever"), ("user", "root")];
    volumes.start(&Pod::new("unknown", "cat /data/file").inline("data", &unknown));
    let why = volumes.refusal("unknown");
    assert!(why.contains("InvalidArgument") && why.contains("\"user\""), "{why}");
}

#[test]
fn the_token_of_another_pod_is_refused() {
    let volumes = Volumes::new("replay");
    let repo = volumes.repo("data");
    volumes.server.put(&format!("{repo}@master:/file"), "shown");
    let source = json!({"serviceAccountToken": {"audience": "pfs", "path": "token"}});
    for name in ["owner", "thief"] {
        let pod = Pod::new(name, "sleep infinity");
        let pod = pod.volume("token", "projected", json!({"sources": [source.clone()]}));
        volumes.start(&pod);
    }
    volumes.ready("owner");
    volumes.ready("thief");
    let token = volumes.exec("owner", &["cat", "/token/token"]);

    let status = publish(request(&volumes, "thief", &repo, &token)).unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert!(!status.message().contains(&token));
    volumes.audited("thief", "not its own");

    // Nor is that of a pod that is gone, and was of the same name.
    volumes.delete("pod/owner");
    volumes.start(&Pod::new("owner", "sleep infinity"));
    volumes.ready("owner");
    let status = publish(request(&volumes, "owner", &repo, &token)).unwrap_err();
    let code = status.code();
    assert!(matches!(code, Code::PermissionDenied | Code::Unauthenticated), "{status:?}");
    volumes.audited("owner", "");
}

/// What kubelet would ask for a pod, with that token.
fn request(volumes: &Volumes, pod: &str, repo: &str, token: &str) -> NodePublishVolumeRequest {
    let uid = volumes.uid(pod);
    let tokens = json!({"pfs": {"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"}});
    let context = [
        ("repo", repo.to_owned()),
        ("csi.storage.k8s.io/pod.namespace", volumes.name().to_owned()),
        ("csi.storage.k8s.io/pod.name", pod.to_owned()),
        ("csi.storage.k8s.io/pod.uid", uid.clone()),
        ("csi.storage.k8s.io/serviceAccount.name", "default".to_owned()),
        ("csi.storage.k8s.io/ephemeral", "true".to_owned()),
        ("csi.storage.k8s.io/serviceAccount.tokens", tokens.to_string()),
    ];
    let volume_context: BTreeMap<_, _> =
        context.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    NodePublishVolumeRequest {
        volume_id: format!("csi-replayed-{uid}"),
        target_path: format!("/var/lib/kubelet/pods/{uid}/replayed"),
        volume_capability: Some(VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        }),
        readonly: true,
        volume_context,
        ..Default::default()
    }
}

/// Asks the driver as kubelet does.
fn publish(request: NodePublishVolumeRequest) -> Result<(), Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connect = |_| async { UnixStream::connect(DRIVER).await.map(TokioIo::new) };
        let endpoint = Endpoint::from_static("http://driver");
        let channel = endpoint.connect_with_connector(tower::service_fn(connect)).await.unwrap();
        NodeClient::new(channel).node_publish_volume(request).await.map(drop)
    })
}
