//! Pipelines that are stopped while they work, and what is pushed elsewhere.

use super::*;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_pipeline_runs_no_program_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("a", Some("1")), ("b", Some("2"))]).await;
    let at = |name: &str| dir.path().join(name);
    let script = format!(
        "f=$(basename $in); echo $f >> '{}'; case $f in a) ;; *)
        while ! test -e '{}'; do date +%N > '{}'; sleep 0.02; done;; esac; touch /pfs/out/$f",
        at("ran").display(),
        at("gate").display(),
        at("beat").display(),
    );
    server.create(spec("p", "in", "/*", &script)).await;
    let begun = Instant::now();
    while text(&at("ran")) != "a\nb\n" || text(&at("beat")).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "ran: {}", text(&at("ran")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.until("p", |rows| rows[0].counters.processed == 1).await;
    server.controller.stop_pipeline(&pipeline("p")).await.unwrap();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the program goes on");
        std::fs::write(at("beat"), "still").unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        if text(&at("beat")) == "still" {
            break;
        }
    }
    let row = server.until("p", |_| true).await.remove(0);
    assert_eq!(row.state, JobState::Running);
    std::fs::write(at("gate"), "").unwrap();
    server.controller.start_pipeline(&pipeline("p")).await.unwrap();
    let row = server.job("p", 1).await;
    assert_eq!(row.state, JobState::Success, "{}", row.reason);
    assert_eq!(paths(&server.output(&row).await), ["/a", "/b"]);
    assert_eq!(text(&at("ran")), "a\nb\nb\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_pushed_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let there = dir.path().join("there");
    let script = "seq 4000000 > /pfs/out/large; mkdir /pfs/out/d; echo small > /pfs/out/d/small";
    let mut pushing = spec("p", "in", "/", script);
    pushing["egress"] = serde_json::json!({"URL": format!("file://{}", there.display())});
    server.create(pushing).await;
    let job = server.job("p", 1).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    assert_eq!(text(&there.join("d/small")), "small\n");
    let large = text(&there.join("large"));
    assert!(large.len() > 16 << 20 && large.ends_with("\n3999999\n4000000\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_keep_to_their_schedule_whatever_becomes_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let ticking = |name: &str, script: &str| {
        let mut ticking = spec(name, "in", "/", script);
        ticking["input"] = serde_json::json!({"cron": {"name": "tick", "spec": "@every 2s"}});
        ticking
    };
    server.create(ticking("broken", "true")).await;
    let ticks = Repo::user(ProjectName::default_project(), name("broken_tick"));
    server.repos.delete_repo(&ticks, true).await.unwrap();
    server.create(ticking("p", "touch /pfs/out/$(basename $tick)")).await;
    let over = |row: &JobRow| row.state.is_terminal();
    let jobs = server.until("p", |rows| rows.iter().filter(|row| over(row)).count() >= 3).await;
    let last = jobs.into_iter().rfind(over).unwrap();
    let output = server.output(&last).await;
    let ticks = paths(&output);
    let seconds = |tick: &&str| tick[1..].parse::<jiff::Timestamp>().unwrap().as_second();
    let times: Vec<i64> = ticks.iter().map(seconds).collect();
    assert!(times.len() >= 3, "{ticks:?}");
    assert!(times.iter().all(|time| time % 2 == times[0] % 2), "{ticks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pipeline_leaves_no_cron_repo_and_a_deleted_one_none_either() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for repo in ["p", "data"] {
        server.create_repo(repo).await;
        server.put(repo, &[("x", Some("x"))]).await;
    }
    let ticking = |name: &str, repo: &str| {
        let mut ticking = spec(name, "in", "/", "true");
        ticking["input"] = serde_json::json!({"cross": [
            {"cron": {"name": "tick", "spec": "@daily"}},
            {"pfs": {"repo": repo, "glob": "/"}},
        ]});
        ticking
    };
    let repo = |text: &str| Repo::user(ProjectName::default_project(), name(text));
    for refused in [ticking("q", "none"), ticking("p", "data")] {
        server.request(refused, false, false).await.unwrap_err();
    }
    for ticks in ["q_tick", "p_tick"] {
        assert!(server.catalog().repo(&repo(ticks)).await.unwrap().is_none(), "{ticks:?}");
    }
    server.create(ticking("q", "data")).await;
    assert!(server.catalog().repo(&repo("q_tick")).await.unwrap().is_some());
    server.controller.delete_pipeline(&pipeline("q"), false, false).await.unwrap();
    assert!(server.catalog().repo(&repo("q_tick")).await.unwrap().is_none());
}
