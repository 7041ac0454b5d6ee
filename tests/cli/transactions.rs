//! Changes gathered and made at once; defaults of specs.

use super::{json, settled, with_input};
use crate::server::Server;

#[test]
fn changes_wait_in_the_active_transaction() {
    let server = Server::start();
    let started = server.pfs(&["start", "transaction"]);
    let id = started.trim().strip_prefix("Started new transaction: ").unwrap().to_owned();
    assert!(server.refused(&["start", "transaction"]).contains("is active"));
    server.pfs(&["create", "repo", "a"]);
    server.pfs(&["create-repo", "b"]);
    let commit = server.pfs(&["start", "commit", "a@master"]);
    assert_eq!(commit.trim(), id, "the commit carries the transaction's id");
    server.pfs(&["finish", "commit", "a@master"]);
    assert!(server.refused(&["create", "repo", "a"]).contains("already exists"));
    let put = server.refused(&["put", "file", "a@master:/x", "-f", "/dev/null"]);
    assert!(put.contains("PutFiles cannot be part of a transaction"), "{put}");
    assert!(put.contains("stop transaction"), "{put}");
    assert_eq!(server.pfs(&["list", "repo"]).lines().count(), 1, "nothing happens yet");
    insta::assert_snapshot!(settled(&server.pfs(&["list", "transaction"])), @r"
    TRANSACTION STARTED OPS
    ID AGE 4
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["inspect", "transaction"])), @r"
    ID: ID
    Started: AGE
    Requests:
     create repo a
     create repo b
     start commit a@master
     finish commit a@master
    ");

    server.pfs(&["stop", "transaction"]);
    server.pfs(&["create", "repo", "outside"]);
    assert_eq!(server.pfs(&["list", "repo"]).lines().count(), 2);
    let resumed = server.pfs(&["resume", "transaction", &id]);
    assert!(resumed.contains("with 4 requests"), "{resumed}");
    let done = server.pfs(&["finish", "transaction"]);
    assert_eq!(done.trim(), format!("Completed transaction with 4 requests: {id}"));
    assert_eq!(server.pfs(&["list", "repo"]).lines().count(), 4);
    let raw = json(&server.pfs(&["inspect", "commit", "a@master", "--raw"]));
    assert_eq!(raw["commit"]["id"].as_str(), Some(id.as_str()));
    let over = server.refused(&["finish", "transaction", &id]);
    assert!(over.contains(&id), "{over}");
}

#[test]
fn a_transaction_outlives_the_server_and_can_be_given_up() {
    let mut server = Server::start();
    server.pfs(&["start", "transaction"]);
    server.pfs(&["create", "repo", "a"]);
    server.kill();
    server.resume();
    server.pfs(&["create", "branch", "a@master"]);
    assert_eq!(server.pfs(&["list", "transaction"]).lines().count(), 2);
    server.pfs(&["delete", "transaction"]);
    assert_eq!(server.pfs(&["list", "transaction"]).lines().count(), 1);
    server.pfs(&["create", "repo", "a"]);
    let none = server.output(&["finish", "transaction"]);
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn defaults_fill_in_what_a_spec_leaves_out() {
    let server = Server::start();
    server.pfs(&["create", "repo", "in"]);
    let defaults = b"create_pipeline_request:\n  datum_tries: 5\n  transform: {image: none}\n";
    let set = with_input(&server, &["create", "defaults", "--cluster"], defaults);
    assert!(set.status.success(), "{set:?}");
    let spec = br#"{"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]},
        "input": {"pfs": {"repo": "in", "glob": "/"}}}"#;
    let made = with_input(&server, &["create", "pipeline"], spec);
    assert!(made.status.success(), "{made:?}");
    let info = json(&server.pfs(&["inspect", "pipeline", "p", "--raw"]));
    let effective = json(info["effective_spec_json"].as_str().unwrap());
    assert_eq!(effective["datum_tries"], "5");
    assert_eq!(effective["transform"]["image"], "none");
    let user = json(info["user_spec_json"].as_str().unwrap());
    assert_eq!(user.get("datum_tries"), None, "{user}");

    let update = ["update", "defaults", "--cluster", "--dry-run"];
    let other = br#"{"createPipelineRequest": {"datumTries": 2}}"#;
    let dry = with_input(&server, &update, other);
    assert_eq!(String::from_utf8(dry.stdout).unwrap(), "default/p\n");
    assert!(server.pfs(&["inspect", "defaults", "--cluster"]).contains("\"datum_tries\":5"));
    let update = ["update", "defaults", "--cluster", "--regenerate", "--reprocess"];
    assert!(with_input(&server, &update, other).status.success());
    let info = json(&server.pfs(&["inspect", "pipeline", "p", "--raw"]));
    assert_eq!(info["version"], "2");
    assert_eq!(info["details"]["datum_tries"], "2");

    server.pfs(&["delete", "defaults", "--cluster"]);
    assert_eq!(server.pfs(&["inspect", "defaults", "--cluster"]), "{}\n");
    let bad = with_input(&server, &["create", "defaults", "--project", "default"], b"{\"x\": 1}");
    let said = String::from_utf8(bad.stderr).unwrap();
    assert!(said.contains("unknown field \"x\"") && said.contains("hint: expected"), "{said}");
    assert_eq!(server.output(&["inspect", "defaults"]).status.code(), Some(2));
}
