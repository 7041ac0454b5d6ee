//! The command line against a real server: tables, refusals, streams.

mod jobs;
mod split;
mod transactions;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

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
fn triggers_of_branches_are_created_shown_and_refused() {
    let server = Server::start();
    server.pfs(&["create", "repo", "a"]);
    let on = ["--trigger", "master"];
    let create = |branch: &str, flags: &[&str]| {
        let flags = on.iter().chain(flags).copied();
        ["create", "branch", branch].into_iter().chain(flags).map(str::to_owned).collect::<Vec<_>>()
    };
    let run =
        |words: Vec<String>| server.output(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let made: &[(&str, &[&str])] = &[
        ("a@nightly", &["--trigger-cron", "@daily"]),
        ("a@slow", &["--trigger-rate-limit", "@every 1h", "--trigger-commits", "2"]),
        ("a@both", &["--trigger-size", "5B", "--trigger-commits", "2", "--trigger-all"]),
    ];
    for (branch, flags) in made {
        assert!(run(create(branch, flags)).status.success(), "{branch}");
    }
    let table = settled(&server.pfs(&["list", "branch", "a"]));
    for shown in ["Cron(@daily)", "RateLimit(@every 1h)", "Size(5)", "Commits(2)"] {
        assert!(table.contains(shown), "{shown} in {table}");
    }
    let refused: &[(&str, &[&str], &str)] = &[
        ("a@x", &["--trigger-cron", "@daily", "--trigger-commits", "2"], "no other condition"),
        ("a@x", &["--trigger-cron", "sometimes"], "is invalid"),
        ("a@x", &["--trigger-size", "big"], "invalid size"),
        ("a@master", &["--trigger-commits", "1"], "cannot trigger itself"),
    ];
    for (branch, flags, expected) in refused {
        let output = run(create(branch, flags));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(expected), "{flags:?}: {said}");
    }
    with_input(&server, &["put", "file", "a@master:/x"], b"123");
    let heads = || settled(&server.pfs(&["list", "branch", "a"]));
    let moved = |branch: &str| {
        let shown = heads();
        let row = shown.lines().find(|row| row.starts_with(&format!("{branch} "))).unwrap();
        row.contains("ID")
    };
    assert_eq!(["slow", "both", "nightly"].map(moved), [true, false, false], "{}", heads());
    with_input(&server, &["put", "file", "a@master:/y"], b"456");
    assert_eq!(["slow", "both", "nightly"].map(moved), [true, true, false], "{}", heads());
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
        (&["--address", "grpc://127.0.0.1:99999", "list", "repo"], "invalid address"),
        (&["put", "file", "images@master", "-f", "ftp://x/y"], "https://, s3://"),
        (&["list", "job", "--state", "bogus"], "hint: the states are created"),
        (&["list", "pipeline", "--state", "bogus"], "hint: the states are starting"),
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
    for arguments in ["port-forward", "undeploy"] {
        let output = server.output(&[arguments]);
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(output.stderr.starts_with(b"notice: "), "{arguments:?}");
    }
    assert!(server.output(&["-n", "kubeflow", "port-forward"]).status.success());
}

#[test]
fn manifests_are_printed_without_a_cluster() {
    let server = Server::start();
    let text = server.pfs(&["deploy", "local", "--namespace", "data", "--image", "r:5/pfs:1"]);
    for line in ["kind: CSIDriver", "  namespace: data", "        image: r:5/pfs:1"] {
        assert!(text.lines().any(|has| has == line), "{line:?} is not in {text}");
    }
    assert!(server.refused(&["deploy", "google"]).contains("cannot deploy to \"google\""));
    for wrong in [&["deploy", "-n", "Data"][..], &["deploy", "--apply", "--dry-run"]] {
        assert_eq!(server.output(wrong).status.code(), Some(2), "{wrong:?}");
    }
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

/// A tree with a program, a link and a directory.
fn tree(server: &Server) -> String {
    let dir = server.dir("tree");
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("one"), "1\n").unwrap();
    std::fs::write(dir.join("sub/two"), "two\n").unwrap();
    std::fs::set_permissions(dir.join("one"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("one", dir.join("link")).unwrap();
    dir.to_str().unwrap().to_owned()
}

/// Runs a command with something to read.
fn with_input(server: &Server, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = server.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn files_are_put_listed_and_got_back() {
    let server = Server::start();
    let dir = tree(&server);
    server.pfs(&["create", "repo", "r"]);
    server.pfs(&["put", "file", "r@master", "-r", "-f", &dir]);
    insta::assert_snapshot!(server.pfs(&["list", "file", "r@master:/tree"]), @r"
    SIZE NAME
    3B   /tree/link
    2B   /tree/one
    4B   /tree/sub/
    ");
    insta::assert_snapshot!(server.pfs(&["list-file", "r", "master", "tree"]), @r"
    NAME      TYPE SIZE
    tree/link file 3B
    tree/one  file 2B
    tree/sub  dir  4B
    ");
    insta::assert_snapshot!(server.pfs(&["glob", "file", "r@master:/tree/*/t*"]), @r"
    SIZE NAME
    4B   /tree/sub/two
    ");
    let back = server.dir("back");
    server.pfs(&["get", "file", "-r", "r@master:/tree", "-o", back.to_str().unwrap()]);
    assert_eq!(std::fs::read_link(back.join("link")).unwrap().to_str(), Some("one"));
    assert_eq!(std::fs::read(back.join("sub/two")).unwrap(), b"two\n");
    let mode = std::fs::metadata(back.join("one")).unwrap().permissions().mode();
    assert_eq!(mode & 0o700, 0o700);
}

#[test]
fn dash_puts_append_and_native_ones_replace() {
    let server = Server::start();
    server.pfs(&["create", "repo", "r"]);
    let put = |arguments: &[&str], text: &[u8]| {
        let output = with_input(&server, arguments, text);
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let read = || server.pfs(&["get-file", "r", "master", "a"]);
    assert_eq!(put(&["put-file", "r", "master", "a"], b"1"), "");
    assert!(put(&["put-file", "r", "master", "a", "-c"], b"2").contains("deprecated"));
    assert_eq!(read(), "12");
    put(&["put", "file", "r@master:a", "-a"], b"3");
    assert_eq!(read(), "123");
    put(&["put", "file", "r@master:/a"], b"4");
    assert_eq!(read(), "4");
    put(&["put-file", "r", "master", "a", "-o"], b"5");
    assert_eq!(read(), "5");
    assert_eq!(server.pfs(&["list", "commit", "r@master", "--raw"]).lines().count(), 5);
}

#[test]
fn large_and_empty_files_come_back_whole() {
    let server = Server::start();
    let dir = server.dir("data");
    let large: Vec<u8> = (0..9_000_001_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    std::fs::write(dir.join("large"), &large).unwrap();
    std::fs::write(dir.join("exact"), &large[..2 << 20]).unwrap();
    std::fs::write(dir.join("empty"), "").unwrap();
    server.pfs(&["create", "repo", "r"]);
    server.pfs(&["put", "file", "r@master:/", "-r", "-f", dir.to_str().unwrap()]);
    let back = server.dir("back");
    server.pfs(&["get", "file", "-r", "r@master:/", "-o", back.to_str().unwrap()]);
    for name in ["large", "exact", "empty"] {
        let same =
            std::fs::read(back.join(name)).unwrap() == std::fs::read(dir.join(name)).unwrap();
        assert!(same, "{name}");
    }
    let one = server.dir("one").join("file");
    let path = one.to_str().unwrap();
    server.pfs(&["get", "file", "r@master:/large", "-o", path]);
    assert!(std::fs::read(&one).unwrap() == large);
    std::fs::write(&one, &large[..1000]).unwrap();
    server.pfs(&["get", "file", "r@master:/large", "-o", path, "--retry"]);
    assert!(std::fs::read(&one).unwrap() == large);
    let tail = server.pfs(&["get", "file", "r@master:/large", "--offset", "9000001"]);
    assert_eq!(tail, "");
}

#[test]
fn a_failed_put_leaves_nothing() {
    let server = Server::start();
    let dir = tree(&server);
    server.pfs(&["create", "repo", "r"]);
    let missing = format!("{dir}/nothing");
    server.refused(&["put", "file", "r@master", "-f", &format!("{dir}/one"), "-f", &missing]);
    std::os::unix::net::UnixListener::bind(format!("{dir}/socket")).unwrap();
    let said = server.refused(&["put", "file", "r@master", "-r", "-f", &dir]);
    assert!(said.contains("socket is not a regular file"), "{said}");
    assert_eq!(server.pfs(&["list", "commit", "r", "--raw"]), "");
    let said = server.refused(&["get", "file", "r@master:/one", "-o", &missing]);
    assert!(said.contains("not found") && !std::path::Path::new(&missing).exists(), "{said}");
}

#[test]
fn sources_may_be_listed_and_must_not_collide() {
    let server = Server::start();
    let dir = tree(&server);
    server.pfs(&["create", "repo", "r"]);
    let list = format!("{dir}/one\n\n{dir}/sub/two\n");
    let output = with_input(&server, &["put", "file", "r@master:/in", "-i", "-"], list.as_bytes());
    assert!(output.status.success());
    assert_eq!(server.pfs(&["get", "file", "r@master:/in/two"]), "two\n");
    let twice = format!("{dir}/one");
    let output = server.output(&["put", "file", "r@master", "-f", &twice, "-f", &twice]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("multiple files put with the path"));
}

#[test]
fn differences_are_shown_by_content_name_and_side() {
    let server = Server::start();
    server.pfs(&["create", "repo", "r"]);
    with_input(&server, &["put", "file", "r@master:/a"], b"old\n");
    with_input(&server, &["put", "file", "r@master:/a"], b"new\n");
    insta::assert_snapshot!(settled(&server.pfs(&["diff", "file", "r@master"])), @r"
    --- r@ID:/a
    +++ r@ID:/a
    @@ -1 +1 @@
    -old
    +new
    ");
    insta::assert_snapshot!(server.pfs(&["diff", "file", "r@master", "--name-only"]), @r"
    OP SIZE NAME
    ~  4B   /a
    ");
    insta::assert_snapshot!(server.pfs(&["diff-file", "r", "master", "/"]), @r"
    New Files:
    NAME TYPE SIZE
    a    file 4B
    Old Files:
    NAME TYPE SIZE
    a    file 4B
    ");
}

#[test]
fn a_tar_stream_is_put_as_the_files_it_holds() {
    let server = Server::start();
    tree(&server);
    server.pfs(&["create", "repo", "r"]);
    let tar = std::process::Command::new("tar")
        .args(["-c", "-C", server.dir("tree").to_str().unwrap(), "."])
        .output()
        .unwrap();
    let output = with_input(&server, &["put", "file", "r@master:/in", "--untar"], &tar.stdout);
    assert!(output.status.success(), "{output:?}");
    insta::assert_snapshot!(server.pfs(&["glob", "file", "r@master:/**"]), @r"
    SIZE NAME
    3B   /in/link
    2B   /in/one
    4B   /in/sub/two
    ");
    let stats = json(&server.pfs(&["stats", "--raw"]));
    assert!(stats["store_puts"].as_str().unwrap().parse::<u64>().unwrap() > 0, "{stats}");
}

#[test]
fn the_server_says_who_it_is_and_what_needs_looking_at() {
    let server = Server::start();
    let cluster = server.pfs(&["inspect", "cluster"]);
    assert_eq!(cluster, server.pfs(&["inspect-cluster"]));
    assert!(settled(&cluster).starts_with("ID: ID"), "{cluster}");
    assert_eq!(settled(&server.pfs(&["check", "status"])), "PROJECT PIPELINE ALERT");
    server.pfs(&["--rpc-timeout", "30s", "list", "repo"]);
    let wrong = server.output(&["--rpc-timeout", "soon", "list", "repo"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(server.refused(&["run", "pipeline", "nobody"]).contains("nobody not found"));
}
