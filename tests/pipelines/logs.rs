//! What programs print, and where it is found later.

use super::*;

/// The directory of spools, once nothing is left in it.
async fn no_spools(dir: &Path) {
    let logs = dir.join("controller/logs");
    let begun = Instant::now();
    while std::fs::read_dir(&logs).is_ok_and(|mut left| left.next().is_some()) {
        assert!(begun.elapsed() < PATIENCE, "spools are left in {}", logs.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn of_job(job: &Job) -> LogQuery {
    LogQuery { job: Some(job.clone()), ..LogQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_to_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let gate = dir.path().join("gate");
    let script = format!(
        "seq 1000; while ! test -e '{}'; do sleep 0.05; done; seq 1001 20000",
        gate.display()
    );
    server.create(spec("p", "in", "/", &script)).await;
    let running = |rows: &[JobRow]| rows.iter().any(|row| row.state == JobState::Running);
    let job = server.until("p", running).await.remove(0).job;
    let mut lines = server.controller.read_logs(LogQuery { follow: true, ..of_job(&job) });
    let expected = |n: usize| n.to_string();
    for n in 1..=1000 {
        assert_eq!(lines.next().await.unwrap().unwrap().line.text, expected(n));
    }
    std::fs::write(&gate, "").unwrap();
    for n in 1001..=20000 {
        assert_eq!(lines.next().await.unwrap().unwrap().line.text, expected(n));
    }
    assert!(lines.next().await.is_none());
    server.job("p", 1).await;
    let tail = server.log(LogQuery { tail: Some(2), ..of_job(&job) }).await;
    assert_eq!(tail, ["19999", "20000"]);
    no_spools(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_is_of_the_lines_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("a", Some("1")), ("b", Some("2"))]).await;
    server.create(spec("p", "in", "/*", "echo one; echo $in")).await;
    server.job("p", 1).await;
    server.put("in", &[("c", Some("3"))]).await;
    let job = server.job("p", 2).await.job;
    let of_pipeline = LogQuery { pipeline: Some(pipeline("p")), ..LogQuery::default() };
    let tail = |count, inputs: &[&str]| LogQuery {
        tail: Some(count),
        inputs: inputs.iter().map(|text| (*text).to_owned()).collect(),
        ..of_pipeline.clone()
    };
    assert_eq!(server.log(tail(1, &["/a"])).await, ["/pfs/in/a"]);
    assert_eq!(server.log(tail(2, &["b"])).await, ["one", "/pfs/in/b"]);
    assert_eq!(server.log(tail(1, &[])).await, ["/pfs/in/c"]);
    assert_eq!(server.log(tail(9, &[])).await.len(), 6);
    assert_eq!(server.log(of_job(&job)).await, ["one", "/pfs/in/c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_did_before_it_was_stopped_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("a", Some("1")), ("b", Some("2"))]).await;
    let script = "echo $in; case $in in */a) ;; *) sleep 600;; esac";
    server.create(spec("stopped", "in", "/*", script)).await;
    let running = |rows: &[JobRow]| rows.iter().any(|row| row.counters.processed == 1);
    let job = server.until("stopped", running).await.remove(0).job;
    let mut lines = server.controller.read_logs(LogQuery { follow: true, ..of_job(&job) });
    for _ in 0..2 {
        lines.next().await.unwrap().unwrap();
    }
    server.controller.stop_job(&job).await.unwrap();
    assert!(lines.next().await.is_none());
    let row = server.job("stopped", 1).await;
    assert_eq!(row.state, JobState::Killed, "{}", row.reason);
    let mut log = server.log(of_job(&row.job)).await;
    log.sort();
    assert_eq!(log, ["/pfs/in/a", "/pfs/in/b"]);
    let mut states = server.states(&row.job).await;
    states.sort();
    assert_eq!(states, [DatumState::Success, DatumState::Failed]);
    let mut limited = spec("limited", "in", "/*", script);
    limited["job_timeout"] = "1s".into();
    server.create(limited).await;
    let job = server.until("limited", |rows| !rows.is_empty()).await.remove(0).job;
    let followed = server.log(LogQuery { follow: true, ..of_job(&job) }).await;
    let row = server.job("limited", 1).await;
    assert_eq!(row.state, JobState::Failure, "{}", row.reason);
    let mut kept = server.log(of_job(&job)).await;
    kept.sort();
    let mut followed = followed;
    followed.sort();
    assert_eq!(kept, followed);
    no_spools(dir.path()).await;
}
