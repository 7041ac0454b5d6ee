use std::sync::Arc;

use super::*;
use crate::catalog::StoredRoot;
use crate::chunk::{BlobConfig, Blobs};
use crate::repo::tests::{Fixture, branch, fixture, repo};
use crate::repo::{OneShot, RepoError};

const SETTLED: Timestamp = Timestamp::from_nanos(i64::MAX);

impl Fixture {
    /// A commit whose tree is the empty one, so that it can be read.
    async fn put_empty(&self, at: &str) -> CommitRow {
        let branch = branch(at);
        let row = self.catalog.branch(&branch).await.unwrap();
        let root = StoredRoot { encoded: Root::empty().encode().into(), files: 0, bytes: 0 };
        let (description, author) = (String::from("a commit"), String::from("somebody"));
        let spec = OneShot { parent: row.and_then(|row| row.head), root, description, author };
        self.commit_once(&branch, &spec).await.unwrap()
    }

    async fn problems(&self, repair: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let how = Fsck { deep: true, repair, settled: SETTLED };
        let summary = self.fsck(how, |problem| problems.push(problem.clone())).await.unwrap();
        assert_eq!(summary.problems, problems.len() as u64);
        problems
    }
}

#[tokio::test]
async fn a_sound_catalog_has_no_problems() {
    let f = fixture().await;
    f.repo("a").await;
    f.put_empty("a@master").await;
    f.start("a@master").await;
    assert_eq!(f.problems(false).await, []);
}

#[tokio::test]
async fn missing_altered_and_left_over_objects_are_named_and_repaired() {
    let f = fixture().await;
    f.repo("a").await;
    let rows = [
        f.put_empty("a@master").await,
        f.put_empty("a@master").await,
        f.put_empty("a@master").await,
        f.put_empty("a@master").await,
    ];
    let [_, gone, torn, other] = &rows;
    f.store().delete(&object::key(&gone.commit)).await.unwrap();
    f.store().put(&object::key(&torn.commit), "nonsense").await.unwrap();
    let altered = CommitRow { author: "nobody".into(), ..other.clone() };
    f.store().put(&object::key(&other.commit), object::encode(&altered)).await.unwrap();
    let stray = repo("a").commit(f.clock.commit_id());
    f.store().put(&object::key(&stray), object::encode(&rows[0])).await.unwrap();
    let texts: Vec<_> = f.problems(true).await.iter().map(Problem::to_string).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    for (text, expected) in [
        (&texts[0], "it is missing"),
        (&texts[1], "its checksum does not match"),
        (&texts[2], "it is not the commit that the catalog has"),
        (&texts[3], "belongs to no commit"),
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(f.problems(false).await, []);
}

#[tokio::test]
async fn an_unreadable_tree_is_named() {
    let f = fixture().await;
    f.repo("a").await;
    let row = f.put("a@master", 1).await;
    let problems = f.problems(false).await;
    assert!(matches!(&problems[..], [Problem::Tree { commit, .. }] if *commit == row.commit));
}

#[tokio::test]
async fn the_store_alone_rebuilds_repos_branches_and_commits() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    for bytes in 2..=5 {
        f.put("a@master", bytes).await;
        f.run_jobs().await;
    }
    f.put("a@dev", 9).await;
    f.start("a@master").await;
    let full = f.rebuild(|_| {}).await.unwrap_err();
    assert!(matches!(full, RepoError::Refused { .. }));

    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("catalog.db").display());
    let catalog = crate::catalog::open(&url, Arc::clone(&f.clock)).await.unwrap();
    let blobs = Blobs::new(f.store().clone(), Arc::clone(&f.clock), BlobConfig::default());
    let new = Repos::new(catalog, blobs, Arc::clone(&f.clock));
    let mut problems = 0;
    let summary = new.rebuild(|_| problems += 1).await.unwrap();
    assert_eq!((summary.repos, summary.branches, problems), (4, 5, 0));
    for row in f.catalog.repos(None).await.unwrap() {
        for branch in f.list_branches(&row.repo).await.unwrap() {
            let old = f.newest_finished(&branch.branch).await.unwrap().unwrap();
            let again = new.newest_finished(&branch.branch).await.unwrap().unwrap();
            assert_eq!(CommitRow { seq: old.seq, ..again }, old);
        }
    }
    let a = f.commit_count(&repo("a")).await;
    let again = new.list_commits(&repo("a"), &crate::repo::ListCommits::default()).await.unwrap();
    assert_eq!(again.len(), a - 1);
}

#[tokio::test]
async fn commits_that_outlived_what_they_derive_from_are_no_problem() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    f.put("a@master", 2).await;
    f.run_jobs().await;
    let objects = async || {
        let mut problems = f.problems(false).await;
        problems.retain(|problem| !matches!(problem, Problem::Tree { .. }));
        problems
    };
    assert_eq!(objects().await, []);
    f.delete_repo(&repo("a"), true).await.unwrap();
    assert_eq!(objects().await, []);
    f.delete_pipeline(&crate::repo::tests::pipeline("p"), true, true).await.unwrap();
    assert_eq!(objects().await, []);
    f.delete_repo(&repo("p"), true).await.unwrap();
    assert_eq!(f.store().list_sorted("commits").await.unwrap(), [], "no object is left");
}

#[tokio::test]
async fn a_removal_that_broke_off_is_ended_before_a_rebuild_brings_it_back() {
    let f = fixture().await;
    f.repo("a").await;
    let kept = f.repo("b").await;
    f.put("a@master", 1).await;
    f.put("a@master", 2).await;
    f.put("b@master", 3).await;
    let (removing, commits) = (f.removing.lock().await, f.commits_of(&repo("a")).await.unwrap());
    let note = f.note_removal(&commits.all).await.unwrap();
    f.catalog.apply(vec![crate::catalog::Op::DeleteRepo(repo("a")), note]).await.unwrap();
    drop(removing);
    let objects = async || f.store().list_sorted("commits").await.unwrap().len();
    assert_eq!(objects().await, 3, "as a crash leaves it");
    f.resume_removals().await.unwrap();
    assert_eq!(objects().await, 1);
    f.resume_removals().await.unwrap();
    f.delete_repo(&kept, false).await.unwrap();
    assert_eq!(objects().await, 0);
}
