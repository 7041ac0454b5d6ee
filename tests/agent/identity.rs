//! Volumes of a server that asks who pods are.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pfs_daemonset::{Code, PodRef, Publish, Refusal, Token};
use tokio::runtime::Runtime;

use super::{Node, eventually};
use crate::identity::api_server::{ApiServer, account, pod};
use crate::identity::settings::{Audit, Settings};
use crate::machine::{has_fuse, is_root};
use crate::server::Server;

const RIGHTS: &str = "
namespaces:
  team-a: {read: [training], write: [model]}
  team-b: {read: [plans]}
";

/// A node of a cluster.
struct Guarded {
    node: Node,
    cluster: ApiServer,
    // Behind the others: it runs what they use.
    _settings: Settings,
    _runtime: Runtime,
}

impl Guarded {
    fn start(test: &str) -> Option<Self> {
        if !has_fuse(test) || !is_root(test) {
            return None;
        }
        let runtime = Runtime::new().unwrap();
        let cluster = runtime.block_on(ApiServer::start());
        let operator = cluster.token(account("pfs", "operator"));
        let settings = Settings::new(&cluster, &operator, RIGHTS);
        let server = Server::start_so(settings.variables(), vec!["--log-format", "json"]);
        let token = settings.file("agent", &cluster.token(account("pfs", "agent")));
        let variables = vec![
            ("PFS_TOKEN_FILE", token.display().to_string()),
            // It is in a cluster, and asks how pods end.
            ("KUBERNETES_SERVICE_HOST", "here".to_owned()),
        ];
        let node = Node::of(server, variables, &["--wait", "2s"]);
        for repo in ["training", "model", "plans"] {
            node.server.pfs(&["create", "repo", repo]);
            node.put(&format!("{repo}@master:/base"), repo);
        }
        Some(Self { node, cluster, _settings: settings, _runtime: runtime })
    }

    /// What is to be published for the pod `named` of `team-a`, whose token this is.
    fn publish(&self, named: (&str, &str), attributes: &[(&str, &str)], token: &str) -> Publish {
        let (name, uid) = named;
        let pod = PodRef {
            namespace: "team-a".into(),
            name: name.into(),
            uid: uid.into(),
            service_account: "default".into(),
        };
        let token = Some(Token::new(token.to_owned()));
        Publish { pod: Some(pod), token, ..self.node.publish_of(name, attributes) }
    }
}

#[track_caller]
fn refused(outcome: Result<impl Sized, Refusal>, code: Code, said: &[&str]) {
    let Err(refusal) = outcome else { panic!("not refused") };
    assert_eq!(refusal.code, code, "{refusal}");
    for part in said {
        assert!(refusal.message.contains(part), "{part:?} is not in {:?}", refusal.message);
    }
}

#[test]
fn a_node_gives_pods_what_their_own_tokens_allow() {
    let Some(guarded) = Guarded::start("a_node_gives_pods_what_their_own_tokens_allow") else {
        return;
    };
    let Guarded { node, cluster, .. } = &guarded;
    let own = cluster.token(pod("team-a", "trainer", "uid-1"));
    let (trainer, read) = (("trainer", "uid-1"), [("repo", "training")]);
    let publish = guarded.publish(trainer, &read, &own);
    let volume = node.publish(&publish).unwrap_or_else(|r| panic!("{r:?}\n{}", node.log()));
    assert_eq!(volume.read("base"), "training");
    // Again, with another token, and with that of another pod.
    let renewed = cluster.token(pod("team-a", "trainer", "uid-1"));
    node.prepare(&guarded.publish(trainer, &read, &renewed)).unwrap();
    let stolen = cluster.token(pod("team-a", "trainer", "uid-0"));
    let again = node.prepare(&guarded.publish(trainer, &read, &stolen));
    refused(again, Code::PermissionDenied, &["team-a/trainer", "not its own"]);
    assert_eq!(volume.read("base"), "training");
    node.unpublish(volume);

    // What was not published before.
    let other = ("other", "uid-2");
    let replayed = node.publish(&guarded.publish(other, &read, &own));
    refused(replayed, Code::PermissionDenied, &["team-a/other", "not its own"]);
    let forged = node.publish(&guarded.publish(other, &read, "forged.token.here"));
    refused(forged, Code::Unauthenticated, &["team-a/other"]);
    let others = cluster.token(pod("team-a", "other", "uid-2"));
    let write = [("repo", "training"), ("mode", "rw")];
    let denied: [(&[(&str, &str)], &str); 3] = [
        (&[("repo", "plans")], "read repo \"plans\""),
        (&write, "write repo \"training\""),
        (&[], "every repo"),
    ];
    for (attributes, said) in denied {
        let outcome = node.publish(&guarded.publish(other, attributes, &others));
        refused(outcome, Code::PermissionDenied, &["\"team-a\"", said, "--access"]);
    }
    assert!(node.list().is_empty() && node.staged().is_empty());

    let log = node.server.log_whole();
    let audit = Audit::of(&log);
    let common = [("message", "volume"), ("caller", "pfs/agent")];
    let decided = |more: &[(&str, &str)]| audit.has(&[&common, more].concat());
    let allowed = ("decision", "allowed");
    decided(&[allowed, ("pod", "team-a/trainer"), ("repo", "training"), ("mode", "ro")]);
    let denied = ("decision", "denied");
    decided(&[denied, ("pod", "team-a/other"), ("pod_uid", "uid-2"), ("repo", "training")]);
    decided(&[denied, ("pod", "team-a/other"), ("repo", "plans"), ("mode", "ro")]);
    decided(&[denied, ("pod", "team-a/other"), ("repo", "training"), ("mode", "rw")]);
    let agent = fs::read_to_string(node.server.dir("run").join("agent.log")).unwrap();
    assert!(agent.contains("TRACE"), "the log does not tell everything");
    for secret in [&own, &renewed, &stolen, &others, "forged.token.here"] {
        assert!(!log.contains(secret as &str), "a token is in the log of the server");
        assert!(!agent.contains(secret as &str), "a token is in the log of the agent");
    }
}

#[test]
fn what_ended_pods_wrote_is_waited_for_before_it_is_unpublished() {
    let test = "what_ended_pods_wrote_is_waited_for_before_it_is_unpublished";
    let Some(guarded) = Guarded::start(test) else { return };
    let Guarded { node, cluster, .. } = &guarded;
    let token = |name, uid| cluster.token(pod("team-a", name, uid));
    let write = [("repo", "model"), ("mode", "rw")];
    let first = guarded.publish(("first", "uid-1"), &write, &token("first", "uid-1"));
    cluster.set_pod(("team-a", "first", "uid-1"), "Running");
    let first = node.publish(&first).unwrap_or_else(|r| panic!("{r:?}\n{}", node.log()));
    fs::write(first.path("weights"), "first").unwrap();

    // A writer that runs keeps nobody waiting.
    let read = [("repo", "model")];
    let second = guarded.publish(("second", "uid-2"), &read, &token("second", "uid-2"));
    let second = node.publish(&second).unwrap();
    assert!(!second.path("weights").exists());
    node.unpublish(second);

    // One that has ended does, but not for ever while nobody unpublishes it.
    cluster.set_pod(("team-a", "first", "uid-1"), "Succeeded");
    let began = Instant::now();
    let third = guarded.publish(("third", "uid-3"), &read, &token("third", "uid-3"));
    let third = node.publish(&third).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!third.path("weights").exists());
    node.unpublish(third);

    let fourth = guarded.publish(("fourth", "uid-4"), &read, &token("fourth", "uid-4"));
    thread::scope(|scope| {
        let fourth = scope.spawn(|| node.publish(&fourth).unwrap());
        node.unpublish(first);
        let fourth = fourth.join().unwrap();
        assert_eq!(fourth.read("weights"), "first");
        node.unpublish(fourth);
    });
    eventually("nothing staged", || node.staged().is_empty());
}
