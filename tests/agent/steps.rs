//! Volumes that begin where others have ended: the steps of a workflow.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pfs::api::client::{Client, connect};
use pfs::api::proto::pfs_v1 as v1;
use pfs_daemonset::{Code, Publish};

use super::{Node, eventually};

const WAIT: Duration = Duration::from_secs(2);

fn node(test: &str, options: &[&str]) -> Option<Node> {
    let node = Node::with(test, options)?;
    node.server.pfs(&["create", "repo", "out"]);
    Some(node)
}

/// The pod of a step, with the same claim as the others.
fn step(node: &Node, number: usize) -> Publish {
    let attributes = [("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")];
    let mut publish = node.publish_of(&format!("step-{number}"), &attributes);
    publish.key.volume = "claim".into();
    publish.ephemeral = false;
    publish
}

#[test]
fn a_step_begins_with_what_the_one_before_it_has_written() {
    let test = "a_step_begins_with_what_the_one_before_it_has_written";
    let Some(mut node) = node(test, &[]) else { return };
    for number in 0..8 {
        let mut publish = step(&node, number);
        // Also where it only reads.
        publish.read_only = number == 7;
        let volume = node.publish(&publish).unwrap_or_else(|refusal| {
            panic!("step {number}: {refusal:?}\n{}", node.log());
        });
        for before in 0..number {
            assert_eq!(volume.read(&format!("of-{before}")), "done", "step {number}");
        }
        if !publish.read_only {
            fs::write(volume.path(&format!("large-{number}")), vec![b'x'; 3 << 20]).unwrap();
            fs::write(volume.path(&format!("of-{number}")), "done").unwrap();
        }
        let is_away = number % 2 == 1 && number < 6;
        if is_away {
            node.server.kill();
        }
        node.unpublish(volume);
        match number {
            // An agent that carries out what the one before has decided.
            3 => {
                node.kill_agent();
                node.start_agent();
                node.server.resume();
                node.await_agent();
            }
            _ if is_away => node.server.resume(),
            _ => {}
        }
    }
    eventually("nothing staged", || node.staged().is_empty());
}

/// A transaction of a pod on another node.
struct Elsewhere {
    client: Client,
    id: Vec<u8>,
}

impl Elsewhere {
    async fn open(node: &Node) -> Self {
        let client = connect(&node.server.address().parse().unwrap()).await.unwrap();
        let request = v1::OpenTransactionRequest {
            repo: Some(v1::RepoName { repo: "out".into(), ..Default::default() }),
            branch: "master".into(),
            lease_seconds: 600,
            owner: "pod default/elsewhere, volume claim".into(),
            ..Default::default()
        };
        let info = client.native().open_transaction(request).await.unwrap().into_inner();
        Self { client, id: info.id }
    }

    async fn seal(&self) {
        let (id, lease_seconds) = (self.id.clone(), 600);
        let base = Vec::new();
        let request = v1::RenewTransactionRequest { id, lease_seconds, base, sealing: true };
        let info = self.client.native().renew_transaction(request).await.unwrap().into_inner();
        assert_eq!(info.state(), v1::TransactionState::Sealing);
    }

    async fn abort(&self) {
        let request = v1::AbortTransactionRequest { id: self.id.clone(), reason: "over".into() };
        self.client.native().abort_transaction(request).await.unwrap();
    }
}

#[test]
fn what_another_node_commits_is_waited_for_and_a_writer_is_not() {
    let test = "what_another_node_commits_is_waited_for_and_a_writer_is_not";
    let Some(node) = node(test, &["--wait", "2s"]) else { return };
    node.put("out@master:/base", "base");
    let elsewhere = node.runtime.block_on(Elsewhere::open(&node));
    let volume = node.publish(&step(&node, 0)).unwrap();
    node.unpublish(volume);
    node.runtime.block_on(elsewhere.seal());
    let began = Instant::now();
    let refusal = node.prepare(&step(&node, 1)).unwrap_err();
    assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
    assert_eq!(refusal.code, Code::Unavailable);
    for said in ["pod default/elsewhere", "out@master", "2s", "pfs list transaction"] {
        assert!(refusal.message.contains(said), "{refusal}");
    }
    // Other branches, commits and those who follow are not kept waiting.
    let began = Instant::now();
    let head = node.server.pfs(&["inspect", "commit", "out@master", "--raw"]);
    let head: serde_json::Value = serde_json::from_str(&head).unwrap();
    let head = head["commit"]["id"].as_str().unwrap();
    node.server.pfs(&["create", "branch", "out@other", "--head", "master"]);
    let others: [&[(&str, &str)]; 4] = [
        &[("repo", "out"), ("follow", "true")],
        &[("repo", "out"), ("ref", head)],
        &[("repo", "out"), ("ref", "other")],
        &[],
    ];
    for (number, attributes) in others.into_iter().enumerate() {
        let volume = node.volume(&format!("other-{number}"), attributes);
        node.unpublish(volume);
    }
    assert!(began.elapsed() < WAIT, "{:?}", began.elapsed());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| node.publish(&step(&node, 2)).unwrap());
        node.runtime.block_on(elsewhere.abort());
        node.unpublish(waiting.join().unwrap());
    });
}
