use super::*;
use crate::catalog::{JobState, Reach};

async fn provenance(f: &Fixture, commit: &Commit) -> Vec<String> {
    let commits = f.provenance(commit, Reach::All).await.unwrap();
    let mut repos: Vec<_> = commits.iter().map(|commit| commit.repo.to_string()).collect();
    repos.sort();
    repos
}

#[tokio::test]
async fn a_diamond_gets_one_commit_per_repo_under_one_id() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("left", &["a@master"]).await;
    f.pipeline("right", &["a@master"]).await;
    f.pipeline("join", &["left@master", "right@master"]).await;
    let put = f.put("a@master", 1).await;
    let set = f.inspect_commit_set(put.commit.id).await.unwrap();
    let repos: Vec<_> = set.iter().map(|row| row.commit.repo.to_string()).collect();
    assert_eq!(repos.len(), 7, "{repos:?}");
    assert_eq!(repos[0], "a");
    let at = |name: &str| repos.iter().position(|repo| repo == name).unwrap();
    assert!(at("left") < at("join") && at("right") < at("join"));
    let jobs = f.catalog.job_set(put.commit.id).await.unwrap();
    assert_eq!(jobs.len(), 3);
    assert_eq!(jobs[2].job.pipeline, pipeline("join"));
    assert_eq!(jobs[2].inputs.len(), 2);
    assert!(jobs.iter().all(|job| job.state == JobState::Created && job.output.id == job.job.id));
    f.run_jobs().await;
    let done = f.wait_commit_set(put.commit.id).await.unwrap();
    assert!(done.iter().all(CommitRow::is_good));
    let join = f.head("join@master").await.unwrap();
    let all = provenance(&f, &join.commit).await;
    assert_eq!(all, ["a", "join.spec", "left", "left.spec", "right", "right.spec"]);
    let derived = f.subvenance(&put.commit, Reach::All).await.unwrap();
    assert_eq!(derived.len(), 6);
}

#[tokio::test]
async fn nothing_follows_while_an_input_has_no_head() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    f.pipeline("p", &["a@master", "b@master"]).await;
    f.pipeline("q", &["p@master"]).await;
    f.put("a@master", 1).await;
    assert!(f.head("p@master").await.is_none());
    let second = f.put("b@master", 1).await;
    assert_eq!(f.head("p@master").await.unwrap().commit.id, second.commit.id);
    assert_eq!(f.head("q@master").await.unwrap().commit.id, second.commit.id);
    f.run_jobs().await;
}

#[tokio::test]
async fn a_cross_reuses_the_older_commit_of_the_other_branch() {
    let f = fixture().await;
    f.repo("a").await;
    let dev = f.put("a@dev", 1).await;
    f.pipeline("p", &["a@master", "a@dev"]).await;
    let first = f.put("a@master", 2).await;
    f.run_jobs().await;
    let second = f.put("a@master", 3).await;
    let head = f.head("p@master").await.unwrap();
    assert_eq!(head.commit.id, second.commit.id);
    assert!(head.provenance.contains(&dev.commit));
    assert!(!head.provenance.contains(&first.commit));
    // Both inputs at one commit: one edge, two inputs.
    f.run_jobs().await;
    f.delete_branch(&branch("a@other"), false).await.unwrap_err();
    let head_of = Some("dev".parse().unwrap());
    let spec = CreateBranch { head: head_of, ..CreateBranch::default() };
    f.create_branch(&branch("a@master"), &spec).await.unwrap();
    let job = f.catalog.jobs(&crate::catalog::JobQuery::default()).await.unwrap().remove(0);
    assert_eq!(job.inputs.len(), 2);
    assert_eq!(f.inspect_commit(&job.output).await.unwrap().provenance.len(), 2);
}

#[tokio::test]
async fn data_on_another_branch_waits_until_the_head_is_moved_there() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    let before = f.commit_count(&repo("p")).await;
    f.put("a@staging", 2).await;
    let staged = f.put("a@staging", 3).await;
    assert_eq!(f.commit_count(&repo("p")).await, before);
    let head = Some("staging".parse().unwrap());
    let spec = CreateBranch { head, ..CreateBranch::default() };
    let row = f.create_branch(&branch("a@master"), &spec).await.unwrap();
    assert_eq!(row.head, Some(staged.commit.id));
    assert_eq!(f.commit_count(&repo("p")).await, before + 1);
    assert!(f.head("p@master").await.unwrap().provenance.contains(&staged.commit));
    f.run_jobs().await;
    // The same head again: nothing new.
    f.create_branch(&branch("a@master"), &spec).await.unwrap();
    assert_eq!(f.commit_count(&repo("p")).await, before + 1);
}

#[tokio::test]
async fn an_open_user_commit_neither_triggers_nor_blocks() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    let old = f.put("b@master", 1).await;
    f.pipeline("p", &["a@master", "b@master"]).await;
    let open = f.start("b@master").await;
    assert!(f.head("p@master").await.is_none());
    f.put("a@master", 1).await;
    let head = f.head("p@master").await.unwrap();
    assert!(head.provenance.contains(&old.commit));
    f.run_jobs().await;
    f.finish(&open.commit, 2).await;
    let head = f.head("p@master").await.unwrap();
    assert_eq!(head.commit.id, open.commit.id);
    assert!(head.provenance.contains(&open.commit));
}

#[tokio::test]
async fn commits_of_one_set_trigger_once() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    f.pipeline("p", &["a@master", "b@master"]).await;
    let one = f.start("a@master").await;
    let spec = StartCommit {
        repo: repo("b"),
        branch: Some("master".parse().unwrap()),
        parent: None,
        description: String::new(),
        author: String::new(),
        id: Some(one.commit.id),
    };
    let two = f.start_commit(&spec).await.unwrap();
    f.finish(&one.commit, 1).await;
    f.finish(&two.commit, 1).await;
    assert_eq!(f.commit_count(&repo("p")).await, 1);
    f.run_jobs().await;
}

#[tokio::test]
async fn an_id_that_a_repo_already_has_gives_way_to_a_fresh_one() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    f.put("b@master", 1).await;
    f.pipeline("p", &["a@master", "b@master"]).await;
    let one = f.put("a@master", 1).await;
    f.run_jobs().await;
    let spec = StartCommit {
        repo: repo("b"),
        branch: Some("master".parse().unwrap()),
        parent: None,
        description: String::new(),
        author: String::new(),
        id: Some(one.commit.id),
    };
    let two = f.start_commit(&spec).await.unwrap();
    f.finish(&two.commit, 2).await;
    let head = f.head("p@master").await.unwrap();
    assert_ne!(head.commit.id, one.commit.id);
    assert_eq!(head.provenance[..2], [one.commit, two.commit]);
    f.run_jobs().await;
}

#[tokio::test]
async fn output_branches_refuse_users() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    for at in ["p@master", "p.meta@master", "p.spec@master"] {
        let error = f.try_start(at).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start a commit on an output branch"));
        assert!(matches!(f.try_put(at, 1).await, Err(RepoError::OutputBranch { .. })));
    }
    let open = f.head("p@master").await.unwrap();
    let finish = f.finish_commit(&open.commit, &FinishCommit::default()).await;
    assert!(matches!(finish, Err(RepoError::OutputBranch { .. })));
    let write = f.set_root(&open.commit, &open.root.encoded, &root(1)).await;
    assert!(matches!(write, Err(RepoError::OutputBranch { .. })));
    let head = Some("master".parse().unwrap());
    let spec = CreateBranch { head, ..CreateBranch::default() };
    assert!(f.create_branch(&branch("p@master"), &spec).await.is_err());
    // Another branch of the output repo is anybody's.
    f.put("p@notes", 1).await;
}

#[tokio::test]
async fn updates_make_versions_and_jobs_and_stops_make_gaps() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    let again = Fixture::pipeline_spec("p", &["a@master"], None);
    assert!(matches!(f.put_pipeline(&again).await, Err(RepoError::Exists { .. })));
    let stale = Fixture::pipeline_spec("p", &["a@master"], Some(7));
    assert!(matches!(f.put_pipeline(&stale).await, Err(RepoError::Refused { .. })));
    let update = Fixture::pipeline_spec("p", &["a@master"], Some(1));
    let row = f.put_pipeline(&update).await.unwrap();
    assert_eq!(row.version, 2);
    assert_eq!(f.catalog.pipeline_versions(&pipeline("p")).await.unwrap().len(), 2);
    assert_eq!(f.commit_count(&repo("p")).await, 2);
    f.run_jobs().await;
    f.stop_pipeline(&pipeline("p")).await.unwrap();
    f.put("a@master", 2).await;
    let last = f.put("a@master", 3).await;
    assert_eq!(f.commit_count(&repo("p")).await, 2);
    assert!(matches!(f.try_put("p@master", 1).await, Err(RepoError::OutputBranch { .. })));
    f.start_pipeline(&pipeline("p")).await.unwrap();
    assert_eq!(f.commit_count(&repo("p")).await, 3);
    assert!(f.head("p@master").await.unwrap().provenance.contains(&last.commit));
    f.run_jobs().await;
    f.start_pipeline(&pipeline("p")).await.unwrap();
    assert_eq!(f.commit_count(&repo("p")).await, 3);
    let job = f.run_pipeline(&pipeline("p")).await.unwrap();
    assert_eq!((job.version, f.commit_count(&repo("p")).await), (2, 4));
}

#[tokio::test]
async fn a_failed_job_leaves_an_errored_commit_that_readers_pass_over() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    let good = f.head("p@master").await.unwrap();
    let put = f.put("a@master", 2).await;
    let job = f.catalog.job_set(put.commit.id).await.unwrap().remove(0);
    f.end_job(&job.job, JobState::Failure).await;
    let head = f.head("p@master").await.unwrap();
    assert_eq!(head.error.as_deref(), Some("the job is failure"));
    for text in ["master", "master^"] {
        let read = f.resolve_finished(&repo("p"), &text.parse().unwrap()).await.unwrap();
        assert_eq!(read, good, "{text}: steps count from the head");
    }
    assert_eq!(f.newest_finished(&branch("p@master")).await.unwrap(), Some(good));
    assert!(f.catalog.job(&job.job).await.unwrap().unwrap().finished.is_some());
    let end = FinishJob {
        change: crate::catalog::JobChange::default(),
        output: None,
        meta: None,
        also: Vec::new(),
    };
    assert!(matches!(f.finish_job(&job.job, &end).await, Err(RepoError::Finished { .. })));
}

#[tokio::test]
async fn wiring_has_rules() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.pipeline("q", &["p@master"]).await;
    let wire =
        |to: &str| CreateBranch { provenance: Some(vec![branch(to)]), ..CreateBranch::default() };
    assert!(f.create_branch(&branch("a@master"), &wire("q@master")).await.is_err());
    assert!(f.create_branch(&branch("a@dev"), &wire("a@master")).await.is_err());
    assert!(f.create_branch(&branch("a@dev"), &wire("none@master")).await.is_err());
    assert!(matches!(
        f.put_pipeline(&Fixture::pipeline_spec("r", &["r@master"], None)).await,
        Err(RepoError::NotFound { .. })
    ));
    assert!(matches!(
        f.put_pipeline(&Fixture::pipeline_spec("a", &["q@master"], None)).await,
        Err(RepoError::Exists { kind: "repo", .. })
    ));
    assert!(f.delete_branch(&branch("a@master"), false).await.is_err());
    assert!(f.delete_branch(&branch("p@master"), true).await.is_err());
    assert!(f.delete_pipeline(&pipeline("p"), false, false).await.is_err());
    f.delete_pipeline(&pipeline("p"), true, false).await.unwrap();
    f.delete_branch(&branch("a@master"), false).await.unwrap();
    assert_eq!(f.commit_count(&repo("a")).await, 1);
}

#[tokio::test]
async fn a_kept_output_repo_is_anybodys_and_can_be_taken_up_again() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    f.put("a@master", 2).await;
    f.delete_pipeline(&pipeline("p"), false, true).await.unwrap();
    assert_eq!(f.commit_count(&repo("p")).await, 2);
    assert!(!f.head("p@master").await.unwrap().is_open());
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    assert_eq!(f.commit_count(&repo("p")).await, 3);
    f.delete_pipeline(&pipeline("p"), false, true).await.unwrap();
    f.put("p@master", 1).await;
}

#[tokio::test]
async fn derived_branches_without_a_pipeline_open_commits_for_anybody_to_finish() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    let spec =
        CreateBranch { provenance: Some(vec![branch("a@master")]), ..CreateBranch::default() };
    f.create_branch(&branch("b@master"), &spec).await.unwrap();
    let put = f.put("a@master", 1).await;
    let open = f.head("b@master").await.unwrap();
    assert_eq!((open.commit.id, open.is_open()), (put.commit.id, true));
    f.finish(&open.commit, 5).await;
    f.put("a@master", 2).await;
    assert_eq!(f.head("b@master").await.unwrap().root, root(5));
}

#[tokio::test]
async fn triggers_move_branches_on_conditions() {
    use crate::catalog::Trigger;
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@release"]).await;
    let trigger = Trigger { branch: "master".into(), commits: 2, ..Trigger::default() };
    let spec = CreateBranch { trigger: Some(trigger), ..CreateBranch::default() };
    f.create_branch(&branch("a@release"), &spec).await.unwrap();
    f.put("a@master", 1).await;
    assert!(f.head("a@release").await.is_none());
    let second = f.put("a@master", 2).await;
    assert_eq!(f.head("a@release").await.unwrap().commit, second.commit);
    assert_eq!(f.head("p@master").await.unwrap().commit.id, second.commit.id);
    f.put("a@master", 3).await;
    assert_eq!(f.head("a@release").await.unwrap().commit, second.commit);
    let open = f.start("a@master").await;
    f.finish(&open.commit, 4).await;
    assert_eq!(f.head("a@release").await.unwrap().commit, open.commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_inputs_lose_no_derivation() {
    let f = fixture().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        f.repo(name).await;
        f.put(&format!("{name}@master"), 1).await;
    }
    f.pipeline("p", &["a@master", "b@master", "c@master", "d@master"]).await;
    let writers = names.map(|name| {
        let repos = f.repos.clone();
        tokio::spawn(async move {
            let at = branch(&format!("{name}@master"));
            for bytes in 0..10 {
                let parent = repos.catalog.branch(&at).await.unwrap().and_then(|row| row.head);
                let (description, author) = (String::new(), String::new());
                let spec = OneShot { parent, root: root(bytes), description, author };
                repos.commit_once(&at, &spec).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let head = f.head("p@master").await.unwrap();
    for name in names {
        let input = f.head(&format!("{name}@master")).await.unwrap();
        assert!(head.provenance.contains(&input.commit), "{name}");
    }
    assert_eq!(f.commit_count(&repo("p")).await, 41);
}

#[tokio::test]
async fn branches_rewired_at_once_form_no_circle() {
    let f = fixture().await;
    for n in 0..20 {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        let (a, b) = (f.repo(&a).await, f.repo(&b).await);
        let (a, b) = (a.branch("x".parse().unwrap()), b.branch("x".parse().unwrap()));
        for branch in [&a, &b] {
            f.create_branch(branch, &CreateBranch::default()).await.unwrap();
        }
        let from = |branch: &crate::model::Branch| CreateBranch {
            provenance: Some(vec![branch.clone()]),
            ..CreateBranch::default()
        };
        let (one, other) = (from(&b), from(&a));
        let done = futures::join!(f.create_branch(&a, &one), f.create_branch(&b, &other));
        assert!(done.0.is_ok() != done.1.is_ok(), "{done:?}");
    }
}
