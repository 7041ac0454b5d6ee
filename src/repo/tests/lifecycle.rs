use futures::StreamExt;

use super::*;
use crate::catalog::Origin;

#[tokio::test]
async fn projects_and_repos_come_and_go() {
    let f = fixture().await;
    let names: Vec<_> = f.list_projects().await.unwrap();
    assert_eq!(names.len(), 1);
    let lab: ProjectName = "lab".parse().unwrap();
    f.create_project(&lab, "the lab").await.unwrap();
    let again = f.create_project(&lab, "").await.unwrap_err();
    assert_eq!(again.to_string(), "project lab already exists");
    f.update_project(&lab, "our lab").await.unwrap();
    assert_eq!(f.inspect_project(&lab).await.unwrap().description, "our lab");
    let data = Repo::user(lab.clone(), "data".parse().unwrap());
    f.create_repo(&data, "raw", false).await.unwrap();
    assert!(matches!(f.create_repo(&data, "", false).await, Err(RepoError::Exists { .. })));
    f.create_repo(&data, "raw data", true).await.unwrap();
    assert_eq!(f.inspect_repo(&data).await.unwrap().row.description, "raw data");
    assert!(matches!(f.delete_project(&lab, false).await, Err(RepoError::Refused { .. })));
    f.delete_project(&lab, true).await.unwrap();
    assert!(f.catalog.repo(&data).await.unwrap().is_none());
    let missing = f.inspect_project(&lab).await.unwrap_err();
    assert!(matches!(missing, RepoError::NotFound { kind: "project", .. }));
}

#[tokio::test]
async fn unknown_names_come_with_the_nearest() {
    let f = fixture().await;
    f.repo("training").await;
    f.put("training@master", 1).await;
    let error = f.inspect_repo(&repo("trainning")).await.unwrap_err();
    assert_eq!(error.to_string(), "repo trainning not found");
    assert_eq!(error.nearest(), Some("training"));
    let error = f.inspect_branch(&branch("training@mastr")).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean training@master?"));
    let error = f.inspect_repo(&repo("xyz")).await.unwrap_err();
    assert_eq!(error.nearest(), None);
}

#[tokio::test]
async fn a_commit_opens_takes_writes_and_finishes_once() {
    let f = fixture().await;
    f.repo("a").await;
    let open = f.start("a@master").await;
    assert!(open.is_open());
    assert_eq!((open.number, open.origin), (1, Origin::User));
    assert!(matches!(f.try_start("a@master").await, Err(RepoError::NotFinished { .. })));
    assert!(matches!(f.try_put("a@master", 1).await, Err(RepoError::NotFinished { .. })));
    let empty = open.root.encoded.clone();
    f.set_root(&open.commit, &empty, &root(5)).await.unwrap();
    f.set_root(&open.commit, &empty, &root(5)).await.unwrap();
    let late = f.set_root(&open.commit, &empty, &root(6)).await;
    assert!(matches!(late, Err(RepoError::RootMoved { .. })));
    let done = f.finish_commit(&open.commit, &FinishCommit::default()).await.unwrap();
    assert_eq!(done.root, root(5));
    let written = f.set_root(&open.commit, &root(5).encoded, &root(6)).await;
    assert!(matches!(written, Err(RepoError::Finished { .. })));
    let twice = f.finish_commit(&open.commit, &FinishCommit::default()).await;
    assert!(matches!(twice, Err(RepoError::Finished { .. })));
    assert_eq!(f.inspect_repo(&repo("a")).await.unwrap().bytes, 5);
    let object = f.store().get(&object::key(&done.commit)).await.unwrap();
    let stored = object::decode(&object).unwrap();
    assert_eq!(CommitRow { seq: done.seq, number: done.number, ..stored }, done);
}

#[tokio::test]
async fn a_child_begins_with_its_parents_tree() {
    let f = fixture().await;
    f.repo("a").await;
    let first = f.put("a@master", 7).await;
    let open = f.start("a@master").await;
    assert_eq!((open.root, open.parent), (root(7), Some(first.commit.id)));
}

#[tokio::test]
async fn a_one_shot_commit_needs_the_head_it_was_built_upon() {
    let f = fixture().await;
    f.repo("a").await;
    let first = f.put("a@master", 1).await;
    let stale =
        OneShot { parent: None, root: root(2), description: String::new(), author: String::new() };
    let moved = f.commit_once(&branch("a@master"), &stale).await.unwrap_err();
    let RepoError::HeadMoved { current, .. } = moved else { panic!("{moved}") };
    assert_eq!(current, Some(first.commit.id));
    assert_eq!(f.commit_count(&repo("a")).await, 1);
    let objects = f.store().list_sorted(object::ALL).await.unwrap();
    assert_eq!(objects.len(), 1);
}

#[tokio::test]
async fn readers_stay_on_the_newest_good_commit() {
    let f = fixture().await;
    f.repo("a").await;
    let at = branch("a@master");
    let good = f.put("a@master", 1).await;
    let bad = f.start("a@master").await;
    assert_eq!(f.newest_finished(&at).await.unwrap(), Some(good.clone()));
    let failed = FinishCommit { error: Some("broken".into()), ..FinishCommit::default() };
    f.finish_commit(&bad.commit, &failed).await.unwrap();
    assert_eq!(f.newest_finished(&at).await.unwrap(), Some(good.clone()));
    let next = f.start("a@master").await;
    assert_eq!(f.newest_finished(&at).await.unwrap(), Some(good.clone()));
    assert_eq!(f.resolve(&repo("a"), &"master".parse().unwrap()).await.unwrap(), next);
    let read = f.resolve_finished(&repo("a"), &"master".parse().unwrap()).await.unwrap();
    assert_eq!(read, good);
    let open = next.commit.id.to_string().parse().unwrap();
    let unfinished = f.resolve_finished(&repo("a"), &open).await;
    assert!(matches!(unfinished, Err(RepoError::NotFinished { .. })));
}

#[tokio::test]
async fn two_racing_finishers_one_wins() {
    let f = fixture().await;
    f.repo("a").await;
    let open = f.start("a@master").await;
    let spec = |bytes| FinishCommit { root: Some(root(bytes)), ..FinishCommit::default() };
    let (one, two) = (f.repos.clone(), f.repos.clone());
    let (first, second) = (open.commit.clone(), open.commit.clone());
    let one = tokio::spawn(async move { one.finish_commit(&first, &spec(1)).await });
    let two = tokio::spawn(async move { two.finish_commit(&second, &spec(2)).await });
    let results = [one.await.unwrap(), two.await.unwrap()];
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
    let lost = results.iter().find_map(|r| r.as_ref().err()).unwrap();
    assert!(matches!(lost, RepoError::Finished { .. }), "{lost}");
    let won = results.iter().find_map(|r| r.as_ref().ok()).unwrap();
    let object = f.store().get(&object::key(&won.commit)).await.unwrap();
    assert_eq!(object, object::encode(won));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_one_shot_commits_make_one_line() {
    let f = fixture().await;
    f.repo("a").await;
    let writers = (0..8).map(|n| {
        let repos = f.repos.clone();
        tokio::spawn(async move {
            let at = branch("a@master");
            for put in 0..5 {
                loop {
                    let head = repos.catalog.branch(&at).await.unwrap().and_then(|row| row.head);
                    let spec = OneShot {
                        parent: head,
                        root: root(n * 100 + put),
                        description: String::new(),
                        author: String::new(),
                    };
                    match repos.commit_once(&at, &spec).await {
                        Ok(_) => break,
                        Err(RepoError::HeadMoved { .. }) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    let to = Some("master".parse().unwrap());
    let list = ListCommits { to, ..ListCommits::default() };
    let line = f.list_commits(&repo("a"), &list).await.unwrap();
    assert_eq!(line.len(), 40);
    assert_eq!(line[0].number, 40);
    assert_eq!(f.commit_count(&repo("a")).await, 40);
}

#[tokio::test]
async fn waiters_and_subscribers_hear_of_commits() {
    let f = fixture().await;
    f.repo("a").await;
    let to = Subscription {
        repo: repo("a"),
        branch: Some("master".parse().unwrap()),
        from: None,
        origin: None,
        finished: true,
    };
    let mut commits = f.subscribe(to);
    let open = f.start("a@master").await;
    let waiting = tokio::spawn({
        let (repos, commit) = (f.repos.clone(), open.commit.clone());
        async move { repos.wait_commit(&commit).await }
    });
    f.finish(&open.commit, 1).await;
    let waited = waiting.await.unwrap().unwrap();
    assert!(waited.is_good());
    assert_eq!(commits.next().await.unwrap().unwrap(), waited);
    let second = f.put("a@master", 2).await;
    assert_eq!(commits.next().await.unwrap().unwrap(), second);
    f.delete_repo(&repo("a"), false).await.unwrap();
    assert!(commits.next().await.unwrap().is_err());
}

#[tokio::test]
async fn deleting_a_repo_spares_those_that_others_derive_from() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("b", &["a@master"]).await;
    f.run_jobs().await;
    assert!(matches!(f.delete_repo(&repo("a"), false).await, Err(RepoError::Refused { .. })));
    assert!(matches!(f.delete_repo(&repo("b"), true).await, Err(RepoError::Refused { .. })));
    f.delete_repo(&repo("a"), true).await.unwrap();
    assert_eq!(f.head("b@master").await.unwrap().provenance.len(), 1);
    assert!(f.store().list_sorted("commits/default/a.user").await.unwrap().is_empty());
    f.delete_pipeline(&pipeline("b"), false, false).await.unwrap();
    assert!(f.catalog.repos(None).await.unwrap().is_empty());
    assert!(f.store().list_sorted(object::ALL).await.unwrap().is_empty());
}
