use std::time::Duration;

use futures::stream;

use super::*;
use crate::catalog::{TransactionRow, TransactionState};
use crate::chunk::Content;
use crate::model::{CommitId, Timestamp, TreePath};
use crate::tree::{Edit, Entry, EntryKind, Tree};

pub(super) type Changed = Result<(TreePath, Edit), RepoError>;

pub(super) fn put(at: &str, text: &str) -> Changed {
    let kind = EntryKind::File(Content::Inline(Bytes::copy_from_slice(text.as_bytes())));
    let entry = Entry { kind, mode: 0o644, mtime: Timestamp::default() };
    Ok((at.parse().unwrap(), Edit::Put(entry)))
}

impl Fixture {
    async fn try_transaction(&self, at: &str) -> Result<TransactionRow> {
        let (branch, lease) = (branch(at), Duration::from_secs(1 << 30));
        let (owner, staging) = ("here".into(), String::new());
        let spec = OpenTransaction { branch, lease, owner, id: None, staging, base: Base::Newest };
        self.open_transaction(&spec).await
    }

    async fn transaction_on(&self, at: &str) -> TransactionRow {
        self.try_transaction(at).await.unwrap()
    }

    async fn stage(&self, row: &TransactionRow, at: &str, text: &str) -> TransactionRow {
        self.stage_transaction(row.id, stream::iter([put(at, text)])).await.unwrap();
        self.seal_transaction(row.id).await.unwrap()
    }

    /// Commits one file by a transaction.
    async fn put_file(&self, at: &str, path: &str, text: &str) -> CommitId {
        let row = self.transaction_on(at).await;
        self.stage(&row, path, text).await;
        self.commit_transaction(row.id, "", None).await.unwrap().commit.unwrap()
    }

    async fn paths(&self, at: &str) -> Vec<String> {
        let good = self.newest_finished(&branch(at)).await.unwrap().unwrap();
        let tree = Tree::new(self.nodes(), crate::tree::Root::decode(&good.root.encoded).unwrap());
        let all: Vec<_> =
            futures::TryStreamExt::try_collect(tree.walk(&TreePath::root(), None)).await.unwrap();
        all.into_iter().map(|(path, _): (TreePath, _)| path.as_str().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_commit_upon_a_head_that_failed_ends() {
    let f = fixture().await;
    f.repo("a").await;
    f.put_file("a@master", "one", "1").await;
    let row = f.transaction_on("a@master").await;
    f.stage(&row, "two", "2").await;
    let failed = f.start("a@master").await.commit;
    let error = Some("it broke".to_owned());
    let end = FinishCommit { error, ..FinishCommit::default() };
    f.finish_commit(&failed, &end).await.unwrap();
    let done = f.commit_transaction(row.id, "", None).await.unwrap();
    assert_eq!(done.state, TransactionState::Committed);
    assert_eq!(f.head("a@master").await.unwrap().parent, Some(failed.id));
    assert_eq!(f.paths("a@master").await, ["one", "two"]);
}

#[tokio::test]
async fn a_transaction_outlives_the_commit_it_is_based_on() {
    let f = fixture().await;
    f.repo("a").await;
    let base = f.put_file("a@master", "one", "1").await;
    let row = f.transaction_on("a@master").await;
    f.stage(&row, "mine", "2").await;
    f.put_file("a@master", "theirs", "3").await;
    f.squash(base, false).await.unwrap();
    f.stage(&row, "more", "4").await;
    let done = f.commit_transaction(row.id, "", None).await.unwrap();
    assert_eq!(done.state, TransactionState::Committed);
    assert_eq!(f.paths("a@master").await, ["mine", "more", "one", "theirs"]);

    let row = f.transaction_on("a@master").await;
    f.stage(&row, "last", "5").await;
    f.drop_set(done.commit.unwrap(), false).await.unwrap();
    f.commit_transaction(row.id, "", None).await.unwrap();
    assert_eq!(f.paths("a@master").await, ["last", "one", "theirs"]);
}

#[tokio::test]
async fn publishing_and_ending_are_one_step() {
    let f = fixture().await;
    f.repo("a").await;
    let before = f.put_file("a@master", "one", "1").await;
    let row = f.transaction_on("a@master").await;
    let row = f.stage(&row, "two", "2").await;
    f.abort_transaction(row.id, "given up").await.unwrap();
    let late = f.try_commit(&row, "", None).await;
    assert!(matches!(late, Err(RepoError::HeadMoved { .. })), "{late:?}");
    assert_eq!(f.head("a@master").await.unwrap().commit.id, before);
    let objects = f.store().list_sorted("commits").await.unwrap();
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert!(matches!(f.commit_transaction(row.id, "", None).await, Err(RepoError::Refused { .. })));
}

#[tokio::test]
async fn of_two_that_stage_at_once_one_is_told() {
    let f = fixture().await;
    f.repo("a").await;
    let row = f.transaction_on("a@master").await;
    let other = async {
        f.stage(&row, "other", "1").await;
        put("slow", "2")
    };
    let slow = f.stage_transaction(row.id, stream::once(other)).await;
    assert!(matches!(slow, Err(StageError::Refused(RepoError::Busy { .. }))), "{slow:?}");
    f.stage(&row, "slow", "2").await;
    f.commit_transaction(row.id, "", None).await.unwrap();
    assert_eq!(f.paths("a@master").await, ["other", "slow"]);
}

#[tokio::test]
async fn branches_that_only_pipelines_write_take_no_transactions() {
    let f = fixture().await;
    f.repo("a").await;
    f.put("a@master", 1).await;
    f.pipeline("p", &["a@master"]).await;
    f.run_jobs().await;
    f.stop_pipeline(&pipeline("p")).await.unwrap();
    for at in ["p@master", "p.spec@master", "p.meta@master"] {
        let refused = f.try_transaction(at).await;
        assert!(matches!(refused, Err(RepoError::OutputBranch { .. })), "{at}: {refused:?}");
    }
}
