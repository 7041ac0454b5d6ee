//! Datums that are interrupted and processed again.

use super::*;

/// How often a datum's program was started.
fn starts(ran: &Path, of: &str) -> usize {
    let ran = std::fs::read_to_string(ran).unwrap_or_default();
    ran.lines().filter(|line| *line == of).count()
}

async fn started(ran: &Path, of: &str, times: usize) {
    let begun = Instant::now();
    while starts(ran, of) < times {
        assert!(begun.elapsed() < PATIENCE, "{of} is not started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_datum_is_processed_again_without_using_up_a_try() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("a", Some("1")), ("b", Some("2"))]).await;
    let (ran, gate) = (dir.path().join("ran"), dir.path().join("gate"));
    let script = format!(
        "f=$(basename $in); echo $f >> {}; while ! test -e {}; do sleep 0.05; done; cp $in /pfs/out",
        ran.display(),
        gate.display(),
    );
    let mut waiting = spec("p", "in", "/*", &script);
    waiting["parallelism_spec"] = serde_json::json!({"constant": 2});
    waiting["datum_tries"] = "1".into();
    server.create(waiting).await;
    let job = server.until("p", |rows| rows.iter().any(|row| row.state == JobState::Running)).await;
    let job = job[0].job.clone();
    for datum in ["a", "b"] {
        started(&ran, datum, 1).await;
    }
    let restart = |filters: &[&str]| {
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let (controller, job) = (server.controller.clone(), job.clone());
        async move { controller.restart_datums(&job, &filters).await.map_err(|e| e.to_string()) }
    };
    let none = restart(&["/a", "/b"]).await.unwrap_err();
    assert!(none.contains("with /a, /b not found"), "{none}");
    restart(&["/a"]).await.unwrap();
    started(&ran, "a", 2).await;
    std::fs::write(&gate, "").unwrap();
    let row = server.job("p", 1).await;
    assert_eq!(row.state, JobState::Success, "{}", row.reason);
    assert_eq!((starts(&ran, "a"), starts(&ran, "b")), (2, 1));
    assert_eq!(paths(&server.output(&row).await), ["/a", "/b"]);
    let datums = server.controller.list_datums(&job).collect::<Vec<_>>().await;
    assert!(datums.into_iter().all(|datum| datum.unwrap().record.tries == 1));
    let over = restart(&["/a"]).await.unwrap_err();
    assert!(over.contains("is success: only datums of a running job"), "{over}");
}
