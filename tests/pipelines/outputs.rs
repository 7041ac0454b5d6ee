//! What is taken of `/pfs/out`, and what never is.

use super::*;

async fn of_script(server: &Server, name: &str, glob: &str, script: &str) -> JobRow {
    server.create(spec(name, "in", glob, script)).await;
    server.job(name, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_takes_what_the_datum_saw_and_no_more() {
    for copied in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::with(dir.path(), copied).await;
        server.create_repo("in").await;
        let files = [("d/a", Some("1")), ("d/b", Some("22")), ("e/old", Some("old"))];
        server.put("in", &files).await;
        let script = "n=$(basename $in); mkdir /pfs/out/$n; ln -s /pfs/in/d /pfs/out/$n/all";
        let job = of_script(&server, "each", "/d/*", script).await;
        assert_eq!(job.state, JobState::Success, "{}", job.reason);
        let output = server.output(&job).await;
        assert_eq!(paths(&output), ["/a/", "/a/all/", "/a/all/a", "/b/", "/b/all/", "/b/all/b"]);
        assert_eq!(job.counters.uploaded, 3);
        let script = "n=$(basename $in); ln -s /pfs/in/d/a /pfs/out/$n";
        let job = of_script(&server, "other", "/d/*", script).await;
        assert!(job.reason.contains("/pfs/out/b cannot be kept"), "{}", job.reason);
        assert!(job.reason.contains("link to nothing"), "{}", job.reason);
        let script = "cd /pfs/in; rm d/a; echo new > d/n; echo more >> d/b
            rm -r e; mkdir e; echo o > e/o; ln -s ../in/d /pfs/out/d; ln -s /pfs/in/e /pfs/out/";
        let job = of_script(&server, "changed", "/", script).await;
        assert_eq!(job.state, JobState::Success, "{}", job.reason);
        let output = server.output(&job).await;
        assert_eq!(paths(&output), ["/d/", "/d/b", "/d/n", "/e/", "/e/o"]);
        assert_eq!((output["/d/b"].as_str(), output["/d/n"].as_str()), ("22more\n", "new\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_out_of_pfs_stay_links() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "nobody's business").unwrap();
    let script = format!(
        "cd /pfs/out; ln -s {} s; ln -s / r; ln -s ../../../../../etc up; mkdir l
        ln -s . l/a; ln -s . l/b; ln -s /pfs/out l/c; ln -s $in ok",
        secret.display(),
    );
    let job = of_script(&server, "p", "/*", &script).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    let output = server.output(&job).await;
    assert_eq!(paths(&output), ["/l/", "/l/a", "/l/b", "/l/c", "/ok", "/r", "/s", "/up"]);
    assert_eq!((output["/s"].as_str(), output["/r"].as_str()), (secret.to_str().unwrap(), "/"));
    assert_eq!((output["/l/a"].as_str(), output["/ok"].as_str()), (".", "x"));
    let log = server.log(LogQuery { job: Some(job.job), ..LogQuery::default() }).await;
    assert!(log.iter().any(|line| line.contains("/pfs/out/s stays a symbolic link")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_cannot_be_kept_fails_its_datum() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let scripts = [
        ("below", "touch /pfs/out/f; ln -s f/g /pfs/out/z", "/z cannot be kept"),
        ("around", "cd /pfs/out; ln -s b a; ln -s a b", "form a loop"),
        ("host", "ln -s /pfs/in/x/y /pfs/out/z", "link to nothing"),
        ("bytes", "touch /pfs/out/$(printf '\\377')", "is not UTF-8"),
        ("many", MANY, "too many files"),
    ];
    for (name, script, said) in scripts {
        let mut failing = spec(name, "in", "/*", script);
        failing["datum_tries"] = "1".into();
        server.create(failing).await;
        let job = server.job(name, 1).await;
        assert_eq!(job.state, JobState::Failure, "{name}");
        assert!(job.reason.contains(said), "{name}: {}", job.reason);
        assert_eq!(server.states(&job.job).await, [DatumState::Failed], "{name}");
    }
}

/// Thirty directories, each twice in the one before: 2^30 in all.
const MANY: &str = "mkdir /pfs/out/d; cd /pfs/out/d; for n in $(seq 30); do mkdir $n; touch $n/f
    ln -s ../$((n + 1)) $n/a; ln -s ../$((n + 1)) $n/b; done; mkdir 31";

#[tokio::test(flavor = "multi_thread")]
async fn what_err_cmd_leaves_behind_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let mut recovering = spec("p", "in", "/*", "false");
    recovering["transform"]["err_cmd"] = serde_json::json!(["mkfifo", "/pfs/out/pipe"]);
    recovering["datum_tries"] = "1".into();
    server.create(recovering).await;
    let job = server.job("p", 1).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    assert_eq!(job.counters.recovered, 1);
}
