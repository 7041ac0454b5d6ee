//! The command line against a real server: tables, refusals, streams.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::server::Server;

/// Output with ids and ages made equal.
fn settled(text: &str) -> String {
    let text = regex::Regex::new("[0-9a-f]{32}").unwrap().replace_all(text, "ID");
    let age = r"(Less than a second|1 second|\d+ seconds)( ago)?";
    let text = regex::Regex::new(age).unwrap().replace_all(&text, "AGE");
    let blanks = regex::Regex::new(" +").unwrap();
    blanks.replace_all(&text, " ").trim_end().to_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn both_grammars_print_the_tables_of_their_era() {
    let server = Server::start();
    server.pfs(&["create-repo", "images", "-d", "photos"]);
    server.pfs(&["start", "commit", "images@master", "-m", "first"]);
    insta::assert_snapshot!(settled(&server.pfs(&["list-commit", "images"])), @r"
    REPO ID PARENT STARTED DURATION SIZE
    images ID <none> AGE - -
    ");
    server.pfs(&["finish-commit", "images", "master"]);
    insta::assert_snapshot!(settled(&server.pfs(&["list-repo"])), @r"
    NAME CREATED SIZE
    images AGE 0B
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["list", "repos"])), @r"
    PROJECT NAME CREATED SIZE (MASTER) DESCRIPTION
    default images AGE 0B photos
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["list", "commit", "images"])), @r"
    PROJECT REPO COMMIT FINISHED SIZE ORIGIN CREATOR DESCRIPTION
    default images ID AGE 0B USER first
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["list-branch", "images"])), @r"
    BRANCH HEAD
    master ID
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["inspect-commit", "images", "master"])), @r"
    Commit: images/ID
    Description: first
    Started: AGE
    Finished: AGE
    Size: 0B
    ");
}

#[test]
fn entities_are_printed_as_json_and_yaml() {
    let server = Server::start();
    server.pfs(&["create", "repo", "a"]);
    server.pfs(&["create", "repo", "b"]);
    let lines = server.pfs(&["list", "repo", "--raw"]);
    let names: Vec<_> = lines.lines().map(|line| json(line)["repo"]["name"].clone()).collect();
    assert_eq!(names, ["b", "a"]);
    assert!(server.pfs(&["list", "repo", "-o", "yaml"]).starts_with("---\nrepo:\n  name: b\n"));
    let commit = server.pfs(&["start", "commit", "a@master"]);
    let raw = json(&server.pfs(&["inspect-commit", "a", "master", "--raw"]));
    assert_eq!(raw["commit"]["id"], commit.trim());
    assert!(raw["createdAt"].as_str().unwrap().ends_with('Z'), "{raw}");
}

#[test]
fn refusals_name_the_thing_and_the_remedy() {
    let server = Server::start();
    server.pfs(&["create", "repo", "images"]);
    let table: &[(&[&str], &str)] = &[
        (&["inspect", "repo", "imagez"], "hint: did you mean images?"),
        (&["create", "repo", "images"], "already exists"),
        (&["create", "repo", "a b"], "only letters, digits"),
        (&["list", "branch", "nothing-like-it"], "nothing-like-it not found"),
        (&["inspect", "commit", "images@master"], "images@master"),
        (&["auth", "login"], "'auth' is not part of pfs"),
        (&["garbage-collect"], "is not part of pfs"),
    ];
    for (arguments, expected) in table {
        let said = server.refused(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    let server = Server::start();
    let table: &[(&[&str], &str)] = &[
        (&["lst", "repo"], "hint: did you mean"),
        (&["list", "repo", "--nope"], "--nope"),
        (&["create", "repo"], "<REPO>"),
        (&["list", "file", "images@"], "nothing follows '@'"),
        (&["put", "file", "images@master"], "a path is needed"),
        (&["inspect", "repo", "images@master"], "not a repo"),
        (&["--address", "ftp://x", "list", "repo"], "invalid address"),
    ];
    for (arguments, expected) in table {
        let output = server.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let server = Server::start();
    let said = server.refused(&["--address", "127.0.0.1:1", "list", "repo"]);
    assert!(said.contains("grpc://127.0.0.1:1") && said.contains("hint: is the server running?"));
    let output = server.output(&["--address", "127.0.0.1:1", "version"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("COMPONENT"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = Server::start();
    for name in ["a", "b", "c"] {
        server.pfs(&["create", "repo", name]);
    }
    let mut child = server.command(&["completion", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_interrupted_command_ends_at_once() {
    let server = Server::start();
    server.pfs(&["create", "repo", "a"]);
    let watch = ["subscribe", "commit", "a@master"];
    let mut child = server.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let commit = server.pfs(&["start", "commit", "a@master"]);
    server.pfs(&["finish", "commit", "a@master"]);
    // Only once something arrived is it certain that the command listens.
    let mut text = String::new();
    while !text.contains(commit.trim()) {
        let mut byte = [0; 1];
        out.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn settings_are_kept_and_overruled() {
    let server = Server::start();
    server.pfs(&["create", "project", "vision"]);
    server.pfs(&["config", "set", "project", "vision"]);
    server.pfs(&["create", "repo", "images"]);
    assert!(server.pfs(&["list", "repo"]).contains("vision  images"));
    assert!(!server.pfs(&["--project", "default", "list", "repo"]).contains("images"));
    assert_eq!(server.pfs(&["config", "get", "project"]), "vision\n");
    server.pfs(&["config", "set", "project", ""]);
    assert_eq!(server.pfs(&["config", "get", "project"]), "default\n");
}

#[test]
fn commands_of_other_eras_explain_themselves() {
    let server = Server::start();
    for arguments in [&["port-forward"][..], &["deploy", "local", "--namespace", "x"]] {
        let output = server.output(arguments);
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(output.stderr.starts_with(b"notice: "), "{arguments:?}");
    }
    assert!(server.output(&["-n", "kubeflow", "port-forward"]).status.success());
}

#[test]
fn everything_is_deleted_only_when_confirmed() {
    let server = Server::start();
    server.pfs(&["create", "repo", "a"]);
    let answer = |text: &[u8]| {
        let mut command = server.command(&["delete", "all"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        child.wait().unwrap().success()
    };
    assert!(!answer(b"n\n"));
    assert!(server.pfs(&["list", "repo"]).contains('a'));
    assert!(answer(b"y\n"));
    assert!(!server.pfs(&["list", "repo"]).contains(" a "));
}
