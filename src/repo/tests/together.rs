//! Several use cases in one step.

use futures::StreamExt as _;

use super::*;
use crate::catalog::{JobQuery, Op};
use crate::model::CommitId;
use crate::repo::CreateBranch;

/// The use cases of `together`, with the helpers of tests.
fn helper(together: &Together) -> Helper {
    Helper(together.repos())
}

struct Helper(Repos);

impl Helper {
    async fn start(&self, at: &str) -> CommitRow {
        let Branch { repo, name } = branch(at);
        let (description, author) = (String::new(), String::new());
        let branch = Some(name);
        let spec = StartCommit { repo, branch, parent: None, description, author, id: None };
        self.0.start_commit(&spec).await.unwrap()
    }

    async fn finish(&self, commit: &Commit, bytes: u64) {
        let spec = FinishCommit { root: Some(root(bytes)), ..FinishCommit::default() };
        self.0.finish_commit(commit, &spec).await.unwrap();
    }
}

async fn jobs(f: &Fixture, pipeline: &str) -> Vec<CommitId> {
    let pipeline = Some(super::pipeline(pipeline));
    let query = JobQuery { pipeline, ..JobQuery::default() };
    f.catalog().jobs(&query).await.unwrap().into_iter().map(|job| job.job.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_made_together_share_an_id_and_open_one_job() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    f.pipeline("join", &["a@master", "b@master"]).await;
    f.put("a@master", 1).await;
    f.put("b@master", 1).await;
    assert_eq!(jobs(&f, "join").await.len(), 1);

    let id = f.clock().commit_id();
    let together = f.together(id).await.unwrap();
    let planning = helper(&together);
    for at in ["a@master", "b@master"] {
        let commit = planning.start(at).await.commit;
        assert_eq!(commit.id, id);
        planning.finish(&commit, 2).await;
    }
    assert_eq!(f.head("a@master").await.unwrap().root.bytes, 1, "nothing has happened yet");
    assert!(together.publish(Vec::new()).await.unwrap());

    let set = f.inspect_commit_set(id).await.unwrap();
    let mut repos: Vec<_> = set.iter().map(|row| row.commit.repo.to_string()).collect();
    repos.sort();
    assert_eq!(repos, ["a", "b", "join", "join.meta"]);
    assert_eq!(jobs(&f, "join").await[0], id);
    assert_eq!(jobs(&f, "join").await.len(), 2, "one job for both commits");
    let output = f.head("join@master").await.unwrap();
    let sources: Vec<_> = output.provenance.iter().filter(|c| c.id == id).collect();
    assert_eq!(sources.len(), 2, "{:?}", output.provenance);
    let object = f.store().get(&object::key(&repo("a").commit(id))).await.unwrap();
    assert_eq!(object::decode(&object).unwrap().root.bytes, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_steps_see_what_earlier_ones_planned() {
    let f = fixture().await;
    let id = f.clock().commit_id();
    let together = f.together(id).await.unwrap();
    let planning = together.repos();
    planning.create_repo(&repo("in"), "", false).await.unwrap();
    let twice = planning.create_repo(&repo("in"), "", false).await.unwrap_err();
    assert!(matches!(twice, RepoError::Exists { .. }), "{twice}");
    let commits = helper(&together);
    let commit = commits.start("in@master").await.commit;
    commits.finish(&commit, 3).await;
    let side = CreateBranch { head: Some("master".parse().unwrap()), ..CreateBranch::default() };
    planning.create_branch(&branch("in@side"), &side).await.unwrap();
    let spec = Fixture::pipeline_spec("out", &["in@side"], None);
    planning.put_pipeline(&spec).await.unwrap();
    let spec = Fixture::pipeline_spec("end", &["out@master"], None);
    planning.put_pipeline(&spec).await.unwrap();
    assert!(matches!(f.inspect_repo(&repo("in")).await, Err(RepoError::NotFound { .. })));
    assert!(together.publish(Vec::new()).await.unwrap());

    assert_eq!(jobs(&f, "out").await, [id]);
    assert_eq!(jobs(&f, "end").await, [id]);
    f.run_jobs().await;
    assert_eq!(f.head("end@master").await.unwrap().commit.id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_overtaken_is_planned_again() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    let id = f.clock().commit_id();
    let together = f.together(id).await.unwrap();
    let planning = helper(&together);
    for at in ["a@master", "b@master"] {
        let commit = planning.start(at).await.commit;
        planning.finish(&commit, 2).await;
    }
    f.put("b@master", 9).await;
    assert!(!together.publish(Vec::new()).await.unwrap());
    assert_eq!(f.head("a@master").await, None, "all or nothing");
    let objects: Vec<_> = f.store().list(&object::prefix(&repo("a"))).collect().await;
    assert!(objects.is_empty(), "{objects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_is_deleted_and_made_again_in_one_step() {
    let f = fixture().await;
    f.repo("a").await;
    let old = f.put("a@master", 1).await.commit;
    let together = f.together(f.clock().commit_id()).await.unwrap();
    let (planning, commits) = (together.repos(), helper(&together));
    planning.delete_repo(&repo("a"), false).await.unwrap();
    planning.create_repo(&repo("a"), "again", false).await.unwrap();
    let commit = commits.start("a@master").await.commit;
    commits.finish(&commit, 5).await;
    assert!(f.store().head(&object::key(&old)).await.is_ok());
    assert!(together.publish(Vec::new()).await.unwrap());
    assert_eq!(f.inspect_repo(&repo("a")).await.unwrap().row.description, "again");
    assert_eq!(f.commit_count(&repo("a")).await, 1);
    assert!(f.store().head(&object::key(&old)).await.is_err());
    assert!(f.store().head(&object::key(&commit)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_an_older_commit_keeps_its_id() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@master"]).await;
    let open = f.start("a@master").await.commit;
    let together = f.together(f.clock().commit_id()).await.unwrap();
    helper(&together).finish(&open, 1).await;
    let settings = vec![Op::PutSetting { key: "k".to_owned(), value: Bytes::new() }];
    assert!(together.publish(settings).await.unwrap());
    assert_eq!(jobs(&f, "p").await, [open.id]);
    assert_eq!(f.catalog().setting("k").await.unwrap(), Some(Bytes::new()));
}
