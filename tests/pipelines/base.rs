//! What a job may build upon, and what it may not.

use pfs::repo::PutPipeline;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_on_after_its_input_repo_was_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("a", Some("1"))]).await;
    let copying = spec("p", "in", "/*", "cp -r /pfs/in/. /pfs/out");
    server.create(copying.clone()).await;
    assert_eq!(server.job("p", 1).await.state, JobState::Success);
    server.repos.delete_repo(&branch("in").repo, true).await.unwrap();
    server.create_repo("in").await;
    server.put("in", &[("b", Some("2"))]).await;
    server.request(copying, true, false).await.unwrap();
    let job = server.job("p", 2).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    assert_eq!(paths(&server.output(&job).await), ["/b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovered_datums_run_again_when_the_input_is_written_differently() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let recovering = |glob: &str, script: &str| {
        let mut recovering = spec("p", "in", glob, script);
        recovering["transform"]["err_cmd"] = serde_json::json!(["true"]);
        recovering["datum_tries"] = "1".into();
        recovering
    };
    server.create(recovering("/*", "test $(basename $in) = y && touch /pfs/out/y")).await;
    server.put("in", &[("x", Some("x")), ("y", Some("y"))]).await;
    assert_eq!(progress_text(&server.job("p", 1).await.counters), "1 + 0 + 1 / 2");
    let mended = recovering("/[a-z]", "touch /pfs/out/$(basename $in)");
    server.request(mended, true, false).await.unwrap();
    let job = server.job("p", 2).await;
    assert_eq!(progress_text(&job.counters), "1 + 1 / 2");
    assert_eq!(paths(&server.output(&job).await), ["/x", "/y"]);
}

/// A server that dies between an update and the end of the jobs before it.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_version_replaced_are_ended_by_whoever_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.create(spec("p", "in", "/*", "sleep 600")).await;
    server.stop.cancel();
    (&mut server.run).await.unwrap();
    server.put("in", &[("a", Some("1"))]).await;
    let row = server.repos.inspect_pipeline(&pipeline("p")).await.unwrap();
    let spec_repo = Repo { kind: pfs::model::RepoKind::Spec, ..branch("p").repo };
    let spec_commit = spec_repo.commit(row.spec_commit);
    let put = PutPipeline {
        pipeline: row.pipeline,
        replaces: Some(1),
        spec_root: server.catalog().commit(&spec_commit).await.unwrap().unwrap().root,
        spec: row.spec.replace("sleep 600", "true"),
        user_spec: String::new(),
        salt: row.salt,
        inputs: row.inputs,
        triggers: BTreeMap::new(),
        own_repos: Vec::new(),
        output_branch: row.output_branch,
        description: String::new(),
    };
    server.repos.put_pipeline(&put).await.unwrap();
    server.stop = CancellationToken::new();
    let (controller, stop) = (server.controller.clone(), server.stop.clone());
    server.run = tokio::spawn(async move { controller.run(stop).await.unwrap() });
    let over = |rows: &[JobRow]| rows.len() == 2 && rows.iter().all(|row| row.state.is_terminal());
    let rows = server.until("p", over).await;
    assert_eq!(rows[0].reason, "replaced by version 2 of the pipeline");
    assert_eq!((rows[0].state, rows[1].state), (JobState::Killed, JobState::Success));
}
