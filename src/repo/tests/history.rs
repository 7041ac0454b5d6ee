use super::*;
use crate::catalog::JobQuery;

#[tokio::test]
async fn squash_keeps_the_data_in_the_children() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@master"]).await;
    let mut puts = Vec::new();
    for bytes in 1..=4 {
        puts.push(f.put("a@master", bytes).await);
        f.run_jobs().await;
    }
    let newest = f.squash(puts[3].commit.id, false).await.unwrap_err();
    assert!(newest.to_string().contains("has no children"), "{newest}");
    let removed = f.squash(puts[1].commit.id, false).await.unwrap();
    assert_eq!(removed.len(), 3);
    let third = f.inspect_commit(&puts[2].commit).await.unwrap();
    assert_eq!((third.parent, third.number), (Some(puts[0].commit.id), 3));
    assert_eq!(f.commit_count(&repo("a")).await, 3);
    assert!(f.catalog.job_set(puts[1].commit.id).await.unwrap().is_empty());
    let named = |text: &str| text.parse().unwrap();
    let two_back = f.resolve(&repo("a"), &named("master~2")).await.unwrap();
    assert_eq!(two_back.commit, puts[0].commit);
    // Where a commit was squashed, the one that holds its data answers.
    let second = f.resolve(&repo("a"), &named("master.2")).await.unwrap();
    assert_eq!(second.commit, puts[2].commit);
    let object = f.store().get(&object::key(&third.commit)).await.unwrap();
    assert_eq!(object::decode(&object).unwrap().parent, Some(puts[0].commit.id));
    assert!(f.store().get(&object::key(&puts[1].commit)).await.is_err());
}

#[tokio::test]
async fn drop_takes_only_the_newest_and_moves_heads_back() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@master"]).await;
    let first = f.put("a@master", 1).await;
    f.run_jobs().await;
    let second = f.put("a@master", 2).await;
    f.run_jobs().await;
    assert!(matches!(f.drop_set(first.commit.id, false).await, Err(RepoError::Refused { .. })));
    f.drop_set(second.commit.id, false).await.unwrap();
    assert_eq!(f.head("a@master").await.unwrap().commit, first.commit);
    assert_eq!(f.head("p@master").await.unwrap().commit.id, first.commit.id);
    assert_eq!(f.catalog.jobs(&JobQuery::default()).await.unwrap().len(), 1);
    f.drop_set(first.commit.id, false).await.unwrap();
    assert!(f.head("a@master").await.is_none());
    assert!(matches!(f.drop_set(first.commit.id, false).await, Err(RepoError::NotFound { .. })));
}

#[tokio::test]
async fn sets_that_others_derive_from_go_only_together() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    let base = f.put("b@master", 1).await;
    f.pipeline("p", &["a@master", "b@master"]).await;
    let put = f.put("a@master", 1).await;
    f.run_jobs().await;
    let alone = f.drop_set(base.commit.id, false).await.unwrap_err();
    assert!(alone.to_string().contains("derives from"), "{alone}");
    let removed = f.drop_set(base.commit.id, true).await.unwrap();
    assert_eq!(removed.len(), 4);
    assert!(f.catalog.commit(&put.commit).await.unwrap().is_none());
}

#[tokio::test]
async fn a_current_spec_cannot_be_taken_away() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    let spec = f.inspect_pipeline(&pipeline("p")).await.unwrap().spec_commit;
    let error = f.drop_set(spec, false).await.unwrap_err();
    assert!(error.to_string().contains("is the spec of pipeline p"), "{error}");
}

#[tokio::test]
async fn deleting_an_input_commit_takes_what_was_derived_from_it() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@master"]).await;
    f.pipeline("q", &["p@master"]).await;
    let mut puts = Vec::new();
    for bytes in 1..=3 {
        puts.push(f.put("a@master", bytes).await);
        f.run_jobs().await;
    }
    let derived = f.head("p@master").await.unwrap().commit;
    assert!(matches!(f.delete_commit(&derived).await, Err(RepoError::Refused { .. })));
    let removed = f.delete_commit(&puts[1].commit).await.unwrap();
    assert_eq!(removed.len(), 5);
    for name in ["a", "p", "q"] {
        assert_eq!(f.commit_count(&repo(name)).await, 2, "{name}");
        let head = f.head(&format!("{name}@master")).await.unwrap();
        assert_eq!(head.parent, Some(puts[0].commit.id), "{name}");
    }
    f.delete_commit(&puts[2].commit).await.unwrap();
    assert_eq!(f.head("q@master").await.unwrap().commit.id, puts[0].commit.id);
}

#[tokio::test]
async fn ancestors_are_found_after_many_removals() {
    let f = fixture().await;
    let a = f.repo("a").await;
    let mut puts = Vec::new();
    for bytes in 1..=64 {
        puts.push(f.put("a@master", bytes).await);
    }
    for put in puts.iter().filter(|put| put.number % 3 == 0 && put.number < 64) {
        f.squash(put.commit.id, false).await.unwrap();
    }
    for number in 1..=64_u64 {
        let expected = if number % 3 == 0 { number + 1 } else { number };
        let reference = format!("master.{number}").parse().unwrap();
        assert_eq!(f.resolve(&a, &reference).await.unwrap().root.bytes, expected, "{number}");
    }
}

#[tokio::test]
async fn sets_are_listed_newest_first_in_pages() {
    let f = fixture().await;
    f.repo("a").await;
    f.pipeline("p", &["a@master"]).await;
    let mut ids = Vec::new();
    for bytes in 1..=5 {
        ids.push(f.put("a@master", bytes).await.commit.id);
        f.run_jobs().await;
    }
    ids.reverse();
    let first = f.list_commit_sets(None, 2).await.unwrap();
    assert_eq!(first.iter().map(|set| set.id).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(first[0].commits.len(), 3);
    let second = f.list_commit_sets(Some(first[1].seq), 2).await.unwrap();
    assert_eq!(second.iter().map(|set| set.id).collect::<Vec<_>>(), ids[2..4]);
}
