use super::*;
use crate::catalog::Op;
use crate::model::CommitId;

impl Fixture {
    async fn named(&self, name: &str, reference: &str) -> Result<u64> {
        let row = self.resolve(&repo(name), &reference.parse().unwrap()).await?;
        Ok(row.root.bytes)
    }
}

#[tokio::test]
async fn steps_lead_back_and_forth() {
    let f = fixture().await;
    f.repo("a").await;
    for bytes in 1..=40 {
        f.put("a@master", bytes).await;
    }
    for (reference, bytes) in [
        ("master", 40),
        ("master^", 39),
        ("master~3", 37),
        ("master^^2", 37),
        ("master.1", 1),
        ("master.17", 17),
        ("master.40", 40),
        ("master.5^", 4),
    ] {
        assert_eq!(f.named("a", reference).await.unwrap(), bytes, "{reference}");
    }
    for beyond in ["master~40", "master.41", "master.0"] {
        let error = f.named("a", beyond).await.unwrap_err();
        assert!(matches!(error, RepoError::NotFound { kind: "commit", .. }), "{error}");
    }
}

#[tokio::test]
async fn times_name_the_newest_commit_finished_by_then() {
    let f = fixture().await;
    f.repo("a").await;
    let mut rows = Vec::new();
    for bytes in 1..=20 {
        rows.push(f.put("a@master", bytes).await);
    }
    for row in &rows {
        let seconds = row.finished.unwrap().to_parts().0;
        let time = jiff::Timestamp::from_second(seconds).unwrap();
        assert_eq!(f.named("a", &time.to_string()).await.unwrap(), row.root.bytes);
    }
    assert_eq!(f.named("a", "2030-01-01").await.unwrap(), 20);
    assert!(f.named("a", "1969-01-01").await.is_err());
    let unclear = f.named("a", "2030-01-01 what").await;
    assert!(matches!(unclear, Err(RepoError::InvalidRef(_))));
}

#[tokio::test]
async fn eight_digits_name_a_commit_unless_two_share_them() {
    let f = fixture().await;
    let a = f.repo("a").await;
    let template = f.put("a@master", 1).await;
    for (digits, bytes) in [("0123456789", 5), ("0123456700", 6), ("fedcba9876", 7)] {
        let id: CommitId = format!("{digits}{}", "0".repeat(22)).parse().unwrap();
        let row = CommitRow { commit: a.commit(id), root: root(bytes), ..template.clone() };
        f.catalog.apply(vec![Op::CreateCommit(row)]).await.unwrap();
    }
    assert_eq!(f.named("a", "fedcba98").await.unwrap(), 7);
    assert_eq!(f.named("a", "012345678").await.unwrap(), 5);
    let error = f.named("a", "01234567").await.unwrap_err();
    let RepoError::Ambiguous { candidates, .. } = &error else { panic!("{error}") };
    assert_eq!(candidates.len(), 2);
    assert!(error.to_string().contains("01234567890000"), "{error}");
    assert!(f.named("a", "fedcba9").await.is_err());
    assert!(f.named("a", "00000000").await.is_err());
}

#[tokio::test]
async fn a_branch_without_commits_has_no_head() {
    let f = fixture().await;
    f.repo("a").await;
    f.create_branch(&branch("a@dev"), &CreateBranch::default()).await.unwrap();
    assert!(matches!(f.named("a", "dev").await, Err(RepoError::NoHead { .. })));
    assert!(f.list_commits(&repo("a"), &ListCommits::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_are_bounded_on_both_sides() {
    let f = fixture().await;
    let a = f.repo("a").await;
    for bytes in 1..=10 {
        f.put("a@master", bytes).await;
    }
    let list = |to: Option<&str>, from: Option<&str>, number| ListCommits {
        to: to.map(|text| text.parse().unwrap()),
        from: from.map(|text| text.parse().unwrap()),
        number,
        ..ListCommits::default()
    };
    for (list, expected) in [
        (list(None, None, Some(3)), vec![10, 9, 8]),
        (list(Some("master~2"), None, Some(2)), vec![8, 7]),
        (list(Some("master"), Some("master~3"), None), vec![10, 9, 8]),
        (list(None, Some("master~2"), None), vec![10, 9]),
        (list(Some("master.3"), None, None), vec![3, 2, 1]),
    ] {
        let rows = f.list_commits(&a, &list).await.unwrap();
        let bytes: Vec<_> = rows.iter().map(|row| row.root.bytes).collect();
        assert_eq!(bytes, expected, "{list:?}");
    }
}
