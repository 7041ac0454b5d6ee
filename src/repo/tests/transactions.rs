use std::time::Duration;

use super::publishing::put;
use super::*;
use crate::catalog::{TransactionRow, TransactionState};
use crate::model::TransactionId;

const HOUR: Duration = Duration::from_secs(3600);

impl Fixture {
    async fn open(&self, lease: Duration) -> TransactionId {
        let branch = branch("a@master");
        let (owner, staging) = ("test".into(), String::new());
        let spec = OpenTransaction { branch, lease, owner, id: None, staging, base: Base::Newest };
        self.open_transaction(&spec).await.unwrap().id
    }

    async fn stored(&self, id: TransactionId) -> Option<TransactionRow> {
        self.catalog.transaction(id).await.unwrap()
    }

    async fn state(&self, id: TransactionId) -> Option<TransactionState> {
        self.stored(id).await.map(|row| row.state)
    }
}

#[tokio::test]
async fn lapsed_transactions_are_stored_as_orphaned_and_come_back_when_renewed() {
    let f = fixture().await;
    f.repo("a").await;
    let (lapsed, live) = (f.open(HOUR).await, f.open(3 * HOUR).await);
    assert_eq!(f.sweep_transactions().await.unwrap(), Swept::default());
    f.stepping.forward(2 * HOUR);
    // Whoever looks before the sweep sees the same.
    assert_eq!(f.transaction(lapsed).await.unwrap().state, TransactionState::Orphaned);
    assert_eq!(f.state(lapsed).await, Some(TransactionState::Open));
    let swept = f.sweep_transactions().await.unwrap();
    assert_eq!((swept.orphaned, swept.dropped), (1, 0));
    assert_eq!(f.state(lapsed).await, Some(TransactionState::Orphaned));
    assert_eq!(f.state(live).await, Some(TransactionState::Open));
    assert_eq!(f.sweep_transactions().await.unwrap(), Swept::default());
    f.renew_transaction(lapsed, HOUR, false).await.unwrap();
    assert_eq!(f.state(lapsed).await, Some(TransactionState::Open));
    f.seal_transaction(lapsed).await.unwrap();
    f.commit_transaction(lapsed, "", None).await.unwrap();
    assert_eq!(f.state(lapsed).await, Some(TransactionState::Committed));
}

#[tokio::test]
async fn transactions_are_kept_for_their_retention_and_then_forgotten() {
    let f = fixture().await;
    f.repo("a").await;
    let (orphaned, aborted, committed) =
        (f.open(HOUR).await, f.open(HOUR).await, f.open(HOUR).await);
    f.abort_transaction(aborted, "no").await.unwrap();
    f.seal_transaction(committed).await.unwrap();
    f.commit_transaction(committed, "", None).await.unwrap();
    f.stepping.forward(2 * HOUR);
    f.sweep_transactions().await.unwrap();
    let there = async || {
        let mut there = Vec::new();
        for id in [orphaned, aborted, committed] {
            there.push(f.stored(id).await.is_some());
        }
        there
    };
    assert_eq!(there().await, [true, true, true]);
    f.stepping.forward(COMMITTED_KEPT);
    assert_eq!(f.sweep_transactions().await.unwrap().dropped, 1);
    assert_eq!(there().await, [true, true, false]);
    f.stepping.forward(UNCOMMITTED_KEPT);
    assert_eq!(f.sweep_transactions().await.unwrap().dropped, 2);
    assert_eq!(there().await, [false, false, false]);
}

#[tokio::test]
async fn one_sweep_does_a_bounded_part() {
    let f = fixture().await;
    f.repo("a").await;
    for _ in 0..130 {
        f.open(Duration::from_secs(1)).await;
    }
    f.stepping.forward(HOUR);
    let first = f.sweep_transactions().await.unwrap();
    assert_eq!((first.orphaned, first.more), (100, true));
    let second = f.sweep_transactions().await.unwrap();
    assert_eq!((second.orphaned, second.more), (30, false));
}

#[tokio::test]
async fn a_transaction_that_is_to_be_committed_says_so_until_it_lapses() {
    let f = fixture().await;
    f.repo("a").await;
    let (id, other) = (f.open(HOUR).await, f.open(3 * HOUR).await);
    let list = async |states: &[TransactionState], branch_of: &str, held| {
        let branch = Some(branch(branch_of));
        let wanted = TransactionFilter { states: states.to_vec(), branch, held };
        let rows = f.list_transactions(&wanted).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let renew = async |sealing| f.renew_transaction(id, HOUR, sealing).await.unwrap().state;
    assert_eq!(renew(true).await, TransactionState::Sealing);
    assert_eq!(list(&[TransactionState::Sealing], "a@master", true).await, [id]);
    assert_eq!(list(&[TransactionState::Sealing], "a@other", true).await, []);
    // Staging goes on, and does not end it.
    f.stage_transaction(id, futures::stream::iter([put("x", "1")])).await.unwrap();
    assert_eq!(f.state(id).await, Some(TransactionState::Sealing));
    // Somebody writes again.
    assert_eq!(renew(false).await, TransactionState::Open);
    assert_eq!(renew(true).await, TransactionState::Sealing);
    f.stepping.forward(2 * HOUR);
    let orphaned = [TransactionState::Orphaned];
    assert_eq!(list(&[TransactionState::Sealing], "a@master", false).await, []);
    assert_eq!(list(&orphaned, "a@master", false).await, [id]);
    assert_eq!(list(&orphaned, "a@master", true).await, []);
    assert_eq!(list(&[], "a@master", true).await, [other]);
    assert_eq!(f.sweep_transactions().await.unwrap().orphaned, 1);
    assert_eq!(f.state(id).await, Some(TransactionState::Orphaned));
    assert_eq!(renew(true).await, TransactionState::Sealing);
    f.seal_transaction(id).await.unwrap();
    assert_eq!(renew(true).await, TransactionState::Sealed);
    f.commit_transaction(id, "", None).await.unwrap();
    assert_eq!(list(&[], "a@master", false).await.len(), 2);
}
