//! Pipelines, jobs and logs as the command line shows them.

use serde_json::Value;

use super::{json, settled, with_input};
use crate::server::Server;

/// A chain of two pipelines over `words`, which holds one file.
fn chain(server: &Server) {
    let specs = r#"
        {"pipeline": {"name": "count"}, "parallelismSpec": {"constant": "2"},
         "transform": {"image": "none", "cmd": ["/bin/sh"],
                       "stdin": ["wc -c < $words > /pfs/out/n", "echo counted $words"]},
         "input": {"atom": {"repo": "words", "glob": "/"}}}
        {"pipeline": {"name": "copy"}, "transform": {"cmd": ["cp", "/pfs/count/n", "/pfs/out/m"]},
         "input": {"pfs": {"repo": "count", "glob": "/*"}}}"#
        .replace("$words", "/pfs/words/a");
    server.pfs(&["create", "repo", "words"]);
    with_input(server, &["put", "file", "words@master:/a"], b"abc");
    let made = with_input(server, &["create-pipeline", "-f", "-"], specs.as_bytes());
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let server = Server::start();
    chain(&server);
    let flushed = server.pfs(&["flush-commit", "words/master"]);
    insta::assert_snapshot!(settled(&flushed), @r"
    REPO ID PARENT STARTED DURATION SIZE
    count ID <none> AGE AGE 2B
    copy ID <none> AGE AGE 2B
    ");
    assert_eq!(server.pfs(&["get-file", "copy", "master", "m"]), "3\n");
    insta::assert_snapshot!(settled(&server.pfs(&["list-job"])), @r"
    ID OUTPUT COMMIT STARTED DURATION RESTART PROGRESS DL UL STATE
    ID copy/ID AGE AGE 0 1 + 0 / 1 2B 2B success
    ID count/ID AGE AGE 0 1 + 0 / 1 3B 2B success
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["list", "job", "-p", "count"])), @r"
    PROJECT PIPELINE ID STARTED DURATION RESTART PROGRESS DL UL STATE
    default count ID AGE AGE 0 1 + 0 / 1 3B 2B success
    ");
    insta::assert_snapshot!(settled(&server.pfs(&["list-pipeline"])), @r"
    NAME INPUT OUTPUT CREATED STATE
    copy count:/* copy/master AGE running
    count words:/ count/master AGE running
    ");
    assert_eq!(server.pfs(&["logs", "-p", "count"]), "counted /pfs/words/a\n");
    let provenance = server.pfs(&["inspect-commit", "copy", "master"]);
    let line = provenance.lines().find(|line| line.starts_with("Provenance:")).unwrap();
    for (repo, times) in [(" words/", 1), (" count/", 1), (" __spec__/", 2)] {
        assert_eq!(line.matches(repo).count(), times, "{line}");
    }
}

#[test]
fn jobs_and_datums_are_named_by_either_grammar() {
    let server = Server::start();
    chain(&server);
    server.pfs(&["flush-job", "words/master"]);
    let raw = json(&server.pfs(&["list-job", "-p", "count", "--raw"]));
    let id = raw["job"]["id"].as_str().unwrap();
    assert_eq!((&raw["state"], &raw["dataTotal"]), (&"JOB_SUCCESS".into(), &"1".into()));
    assert_eq!(raw["pipeline"]["name"], "count");
    let named = format!("count@{id}");
    let inspected = server.pfs(&["inspect", "job", &named]);
    assert!(inspected.contains("Processed: 1") && inspected.contains("Total: 1"), "{inspected}");
    assert!(server.pfs(&["wait", "job", &named]).contains("1 + 0 / 1"));
    let table = server.pfs(&["list-datum", id]);
    insta::assert_snapshot!(settled(&table).replace("IDID", "DATUM"), @r"
    ID STATUS TIME
    DATUM success AGE
    ");
    let datum = table.lines().nth(1).unwrap().split(' ').next().unwrap();
    let shown = server.pfs(&["inspect", "datum", &named, datum]);
    assert!(shown.contains("State: success") && shown.contains("/"), "{shown}");
    assert_eq!(server.pfs(&["get-logs", "--job", id]), "counted /pfs/words/a\n");
}

#[test]
fn datums_of_a_running_job_are_restarted_in_either_grammar() {
    let server = Server::start();
    let (ran, gate) = (server.dir("state").join("ran"), server.dir("state").join("gate"));
    let script = "echo >> RAN; while ! test -e GATE; do sleep 0.05; done";
    let script = script.replace("RAN", ran.to_str().unwrap());
    let script = script.replace("GATE", gate.to_str().unwrap());
    let spec = serde_json::json!({
        "pipeline": {"name": "wait"},
        "transform": {"cmd": ["/bin/sh"], "stdin": [script]},
        "input": {"pfs": {"repo": "words", "glob": "/*"}},
    });
    server.pfs(&["create", "repo", "words"]);
    with_input(&server, &["put", "file", "words@master:/a"], b"abc");
    let made = with_input(&server, &["create-pipeline", "-f", "-"], spec.to_string().as_bytes());
    assert!(made.status.success(), "{made:?}");
    let started = |times: usize| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::fs::read_to_string(&ran).map_or(0, |ran| ran.lines().count()) < times {
            assert!(std::time::Instant::now() < deadline, "{}", server.log_tail());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    started(1);
    let raw = json(&server.pfs(&["list-job", "-p", "wait", "--raw"]));
    let id = raw["job"]["id"].as_str().unwrap();
    let named = format!("wait@{id}");
    server.pfs(&["restart", "datum", &named, "/a"]);
    started(2);
    server.pfs(&["restart-datum", id, "/a"]);
    started(3);
    let said = server.refused(&["restart", "datum", &named, "/a,/b"]);
    assert!(said.contains("/a, /b not found"), "{said}");
    std::fs::write(&gate, "").unwrap();
    server.pfs(&["wait", "job", &named]);
    let said = server.refused(&["restart-datum", id, "/a"]);
    assert!(said.contains("only datums of a running job") && said.contains("hint: "), "{said}");
}

#[test]
fn jobs_and_commit_sets_are_named_by_the_first_digits() {
    let server = Server::start();
    chain(&server);
    server.pfs(&["flush-commit", "words/master"]);
    let raw = json(&server.pfs(&["list-job", "-p", "count", "--raw"]));
    let id = raw["job"]["id"].as_str().unwrap();
    let few = &id[..8];
    for job in [few, &format!("count@{few}"), "count@master"] {
        assert!(server.pfs(&["inspect", "job", job]).contains(id), "{job}");
        assert!(server.pfs(&["list", "datum", job]).contains("success"), "{job}");
        assert!(server.pfs(&["wait", "job", job]).contains(id), "{job}");
        assert_eq!(server.pfs(&["logs", "-j", job]), "counted /pfs/words/a\n", "{job}");
        server.pfs(&["stop", "job", job]);
    }
    for command in [["list", "job"], ["list", "commit"], ["inspect", "commit"], ["wait", "commit"]]
    {
        assert!(server.pfs(&[command[0], command[1], few]).contains(id), "{command:?}");
    }
    assert!(server.pfs(&["inspect-job", few]).contains(id));
    server.pfs(&["create", "repo", few]);
    assert!(!server.pfs(&["list", "commit", few]).contains(id), "a repo of that name comes first");
    let said = server.refused(&["inspect", "job", "count@nope"]);
    assert!(said.contains("count@nope"), "{said}");
    server.refused(&["wait", "job", "nope"]);
}

#[test]
fn a_set_shows_the_commits_of_users_first() {
    let server = Server::start();
    chain(&server);
    server.pfs(&["flush-commit", "words/master"]);
    with_input(&server, &["put", "file", "words@master:/a"], b"abcd");
    server.pfs(&["wait", "commit", "copy@master"]);
    let raw = json(&server.pfs(&["inspect", "commit", "copy@master", "--raw"]));
    let shown = server.pfs(&["inspect", "commit", raw["commit"]["id"].as_str().unwrap()]);
    let members = shown.lines().filter_map(|line| line.strip_prefix("Commit: "));
    let repos: Vec<_> = members.map(|name| name.split('@').next().unwrap()).collect();
    assert_eq!(repos.len(), 5, "{shown}");
    let mut first = repos[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, ["copy", "count", "words"]);
    assert!(shown.contains("\n\nCommit: "), "{shown}");
}

#[test]
fn a_failed_job_is_told_of_by_what_happened() {
    let server = Server::start();
    server.pfs(&["create", "repo", "words"]);
    with_input(&server, &["put", "file", "words@master:/a"], b"abc");
    let spec = br#"{"pipeline": {"name": "fail"}, "transform": {"cmd": ["sh", "-c", "exit 3"]},
                    "datum_tries": 1, "input": {"pfs": {"repo": "words", "glob": "/"}}}"#;
    assert!(with_input(&server, &["create", "pipeline"], spec).status.success());
    for (wait, name) in [("wait", "fail@"), ("flush-commit", "fail/")] {
        let words = match wait {
            "wait" => vec!["wait", "commit", "fail@master"],
            _ => vec!["flush-commit", "words/master"],
        };
        let waited = server.output(&words);
        let said = String::from_utf8_lossy(&waited.stderr);
        assert!(waited.status.success(), "{said}");
        assert!(said.contains(&format!("notice: {name}")), "{said}");
        assert!(said.contains("finished with an error: exit code 3: datum "), "{said}");
    }
    assert!(server.pfs(&["list", "job", "-p", "fail"]).contains("failure: exit code 3: datum "));
    for read in [["get", "file", "fail@master:/x"], ["list", "file", "fail@master"]] {
        assert!(server.refused(&read).contains("finished with an error: exit code 3"), "{read:?}");
    }
    server.refused(&["flush-commit", "words/master", "-r", "nope"]);
}

#[test]
fn a_pipeline_shows_the_spec_that_was_written() {
    let server = Server::start();
    chain(&server);
    let raw = json(&server.pfs(&["inspect", "pipeline", "count", "--raw"]));
    let spec = |key: &str| json(raw[key].as_str().unwrap());
    let written = spec("user_spec_json");
    assert_eq!(written["parallelismSpec"]["constant"], "2");
    assert_eq!(written["input"]["atom"]["glob"], "/");
    assert!(written["salt"].is_null() && written["update"].is_null(), "{written}");
    assert_eq!(spec("effective_spec_json")["input"]["pfs"]["branch"], "master");
    server.pfs(&["rerun", "pipeline", "count"]);
    assert!(server.pfs(&["extract", "pipeline", "count"]).contains("parallelismSpec"));
}

#[test]
fn a_pipeline_is_changed_and_stopped() {
    let server = Server::start();
    chain(&server);
    server.pfs(&["flush-commit", "words/master"]);
    let edited = server
        .command(&["edit", "pipeline", "count", "--editor", "sed -i s/\"2\"/\"3\"/"])
        .output()
        .unwrap();
    assert!(edited.status.success(), "{edited:?}");
    let info = json(&server.pfs(&["inspect", "pipeline", "count", "--raw"]));
    assert_eq!((&info["version"], &info["parallelism"]), (&"2".into(), &"3".into()));
    server.pfs(&["stop", "pipeline", "count"]);
    assert!(server.pfs(&["list", "pipeline"]).contains("paused"));
    server.pfs(&["start", "pipeline", "count"]);
    server.refused(&["delete", "pipeline", "count"]);
    server.pfs(&["delete", "pipeline", "copy"]);
    server.pfs(&["delete", "pipeline", "count"]);
    insta::assert_snapshot!(settled(&server.pfs(&["list-repo"])), @r"
    NAME CREATED SIZE
    words AGE 3B
    ");
}

#[test]
fn history_shows_jobs_and_pipelines_of_earlier_versions() {
    let server = Server::start();
    chain(&server);
    server.pfs(&["flush-commit", "words/master"]);
    with_input(&server, &["put", "file", "words@master:/a"], b"abcd");
    server.pfs(&["flush-commit", "words/master"]);
    let old = json(&server.pfs(&["inspect", "commit", "words@master", "--raw"]));
    let old = old["commit"]["id"].as_str().unwrap();
    let edited = server
        .command(&["edit", "pipeline", "count", "--editor", "sed -i s/\"2\"/\"3\"/"])
        .output()
        .unwrap();
    assert!(edited.status.success(), "{edited:?}");
    server.pfs(&["wait", "commit", "count@master"]);
    let count = |arguments: &[&str]| server.pfs(arguments).lines().count() - 1;
    assert_eq!(count(&["list", "job", "-p", "count"]), 1);
    assert_eq!(count(&["list", "job", "-p", "count", "--history", "1"]), 3);
    assert_eq!(count(&["list", "job", "-p", "count", "--history", "all"]), 3);
    // There was one kind of history then.
    assert_eq!(count(&["list-job", "-p", "count"]), 3);
    assert_eq!(count(&["list", "pipeline", "count", "--history", "all"]), 2);
    let then = server.pfs(&["list", "pipeline", "--commit", old, "--raw"]);
    let then: Vec<Value> =
        serde_json::Deserializer::from_str(&then).into_iter().map(Result::unwrap).collect();
    let versions = then.iter().map(|info| (&info["pipeline"]["name"], &info["version"]));
    assert_eq!(
        versions.collect::<Vec<_>>(),
        [(&"copy".into(), &"1".into()), (&"count".into(), &"1".into())]
    );
    let none =
        server.refused(&["list", "pipeline", "--commit", "00000000000000000000000000000000"]);
    assert!(none.contains("not found"), "{none}");
}

#[test]
fn a_spec_with_a_mistake_is_located_and_changes_nothing() {
    let server = Server::start();
    server.pfs(&["create", "repo", "words"]);
    let file = server.dir("specs").join("two.json");
    let good = r#"{"pipeline": {"name": "a"}, "transform": {"cmd": ["true"]},
                   "input": {"pfs": {"repo": "words", "glob": "/"}}}"#;
    std::fs::write(&file, format!("{good}\n{}", good.replace("\"cmd\"", "\"cmdd\""))).unwrap();
    let file = file.to_str().unwrap();
    let said = server.refused(&["create", "pipeline", "-f", file]);
    assert!(said.contains(&format!("{file}:3:")) && said.contains("cmd"), "{said}");
    assert!(!server.pfs(&["list", "pipeline"]).contains(" a "));
    server.refused(&["validate", "pipeline", "-f", file]);
}

#[test]
fn secrets_are_kept_and_not_shown() {
    let server = Server::start();
    let manifest = "kind: Secret\napiVersion: v1\nmetadata: {name: hub}\ndata: {user: YW5u}\n";
    let made = with_input(&server, &["create-secret", "-f", "-"], manifest.as_bytes());
    assert!(made.status.success(), "{made:?}");
    server.pfs(&["create", "secret", "other", "--from-literal", "password=hidden"]);
    let table = server.pfs(&["list", "secret"]) + &server.pfs(&["inspect", "secret", "other"]);
    assert!(table.contains("hub") && table.contains("other"), "{table}");
    assert!(!table.contains("hidden") && !table.contains("YW5u"), "{table}");
    server.pfs(&["delete", "secret", "hub"]);
    assert!(!server.pfs(&["list", "secret"]).contains("hub"));
}

#[test]
fn a_branch_whose_last_job_failed_is_read_at_its_newest_good_commit() {
    let server = Server::start();
    let spec = r#"{"pipeline": {"name": "p"}, "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"cmd": ["/bin/sh"], "stdin": ["test ! -e /pfs/in/bad && cp /pfs/in/a /pfs/out"]}}"#;
    server.pfs(&["create", "repo", "in"]);
    let made = with_input(&server, &["create", "pipeline", "-f", "-"], spec.as_bytes());
    assert!(made.status.success(), "{made:?}");
    for path in ["a", "bad"] {
        with_input(&server, &["put", "file", &format!("in@master:/{path}")], b"abc");
        server.pfs(&["wait", "commit", "p@master"]);
    }
    assert!(server.pfs(&["list", "job", "-p", "p"]).contains("failure"));
    assert!(server.pfs(&["list", "file", "p@master"]).contains("/a"));
    assert_eq!(server.pfs(&["get", "file", "p@master:/a"]), "abc");
    assert_eq!(server.pfs(&["get-file", "p", "master", "a"]), "abc");
}
