use std::path::PathBuf;

use async_trait::async_trait;
use pfs_daemonset::PodRef;

use super::*;

struct Said(Outcome);

#[async_trait]
impl Pods for Said {
    async fn outcome(&self, pod: &PodRef) -> Outcome {
        assert_eq!(pod.to_string(), "team/train");
        self.0.clone()
    }

    async fn has_ended(&self, _namespace: &str, _name: &str) -> Option<bool> {
        panic!("nobody asks for that");
    }
}

async fn decided(when: When, marked: bool, outcome: Outcome) -> Decision {
    let pod = PodRef {
        namespace: "team".into(),
        name: "train".into(),
        uid: "1".into(),
        service_account: "default".into(),
    };
    let publish = Publish {
        key: Key { volume: "v".into(), target: PathBuf::from("/t") },
        attributes: Default::default(),
        pod: Some(pod),
        token: None,
        read_only: false,
        ephemeral: true,
        fs_group: None,
        access: String::new(),
        fingerprint: String::new(),
    };
    decide(&publish, ((when, marked), "message"), &Said(outcome)).await
}

#[tokio::test]
async fn a_commit_on_success_is_decided_by_the_pod() {
    let commit = Decision::Commit("message".into());
    assert_eq!(decided(When::OnSuccess, false, Outcome::Succeeded).await, commit);
    let failed = Outcome::Failed("container main: exit 137, OOMKilled".into());
    let Decision::Abort(why) = decided(When::OnSuccess, true, failed.clone()).await else {
        panic!("committed");
    };
    assert_eq!(why, "pod team/train has failed: container main: exit 137, OOMKilled");
    let unknown = Outcome::Unknown("it is gone".into());
    assert!(matches!(decided(When::OnSuccess, false, unknown).await, Decision::Abort(_)));
    assert_eq!(decided(When::OnUnmount, false, failed.clone()).await, commit);
    assert_eq!(decided(When::OnMarker, true, failed.clone()).await, commit);
    assert!(matches!(decided(When::OnMarker, false, failed).await, Decision::Abort(_)));
}
