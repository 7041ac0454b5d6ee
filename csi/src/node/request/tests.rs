use std::collections::BTreeMap;

use tonic::Code;

use super::Asked;
use crate::proto::csi as pb;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

fn request() -> pb::NodePublishVolumeRequest {
    let context = [
        ("repo", "data"),
        ("csi.storage.k8s.io/pod.name", "trainer"),
        ("csi.storage.k8s.io/pod.namespace", "team"),
        ("csi.storage.k8s.io/pod.uid", "4711"),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
        ("csi.storage.k8s.io/ephemeral", "true"),
        (TOKENS, r#"{"pfs":{"token":"hidden-words"},"other":{"token":"foreign-words"}}"#),
        ("storage.kubernetes.io/csiProvisionerIdentity", "42"),
    ];
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    pb::NodePublishVolumeRequest {
        volume_id: "csi-1".to_owned(),
        target_path: "/kubelet/pods/4711/volumes/data/mount".to_owned(),
        volume_capability: Some(pb::VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        }),
        volume_context: context.into_iter().map(pair).collect(),
        ..Default::default()
    }
}

#[test]
fn what_kubelet_adds_is_taken_apart_from_what_the_author_wrote() {
    let asked = Asked::parse(&request()).unwrap().publication;
    let own = BTreeMap::from([("repo".to_owned(), "data".to_owned())]);
    assert_eq!(asked.attributes, own);
    let pod = asked.pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("team", "trainer", "4711"));
    assert_eq!(pod.service_account, "default");
    assert!(asked.is_ephemeral && !asked.read_only);
    assert_eq!(asked.token.unwrap().reveal(), "hidden-words");
}

#[test]
fn tokens_are_neither_shown_nor_compared() {
    let asked = Asked::parse(&request()).unwrap();
    assert!(!format!("{asked:?}").contains("words"));
    let mut other = request();
    let tokens = r#"{"pfs":{"token":"other-words"}}"#;
    other.volume_context.insert(TOKENS.to_owned(), tokens.to_owned());
    other.secrets.insert("password".to_owned(), "hidden".to_owned());
    let same = Asked::parse(&other).unwrap().publication;
    assert_eq!(asked.publication.fingerprint, same.fingerprint);
    for garbled in ["hidden-words", r#"["hidden-words"]"#, r#"{"pfs":"hidden-words"}"#] {
        other.volume_context.insert(TOKENS.to_owned(), garbled.to_owned());
        let refusal = Asked::parse(&other).unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(!refusal.to_string().contains("hidden"));
    }
}

#[test]
fn tokens_may_come_as_a_secret() {
    let mut request = request();
    let tokens = request.volume_context.remove(TOKENS).unwrap();
    assert!(Asked::parse(&request).unwrap().publication.token.is_none());
    request.secrets.insert(TOKENS.to_owned(), tokens);
    let token = Asked::parse(&request).unwrap().publication.token.unwrap();
    assert_eq!(token.reveal(), "hidden-words");
}

#[test]
fn fields_that_are_missing_or_too_large_are_refused() {
    let wrong: [fn(&mut pb::NodePublishVolumeRequest); 7] = [
        |request| request.volume_id.clear(),
        |request| request.volume_id = "x".repeat(129),
        |request| request.target_path.clear(),
        |request| request.target_path = "relative/path".to_owned(),
        |request| request.target_path = "/x".repeat(2048),
        |request| request.volume_capability = None,
        |request| drop(request.volume_context.insert("message".to_owned(), "x".repeat(4096))),
    ];
    for change in wrong {
        let mut request = request();
        change(&mut request);
        assert_eq!(Asked::parse(&request).unwrap_err().code(), Code::InvalidArgument);
    }
}

#[test]
fn a_long_token_is_no_large_field() {
    let mut request = request();
    let tokens = format!(r#"{{"pfs":{{"token":"{}"}}}}"#, "x".repeat(5000));
    request.volume_context.insert(TOKENS.to_owned(), tokens);
    assert!(Asked::parse(&request).is_ok());
}
