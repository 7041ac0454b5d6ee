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
    refused(&server, &["delete", "repo", "dta"], &["dta", "not found", "hint: ", "data"]);
    refused(&server, &["delete-repo", "nothing"], &["nothing", "not found"]);
    refused(&server, &["list", "file", "data@master^7"], &["data@master^7"]);
    refused(&server, &["list", "file", "data@0123456789abcdef0123456789abcdef"], &["0123456789"]);
    refused(&server, &["list", "file", "data@master~7"], &["data"]);
}

#[test]
fn a_name_in_another_project_is_hinted_at_in_full() {
    let server = prepared();
    server.pfs(&["create", "project", "other"]);
    let said = ["hint: did you mean default/data?"];
    refused(&server, &["--project", "other", "inspect", "repo", "data"], &said);
    server.pfs(&["inspect", "repo", "default/data", "--project", "other"]);
}

#[test]
fn too_few_digits_of_an_id_are_said_to_be() {
    let server = prepared();
    let list = server.pfs(&["list-commit", "data"]);
    let id = list.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
    let few = format!("data@{}", &id[..7]);
    refused(&server, &["inspect", "commit", &few], &[&few, "hint: ", "8 or more digits"]);
    assert!(server.pfs(&["inspect", "commit", &format!("data@{}", &id[..8])]).contains(id));
    refused(&server, &["inspect", "commit", "00000000"], &["00000000", "not found"]);
}

#[test]
fn what_is_in_use_is_deleted_by_naming_the_flag() {
    let server = prepared();
    server.pfs(&["put", "file", "data@master:/dir/x", "-f", "/dev/null"]);
    refused(&server, &["get", "file", "data@master:/dir"], &["is a directory", "-r"]);
    let spec = |name: &str, from: &str| {
        format!(
            r#"{{"pipeline": {{"name": "{name}"}}, "transform": {{"cmd": ["true"]}},
                "input": {{"pfs": {{"repo": "{from}", "glob": "/"}}}}}}"#
        )
    };
    let file = server.dir("specs").join("two.json");
    fs::write(&file, spec("a", "data") + &spec("b", "a")).unwrap();
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap()]);
    server.pfs(&["wait", "commit", "b@master"]);
    refused(&server, &["delete", "pipeline", "a"], &["hint: delete pipeline b first", "--force"]);
    refused(&server, &["delete", "repo", "data"], &["hint: delete pipeline a first", "--force"]);
    server.pfs(&["create", "project", "full"]);
    server.pfs(&["create", "repo", "full/x"]);
    refused(&server, &["delete", "project", "full"], &["hint: ", "--force"]);
}

#[test]
fn what_cannot_be_written_is_named() {
    let server = prepared();
    let nowhere = server.dir("out").join("no/such/file");
    let nowhere = nowhere.to_str().unwrap();
    refused(&server, &["get", "file", "data@master:/one.txt", "-o", nowhere], &[nowhere]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = server
        .command(&["list", "repo"])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write standard output: "), "{said}");
}

#[test]
fn specs_of_one_file_are_refused_together() {
    let server = prepared();
    let good = r#"{"pipeline": {"name": "a"}, "transform": {"cmd": ["true"]},
        "input": {"cross": [{"pfs": {"repo": "data", "glob": "/"}},
                            {"cron": {"name": "tick", "spec": "@daily"}}]}}"#;
    let after = |extra: &str| {
        let input = r#""input": {"pfs": {"repo": "a", "glob": "/"}}"#;
        let transform = format!(r#""transform": {{"cmd": ["true"]{extra}}}"#);
        format!("{good}\n{{\"pipeline\": {{\"name\": \"b\"}}, {transform}, {input}}}")
    };
    let secret = r#", "secrets": [{"name": "hub", "mountPath": "/tmp/hub"}]"#;
    let said = ["spec.json:4:1: pipeline b: ", "hub", "hint: ", "create secret"];
    spec_refused(&server, &after(secret), &said);
    let said = ["spec.json:4:1: pipeline b: ", "nothing"];
    spec_refused(&server, &after("").replace("\"repo\": \"a\"", "\"repo\": \"nothing\""), &said);
    let said = ["spec.json:4:1: pipeline a: ", "already exists"];
    let again = after("").replace(r#""repo": "a""#, r#""repo": "data""#);
    spec_refused(&server, &again.replace(r#""name": "b""#, r#""name": "a""#), &said);
    assert!(!server.pfs(&["list", "repo"]).contains("tick"), "the cron's repo was made");
    let file = server.dir("specs").join("spec.json");
    fs::write(&file, after("")).unwrap();
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap(), "--dry-run"]);
    assert!(!server.pfs(&["list", "pipeline"]).contains(" a "));
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap()]);
    let said = ["spec.json:1:1: pipeline a: ", "already exists"];
    refused(&server, &["create", "pipeline", "--dry-run", "-f", file.to_str().unwrap()], &said);
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

#[test]
fn fsck_looks_for_the_packs_of_files() {
    let mut server = prepared();
    let large = server.dir("files").join("large");
    let mut noise = vec![0; 12 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(&large, noise).unwrap();
    server.pfs(&["put", "file", "data@master:/large", "-f", large.to_str().unwrap()]);
    let size = |at: &std::path::PathBuf| fs::metadata(at).unwrap().len();
    let pack = server.objects("packs").into_iter().max_by_key(size).unwrap();
    assert!(server.pfs(&["fsck"]).contains("No errors found."));
    fs::remove_file(&pack).unwrap();
    server.kill();
    server.resume();
    let check = server.output(&["fsck"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{said}");
    assert!(names_one_of(&said, &[pack]) && said.contains("/large"), "{said}");
    assert!(String::from_utf8_lossy(&check.stderr).contains("1 error found"));
}

#[test]
fn a_catalog_is_not_served_with_another_store() {
    let mut server = prepared();
    server.kill();
    let other = server.dir("other-store");
    let url = format!("file://{}", other.display());
    for store in ["memory://", &url] {
        let started = server.output(&["serve", "--address", "127.0.0.1:0", "--store", store]);
        assert_eq!(started.status.code(), Some(1), "{store}");
        let error = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(error.contains("belongs to another store than"), "{error}");
        assert!(error.contains("objects") && error.contains("--store"), "{error}");
    }
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "the other store was written to");
    server.resume();
    assert_eq!(server.pfs(&["get", "file", "data@master:/one.txt"]), "one");
}

#[test]
fn a_lost_catalog_is_rebuilt_from_the_store() {
    let mut server = prepared();
    let before = server.pfs(&["inspect", "commit", "data@master", "--raw"]);
    server.refused(&["fsck", "--rebuild"]);
    server.kill();
    for file in fs::read_dir(server.root()).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("catalog.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let started = server.output(&["serve", "--address", "127.0.0.1:0"]);
    assert_eq!(started.status.code(), Some(1));
    let error = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(error.contains("belongs to another catalog") && error.contains("--rebuild"), "{error}");
    let made = server.pfs(&["fsck", "--rebuild"]);
    assert!(made.contains("1 repos, 1 branches and 1 commits rebuilt"), "{made}");
    server.resume();
    assert_eq!(server.pfs(&["get", "file", "data@master:/one.txt"]), "one");
    let id = |raw: &str| serde_json::from_str::<serde_json::Value>(raw).unwrap()["commit"].clone();
    assert_eq!(id(&server.pfs(&["inspect", "commit", "data@master", "--raw"])), id(&before));
    assert!(server.pfs(&["fsck", "--data"]).contains("No errors found."));
}

#[test]
fn two_catalogs_do_not_share_a_store() {
    let server = prepared();
    let (root, objects) = (server.dir("other-root"), server.root().join("objects"));
    let url = format!("file://{}", objects.display());
    let started = server
        .command(&["serve", "--address", "127.0.0.1:0", "--store", &url])
        .env("PFS_ROOT", &root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(started.status.code(), Some(1));
    let error = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(error.contains("belongs to another catalog"), "{error}");
}

#[test]
fn logs_are_not_filtered_by_nonsense() {
    let server = Server::start();
    let mut command = server.command(&["serve", "--address", "127.0.0.1:0"]);
    let output = command.env("PFS_LOG", "[[[").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PFS_LOG"));
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
