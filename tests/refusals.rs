//! Bad input, as a user types it: a clear error with exit code 1, the remedy
//! where there is one, and nothing lost or changed.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::server::Server;

/// A server with a repo `data` that holds one file.
fn prepared() -> Server {
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    put(&server, "data@master:/one.txt", b"one");
    server
}

fn put(server: &Server, target: &str, content: &[u8]) {
    let mut child =
        server.command(&["put", "file", target, "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    assert!(child.wait().unwrap().success(), "put {target}");
}

/// What the server holds, as far as a user can see it.
fn state(server: &Server) -> [String; 3] {
    [
        server.pfs(&["list", "repo", "--raw"]),
        server.pfs(&["list", "commit", "data@master", "--raw"]),
        server.pfs(&["list", "pipeline", "--raw"]),
    ]
}

/// Runs a command that must be refused with all of `said` in its error, and
/// must not have changed anything.
#[track_caller]
fn refused(server: &Server, arguments: &[&str], said: &[&str]) {
    let before = state(server);
    let error = server.refused(arguments);
    for word in said {
        assert!(error.contains(word), "pfs {arguments:?} should say {word:?}:\n{error}");
    }
    assert_eq!(state(server), before, "pfs {arguments:?} changed something");
}

/// Writes a spec to a file and tries to create a pipeline from it.
#[track_caller]
fn spec_refused(server: &Server, spec: &str, said: &[&str]) {
    let file = server.dir("specs").join("spec.json");
    fs::write(&file, spec).unwrap();
    refused(server, &["create", "pipeline", "-f", file.to_str().unwrap()], said);
}

#[test]
fn names_outside_the_alphabet_are_refused() {
    let server = prepared();
    for name in ["a b", "a/b", "ü", "a.b", ""] {
        refused(&server, &["create", "repo", name], &["error: "]);
    }
    refused(&server, &["create", "repo", "data"], &["data", "exists"]);
    refused(&server, &["create", "branch", "data@a b"], &["error: "]);
}

#[test]
fn impossible_paths_are_refused() {
    let server = prepared();
    let long = format!("data@master:/{}", "x/".repeat(2500));
    let wide = format!("data@master:/{}", "x".repeat(300));
    for target in ["data@master:/../x", "data@master:/a/../b", "data@master:/a//b", &long, &wide] {
        refused(&server, &["put", "file", target, "-f", "/dev/null"], &["path"]);
    }
}

#[test]
fn unknown_things_are_named_with_the_nearest_match() {
    let server = prepared();
    refused(&server, &["list", "file", "dta@master"], &["dta", "hint: ", "data"]);
    refused(&server, &["list", "file", "data@mastr"], &["mastr", "hint: ", "master"]);
    refused(&server, &["get", "file", "data@master:/on.txt"], &["on.txt", "hint: ", "one.txt"]);
    refused(&server, &["inspect", "pipeline", "none"], &["none"]);
    refused(&server, &["list", "file", "data@0123456789abcdef0123456789abcdef"], &["0123456789"]);
    refused(&server, &["list", "file", "data@master~7"], &["data"]);
}

#[test]
fn a_finished_commit_takes_no_more() {
    let server = prepared();
    let commit = server.pfs(&["inspect", "commit", "data@master", "--raw"]);
    let commit: serde_json::Value = serde_json::from_str(&commit).unwrap();
    let id = commit["commit"]["id"].as_str().unwrap();
    let target = format!("data@{id}:/two.txt");
    refused(&server, &["put", "file", &target, "-f", "/dev/null"], &["finished"]);
    refused(&server, &["delete", "file", &format!("data@{id}:/one.txt")], &["finished"]);
    refused(&server, &["finish", "commit", &format!("data@{id}")], &["finished"]);
}

#[test]
fn an_output_branch_takes_no_commit_by_hand() {
    let server = prepared();
    let spec = r#"{"pipeline": {"name": "out"}, "transform": {"cmd": ["true"]},
        "input": {"pfs": {"repo": "data", "glob": "/"}}}"#;
    let file = server.dir("specs").join("out.json");
    fs::write(&file, spec).unwrap();
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap()]);
    server.pfs(&["wait", "commit", "out@master"]);
    refused(&server, &["start", "commit", "out@master"], &["output branch"]);
    refused(&server, &["put", "file", "out@master:/x", "-f", "/dev/null"], &["output branch"]);
}

#[test]
fn a_malformed_spec_is_refused_at_its_place() {
    let server = prepared();
    spec_refused(&server, "{\n  \"pipeline\": {\n", &["spec.json"]);
    spec_refused(
        &server,
        "{\n  \"pipeline\": {\"name\": \"p\"},\n  \"transfrom\": {}\n}",
        &["spec.json", "3", "transfrom", "transform"],
    );
    spec_refused(
        &server,
        r#"{"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]},
            "input": {"pfs": {"repo": "nothing", "glob": "/"}}}"#,
        &["nothing"],
    );
    spec_refused(
        &server,
        r#"{"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]},
            "input": {"pfs": {"repo": "data"}}}"#,
        &["glob"],
    );
    spec_refused(
        &server,
        r#"{"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]},
            "input": {"pfs": {"name": "out", "repo": "data", "glob": "/"}}}"#,
        &["out"],
    );
    spec_refused(
        &server,
        r#"{"pipeline": {"name": "a pipeline"}, "transform": {"cmd": ["true"]},
            "input": {"pfs": {"repo": "data", "glob": "/"}}}"#,
        &["a pipeline"],
    );
    spec_refused(
        &server,
        r#"{"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]}, "input": {"cross": [
            {"pfs": {"repo": "data", "glob": "/"}}, {"pfs": {"repo": "data", "glob": "/*"}}]}}"#,
        &["data"],
    );
}

#[test]
fn a_second_server_on_one_root_is_refused() {
    let server = prepared();
    let second = server.output(&["serve", "--address", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("error: "), "{error}");
    assert!(error.contains("another") || error.contains("in use"), "{error}");
    assert_eq!(server.pfs(&["get", "file", "data@master:/one.txt"]), "one");
}

#[test]
fn a_corrupt_or_missing_object_is_named_and_never_read() {
    let mut server = prepared();
    let large: Vec<u8> = (0..300_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
    put(&server, "data@master:/large", &large);
    let packs = server.objects("packs");
    assert!(!packs.is_empty());
    for pack in &packs {
        let mut bytes = fs::read(pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(pack, bytes).unwrap();
    }
    // Nothing read before may answer from memory.
    server.kill();
    server.resume();
    let got = server.output(&["get", "file", "data@master:/large"]);
    assert!(!got.status.success(), "corrupt data was returned");
    assert!(large.starts_with(&got.stdout), "wrong bytes came out");
    let check = server.output(&["fsck", "--data"]);
    assert_eq!(check.status.code(), Some(1), "fsck finds it");
    let said = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    assert!(names_one_of(&said, &packs), "fsck names the object: {said}");

    for pack in &packs {
        fs::remove_file(pack).unwrap();
    }
    server.kill();
    server.resume();
    let error = server.refused(&["get", "file", "data@master:/large"]);
    assert!(names_one_of(&error, &packs), "the missing object is named: {error}");
}

/// Whether a text has the name of one of the objects.
fn names_one_of(text: &str, objects: &[std::path::PathBuf]) -> bool {
    objects.iter().any(|at| text.contains(&*at.file_name().unwrap().to_string_lossy()))
}

#[test]
fn a_catalog_from_a_newer_version_is_refused() {
    let mut server = prepared();
    server.kill();
    let catalog = rusqlite::Connection::open(server.root().join("catalog.db")).unwrap();
    let version: i64 = catalog.query_row("pragma user_version", [], |row| row.get(0)).unwrap();
    catalog.pragma_update(None, "user_version", version + 1).unwrap();
    drop(catalog);
    let started = server.output(&["serve", "--address", "127.0.0.1:0"]);
    assert_eq!(started.status.code(), Some(1));
    let error = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(error.contains(&format!("version {}", version + 1)), "{error}");
    let catalog = rusqlite::Connection::open(server.root().join("catalog.db")).unwrap();
    catalog.pragma_update(None, "user_version", version).unwrap();
    drop(catalog);
    server.resume();
    assert_eq!(server.pfs(&["get", "file", "data@master:/one.txt"]), "one");
}

#[test]
fn an_unreachable_store_is_named() {
    let server = prepared();
    let other = server.dir("other-root");
    let started = server
        .command(&["serve", "--address", "127.0.0.1:0", "--store", "s3://bucket/prefix"])
        .env("PFS_ROOT", &other)
        .env("AWS_ENDPOINT", "http://127.0.0.1:9")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_REGION", "none")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(started.status.code(), Some(1));
    let error = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(error.contains("s3://bucket") || error.contains("bucket"), "{error}");
}

#[test]
fn keys_of_secrets_are_names_of_files() {
    let server = prepared();
    for key in ["../../escaped", "a/b", "..", "ü"] {
        let literal = format!("{key}=value");
        refused(
            &server,
            &["create", "secret", "s", "--from-literal", &literal],
            &["key", "invalid"],
        );
    }
    server.pfs(&["create", "secret", "s", "--from-literal", ".docker_config-1.json=value"]);
}

#[test]
fn only_the_owner_reads_the_state() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = prepared();
    server.pfs(&["create", "secret", "s", "--from-literal", "key=value"]);
    let mode =
        |name: &str| fs::metadata(server.root().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("jobs")), (0o700, 0o700));
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}
