mod fakes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use tempfile::TempDir;
use tonic::Code;

use self::fakes::{FakeAgent, FakeKernel};
use super::Node;
use crate::mount::Patience;
use crate::proto::csi as pb;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use crate::refusal::Result;

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A node with a directory for targets.
struct Bed {
    node: Arc<Node>,
    kernel: Arc<FakeKernel>,
    agent: Arc<FakeAgent>,
    scratch: TempDir,
}

impl Bed {
    fn new() -> Self {
        Self::with(Patience::default())
    }

    fn with(patience: Patience) -> Self {
        let (kernel, agent) = (Arc::new(FakeKernel::default()), Arc::new(FakeAgent::default()));
        let node = Node::new(agent.clone(), kernel.clone(), patience, "node".to_owned(), 0);
        Self { node: Arc::new(node), kernel, agent, scratch: tempfile::tempdir().unwrap() }
    }

    fn target(&self, name: &str) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join(name)
    }

    /// A request to write, at a target of that name.
    fn request(&self, name: &str, mode: Mode) -> pb::NodePublishVolumeRequest {
        let context = [("repo", "data"), ("mode", "rw"), (TOKENS, r#"{"pfs":{"token":"one"}}"#)];
        pb::NodePublishVolumeRequest {
            volume_id: "vol-1".to_owned(),
            target_path: self.target(name).to_str().unwrap().to_owned(),
            volume_capability: Some(capability(mode)),
            volume_context: map(&context),
            ..Default::default()
        }
    }

    async fn unpublish(&self, name: &str) -> Result<()> {
        let target_path = self.target(name).to_str().unwrap().to_owned();
        let volume_id = "vol-1".to_owned();
        self.node.unpublish(pb::NodeUnpublishVolumeRequest { volume_id, target_path }).await
    }

    fn mounts(&self) -> usize {
        self.kernel.mounts.lock().unwrap().len()
    }

    fn sessions(&self) -> usize {
        self.agent.sessions.lock().unwrap().len()
    }
}

fn capability(mode: Mode) -> pb::VolumeCapability {
    pb::VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn refused<T>(answer: Result<T>, code: Code) {
    assert_eq!(answer.err().expect("a refusal").code(), code);
}

#[tokio::test]
async fn a_repeated_publish_renews_the_token_and_nothing_else() {
    let bed = Bed::new();
    let mut request = bed.request("t", Mode::SingleNodeWriter);
    bed.node.publish(request.clone()).await.unwrap();
    request.volume_context.insert(TOKENS.to_owned(), r#"{"pfs":{"token":"two"}}"#.to_owned());
    bed.node.publish(request).await.unwrap();
    assert_eq!((bed.mounts(), bed.sessions()), (1, 1));
    let tokens = bed.agent.tokens.lock().unwrap().clone();
    assert_eq!(tokens, [Some("one".to_owned()), Some("two".to_owned())]);
}

#[tokio::test]
async fn other_arguments_at_the_same_target_are_refused() {
    let bed = Bed::new();
    let request = bed.request("t", Mode::SingleNodeMultiWriter);
    bed.node.publish(request.clone()).await.unwrap();
    let changes: [fn(&mut pb::NodePublishVolumeRequest); 4] = [
        |request| request.readonly = true,
        |request| request.volume_capability = Some(capability(Mode::MultiNodeMultiWriter)),
        |request| drop(request.volume_context.insert("ref".to_owned(), "other".to_owned())),
        |request| request.volume_id = "vol-2".to_owned(),
    ];
    for change in changes {
        let mut other = request.clone();
        change(&mut other);
        refused(bed.node.publish(other).await, Code::AlreadyExists);
    }
    assert_eq!((bed.mounts(), bed.sessions()), (1, 1));
}

#[tokio::test]
async fn access_modes_say_whether_a_node_has_a_volume_twice() {
    for mode in [Mode::SingleNodeWriter, Mode::SingleNodeSingleWriter, Mode::SingleNodeReaderOnly] {
        let bed = Bed::new();
        bed.node.publish(bed.request("one", mode)).await.unwrap();
        refused(bed.node.publish(bed.request("two", mode)).await, Code::FailedPrecondition);
        let many = bed.request("two", Mode::SingleNodeMultiWriter);
        refused(bed.node.publish(many).await, Code::FailedPrecondition);
    }
    for mode in [Mode::SingleNodeMultiWriter, Mode::MultiNodeMultiWriter, Mode::MultiNodeReaderOnly]
    {
        let bed = Bed::new();
        bed.node.publish(bed.request("one", mode)).await.unwrap();
        bed.node.publish(bed.request("two", mode)).await.unwrap();
        assert_eq!(bed.mounts(), 2);
    }
}

#[tokio::test]
async fn a_mount_that_nobody_serves_is_replaced() {
    let bed = Bed::new();
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    // The agent lost the connection, as after the loss of both processes.
    let place = bed.agent.sessions.lock().unwrap().keys().next().unwrap().clone();
    bed.agent.sessions.lock().unwrap().get_mut(&place).unwrap().connection = None;
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    let mounts = bed.kernel.mounts.lock().unwrap().clone();
    assert_eq!(mounts.iter().map(|mounted| mounted.minor).collect::<Vec<_>>(), [101]);
}

#[tokio::test]
async fn what_others_mounted_is_left_alone_at_publish() {
    let bed = Bed::new();
    bed.kernel.leave(&bed.target("t"), "ext4");
    let answer = bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await;
    refused(answer, Code::FailedPrecondition);
    assert_eq!((bed.mounts(), bed.sessions()), (1, 0));
}

#[tokio::test]
async fn readers_get_a_read_only_mount_and_groups_and_labels_are_passed_on() {
    let bed = Bed::new();
    bed.node.publish(bed.request("one", Mode::MultiNodeReaderOnly)).await.unwrap();
    let mut request = bed.request("two", Mode::MultiNodeMultiWriter);
    request.volume_id = "vol-2".to_owned();
    let mount_flags = ["noexec", "context=\"system_u:object_r:container_file_t:s0:c1,c2\""];
    request.volume_capability.as_mut().unwrap().access_type =
        Some(AccessType::Mount(MountVolume {
            fs_type: String::new(),
            mount_flags: mount_flags.map(str::to_owned).to_vec(),
            volume_mount_group: "2000".to_owned(),
        }));
    bed.node.publish(request).await.unwrap();
    let options = bed.kernel.options.lock().unwrap().clone();
    assert!(options[0].read_only && !options[0].no_exec);
    assert!(!options[1].read_only && options[1].no_exec);
    assert_eq!(options[1].group, 2000);
    let context = options[1].context.as_deref();
    assert_eq!(context, Some("system_u:object_r:container_file_t:s0:c1,c2"));
}

#[tokio::test]
async fn a_failed_publish_leaves_nothing() {
    let bed = Bed::new();
    bed.agent.attach_fails.store(true, Ordering::SeqCst);
    refused(bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await, Code::Internal);
    assert_eq!((bed.mounts(), bed.sessions()), (0, 0));
    assert!(!bed.target("t").exists());
    *bed.kernel.mount_fails.lock().unwrap() = Some(Errno::ENODEV);
    let answer = bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await;
    refused(answer, Code::FailedPrecondition);
    assert_eq!((bed.mounts(), bed.sessions()), (0, 0));
    assert!(!bed.target("t").exists());
}

#[tokio::test]
async fn unpublishing_leaves_nothing_and_may_be_repeated() {
    let bed = Bed::new();
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    // A second layer, as two processes may have left it.
    bed.kernel.leave(&bed.target("t"), "fuse.pfs");
    for _ in 0..2 {
        bed.unpublish("t").await.unwrap();
        assert_eq!((bed.mounts(), bed.sessions()), (0, 0));
        assert!(!bed.target("t").exists());
    }
    bed.unpublish("never").await.unwrap();
}

#[tokio::test]
async fn unpublishing_waits_for_an_agent_only_where_something_was_written() {
    let bed = Bed::new();
    bed.node.publish(bed.request("read", Mode::MultiNodeReaderOnly)).await.unwrap();
    bed.node.publish(bed.request("written", Mode::MultiNodeMultiWriter)).await.unwrap();
    bed.agent.is_away.store(true, Ordering::SeqCst);
    bed.unpublish("read").await.unwrap();
    for _ in 0..2 {
        refused(bed.unpublish("written").await, Code::Unavailable);
        assert_eq!(bed.mounts(), 0);
    }
    bed.agent.is_away.store(false, Ordering::SeqCst);
    bed.unpublish("written").await.unwrap();
}

#[tokio::test]
async fn a_target_is_taken_for_as_long_as_a_call_lasts() {
    let bed = Bed::new();
    *bed.agent.gate.lock().unwrap() = Some(Arc::default());
    let (node, request) = (Arc::clone(&bed.node), bed.request("t", Mode::SingleNodeWriter));
    let first = tokio::spawn(async move { node.publish(request).await });
    while bed.mounts() == 0 {
        tokio::task::yield_now().await;
    }
    refused(bed.unpublish("t").await, Code::Aborted);
    let other = bed.request("other", Mode::SingleNodeWriter);
    refused(bed.node.publish(other).await, Code::Aborted);
    // The caller gives up, as at its deadline.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    bed.unpublish("t").await.unwrap();
    assert_eq!((bed.mounts(), bed.sessions()), (0, 0));
}

#[tokio::test]
async fn a_mount_whose_server_is_silent_keeps_no_lock() {
    let patience = Patience { call: Duration::from_millis(1), server: Duration::MAX };
    let bed = Bed::with(patience);
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    bed.kernel.set_silent(true);
    for _ in 0..2 {
        refused(bed.unpublish("t").await, Code::Aborted);
    }
    // The session is there still, for nothing says that all was written.
    assert_eq!((bed.sessions(), bed.mounts()), (1, 0));
    assert!(bed.kernel.aborted.lock().unwrap().is_empty());
    bed.kernel.set_silent(false);
    while bed.unpublish("t").await.is_err() {}
    assert_eq!(bed.sessions(), 0);
    assert!(!bed.target("t").exists());
}

#[tokio::test]
async fn a_mount_whose_server_is_silent_for_long_is_aborted() {
    let patience = Patience { call: Duration::from_millis(1), server: Duration::ZERO };
    let bed = Bed::with(patience);
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    bed.kernel.set_silent(true);
    refused(bed.unpublish("t").await, Code::Aborted);
    assert_eq!(*bed.kernel.aborted.lock().unwrap(), [100]);
    while bed.unpublish("t").await.is_err() {}
    assert_eq!((bed.mounts(), bed.sessions()), (0, 0));
}

#[tokio::test]
async fn stats_come_from_the_agent_and_say_what_is_wrong() {
    let bed = Bed::new();
    let stats = |name: &str| {
        let (volume_id, volume_path) = ("vol-1".to_owned(), bed.target(name));
        let volume_path = volume_path.to_str().unwrap().to_owned();
        let staging_target_path = String::new();
        let request = pb::NodeGetVolumeStatsRequest { volume_id, volume_path, staging_target_path };
        bed.node.stats(request)
    };
    refused(stats("t").await, Code::NotFound);
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    let healthy = stats("t").await.unwrap();
    assert_eq!(healthy.usage.iter().map(|usage| usage.used).collect::<Vec<_>>(), [4, 4]);
    assert!(!healthy.volume_condition.unwrap().abnormal);
    *bed.agent.trouble.lock().unwrap() = Some("uploads fail".to_owned());
    let condition = stats("t").await.unwrap().volume_condition.unwrap();
    assert!(condition.abnormal && condition.message == "uploads fail");
    bed.agent.is_away.store(true, Ordering::SeqCst);
    assert!(stats("t").await.unwrap().volume_condition.unwrap().abnormal);
}

#[tokio::test]
async fn health_is_of_all_places_of_a_volume_or_of_one() {
    let bed = Bed::new();
    let health = |path: &str| {
        let (volume_id, volume_publish_path) = ("vol-1".to_owned(), path.to_owned());
        let staging_target_path = String::new();
        bed.node.health(pb::NodeGetVolumeHealthRequest {
            volume_id,
            volume_publish_path,
            staging_target_path,
        })
    };
    refused(health("").await, Code::NotFound);
    bed.node.publish(bed.request("t", Mode::SingleNodeWriter)).await.unwrap();
    assert!(health("").await.unwrap().volume_health.unwrap().health_statuses.is_empty());
    refused(health("/elsewhere").await, Code::NotFound);
    *bed.agent.trouble.lock().unwrap() = Some("uploads fail".to_owned());
    assert_eq!(health("").await.unwrap().volume_health.unwrap().health_statuses.len(), 1);
}
