use super::*;
use crate::catalog::{
    Event, FileSetRow, GatheredRow, PackRow, SecretRow, TransactionChange, TransactionRow,
    TransactionState,
};
use crate::model::{FileSetId, PackId, TransactionId};

pub async fn events_follow_the_writes(catalog: Fresh) {
    let mut news = catalog.watch();
    assert_eq!(*news.borrow_and_update(), 0);
    repos(&catalog, &["a"]).await;
    assert_eq!(*news.borrow_and_update(), 2);
    refused(&catalog, Op::DeleteRepo(repo("z"))).await;
    assert!(!news.has_changed().unwrap());
    let open = Op::CreateCommit(commit_row("a", 1, None));
    let branch = Op::CreateBranch(branch_row(master("a"), Some(1), vec![]));
    catalog.apply(vec![open, branch]).await.unwrap();
    news.changed().await.unwrap();
    let events = catalog.events(2, 10).await.unwrap();
    assert_eq!(events.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(events[0].event, Event::Commit(commit("a", 1)));
    assert_eq!(events[1].event, Event::Branch(master("a")));
    assert_eq!(catalog.events(0, 1).await.unwrap()[0].event, {
        Event::Project(ProjectName::default_project())
    });
}

pub async fn consumers_keep_events_alive(catalog: Fresh) {
    repos(&catalog, &["a", "b", "c"]).await;
    let acknowledge = |consumer: &str, seq| Op::Acknowledge { consumer: consumer.into(), seq };
    catalog.apply(vec![acknowledge("one", 3), acknowledge("two", 2)]).await.unwrap();
    catalog.apply(vec![acknowledge("one", 1)]).await.unwrap();
    assert_eq!(catalog.acknowledged("one").await.unwrap(), 3);
    assert_eq!(catalog.acknowledged("new").await.unwrap(), 0);
    catalog.apply(vec![Op::TrimEvents { keep: 0, most: 99 }]).await.unwrap();
    assert_eq!(catalog.events(0, 10).await.unwrap()[0].seq, 3);
    catalog.apply(vec![acknowledge("two", 4), acknowledge("one", 4)]).await.unwrap();
    let left = catalog.events(0, 10).await.unwrap().len();
    catalog.apply(vec![Op::TrimEvents { keep: 1, most: 1 }]).await.unwrap();
    assert_eq!(catalog.events(0, 10).await.unwrap().len(), left - 1, "one at a time");
    catalog.apply(vec![Op::TrimEvents { keep: 1, most: 99 }]).await.unwrap();
    assert_eq!(catalog.events(0, 10).await.unwrap().len(), 1);
    repos_again(&catalog).await;
    assert_eq!(catalog.events(4, 10).await.unwrap()[0].seq, 5);
}

async fn repos_again(catalog: &Fresh) {
    let op = Op::DescribeRepo { repo: repo("a"), description: "again".into() };
    catalog.apply(vec![op]).await.unwrap();
}

pub async fn leases_have_one_holder(catalog: Fresh) {
    let take = |holder: &str, now, until| Op::TakeLease {
        name: "controller".into(),
        holder: holder.into(),
        now: time(now),
        until: time(until),
    };
    catalog.apply(vec![take("one", 0, 10)]).await.unwrap();
    refused(&catalog, take("two", 9, 20)).await;
    catalog.apply(vec![take("one", 9, 20)]).await.unwrap();
    refused(&catalog, take("two", 10, 30)).await;
    catalog.apply(vec![take("two", 20, 30)]).await.unwrap();
    refused(&catalog, take("one", 21, 40)).await;
    let drop_it = |holder: &str| Op::DropLease { name: "controller".into(), holder: holder.into() };
    catalog.apply(vec![drop_it("one")]).await.unwrap();
    assert_eq!(catalog.lease("controller").await.unwrap().unwrap().holder, "two");
    catalog.apply(vec![drop_it("two")]).await.unwrap();
    assert_eq!(catalog.lease("controller").await.unwrap(), None);
}

pub async fn secrets_packs_and_settings_are_kept(catalog: Fresh) {
    let secret = |value: &'static str| SecretRow {
        name: "registry".into(),
        kind: "Opaque".into(),
        values: [(value.to_owned(), Bytes::from_static(value.as_bytes()))].into(),
        created: time(1),
    };
    catalog.apply(vec![Op::PutSecret(secret("user"))]).await.unwrap();
    catalog.apply(vec![Op::PutSecret(secret("password"))]).await.unwrap();
    let stored = catalog.secret("registry").await.unwrap().unwrap();
    assert_eq!(stored, secret("password"));
    assert!(!format!("{:?}", secret("hush").values.get("none")).contains("hush"));
    assert_eq!(catalog.secrets().await.unwrap(), [stored]);
    catalog.apply(vec![Op::DeleteSecret("registry".into())]).await.unwrap();
    refused(&catalog, Op::DeleteSecret("registry".into())).await;

    let pack = |n| PackRow { id: PackId::new([n; 16]), bytes: u64::from(n), created: time(1) };
    let ops = [1, 2, 3, 2].map(|n| Op::CreatePack(pack(n)));
    catalog.apply(ops.into()).await.unwrap();
    assert_eq!(catalog.packs(None, 2).await.unwrap(), [pack(1), pack(2)]);
    assert_eq!(catalog.packs(Some(pack(2).id), 2).await.unwrap(), [pack(3)]);
    catalog.apply(vec![Op::DeletePack(pack(2).id), Op::DeletePack(pack(9).id)]).await.unwrap();
    assert_eq!(catalog.packs(None, 9).await.unwrap().len(), 2);

    let value = Bytes::from_static(b"value");
    let put = Op::PutSetting { key: "cluster".into(), value: value.clone() };
    catalog.apply(vec![put]).await.unwrap();
    assert_eq!(catalog.setting("cluster").await.unwrap(), Some(value));
    assert_eq!(catalog.setting("other").await.unwrap(), None);
    let forget = ["cluster", "other"].map(|key| Op::DeleteSetting(key.into()));
    catalog.apply(forget.into()).await.unwrap();
    assert_eq!(catalog.setting("cluster").await.unwrap(), None);
}

fn transaction(n: u8) -> TransactionRow {
    TransactionRow {
        id: TransactionId::new([n; 16]),
        branch: master("a"),
        base: None,
        base_root: Some(Bytes::from_static(b"base")),
        state: TransactionState::Open,
        host: "here".into(),
        staging: "/staging".into(),
        root: StoredRoot::default(),
        message: String::new(),
        reason: String::new(),
        commit: None,
        created: time(n.into()),
        lease_until: time(10),
    }
}

pub async fn transactions_go_through_their_states(catalog: Fresh) {
    let row = transaction;
    let ops = [2, 1].map(|n| Op::CreateTransaction(row(n)));
    catalog.apply(ops.into()).await.unwrap();
    refused(&catalog, Op::CreateTransaction(row(1))).await;
    let update = |expected, change| Op::UpdateTransaction { id: row(1).id, expected, change };
    let sealed = TransactionChange {
        state: Some(TransactionState::Sealed),
        root: Some(root("tree")),
        message: Some("why".into()),
        ..TransactionChange::default()
    };
    refused(&catalog, update(vec![TransactionState::Sealing], sealed.clone())).await;
    let staged = |root| Op::ExpectStaged { id: row(1).id, root };
    catalog.apply(vec![staged(Bytes::new())]).await.unwrap();
    refused(&catalog, staged(root("tree").encoded)).await;
    catalog.apply(vec![update(vec![TransactionState::Open], sealed)]).await.unwrap();
    let renew = |n| Op::RenewTransaction { id: row(n).id, until: time(99) };
    catalog.apply(vec![renew(1)]).await.unwrap();
    let stored = catalog.transaction(row(1).id).await.unwrap().unwrap();
    let expected = TransactionRow {
        state: TransactionState::Sealed,
        root: root("tree"),
        message: "why".into(),
        lease_until: time(99),
        ..row(1)
    };
    assert_eq!(stored, expected);
    let done = TransactionChange {
        state: Some(TransactionState::Committed),
        commit: Some(id(7)),
        ..TransactionChange::default()
    };
    catalog.apply(vec![update(vec![TransactionState::Sealed], done)]).await.unwrap();
    refused(&catalog, renew(1)).await;
    let open = catalog.transactions(&[TransactionState::Open]).await.unwrap();
    assert_eq!(open, [row(2)]);
    catalog.apply(vec![Op::DeleteTransaction(row(1).id)]).await.unwrap();
    assert_eq!(catalog.transaction(row(1).id).await.unwrap(), None);
}

pub async fn lapsed_transactions_are_found_and_guarded(catalog: Fresh) {
    let row = transaction;
    catalog.apply(vec![Op::CreateTransaction(row(2))]).await.unwrap();
    let renew = |n| Op::RenewTransaction { id: row(n).id, until: time(99) };
    let lapsed = |before| catalog.lapsed_transactions(TransactionState::Open, time(before), 9);
    assert_eq!(lapsed(10).await.unwrap(), []);
    assert_eq!(lapsed(11).await.unwrap(), [row(2)]);
    let orphaned = || {
        let state = Some(TransactionState::Orphaned);
        let change = TransactionChange { state, ..TransactionChange::default() };
        let expected = vec![TransactionState::Open];
        Op::UpdateTransaction { id: row(2).id, expected, change }
    };
    let expect = |n, before| Op::ExpectLapsed { id: row(n).id, before: time(before) };
    for guard in [expect(2, 10), expect(3, 99)] {
        assert!(catalog.apply(vec![guard, orphaned()]).await.is_err());
    }
    catalog.apply(vec![expect(2, 11), orphaned()]).await.unwrap();
    assert_eq!(lapsed(11).await.unwrap(), []);
    catalog.apply(vec![renew(2)]).await.unwrap();
    let renewed = catalog.transaction(row(2).id).await.unwrap().unwrap();
    assert_eq!((renewed.state, renewed.lease_until), (TransactionState::Open, time(99)));
}

pub async fn gathered_calls_move_by_compare_and_swap(catalog: Fresh) {
    let row = |n: u64, version| GatheredRow {
        id: id(n),
        calls: format!("calls {version}").into(),
        version,
        started: time(1),
    };
    let put = |version, expected| Op::PutGathered { row: row(1, version), expected };
    catalog.apply(vec![put(1, None)]).await.unwrap();
    refused(&catalog, put(1, None)).await;
    refused(&catalog, put(3, Some(2))).await;
    catalog.apply(vec![put(2, Some(1))]).await.unwrap();
    assert_eq!(catalog.gathered(id(1)).await.unwrap(), Some(row(1, 2)));
    catalog.apply(vec![Op::PutGathered { row: row(2, 1), expected: None }]).await.unwrap();
    assert_eq!(catalog.all_gathered().await.unwrap(), [row(1, 2), row(2, 1)]);
    refused(&catalog, Op::DeleteGathered { id: id(1), version: 1 }).await;
    catalog.apply(vec![Op::DeleteGathered { id: id(1), version: 2 }]).await.unwrap();
    assert_eq!(catalog.gathered(id(1)).await.unwrap(), None);
}

pub async fn file_sets_live_until_their_time(catalog: Fresh) {
    let row = |n: u8, until| FileSetRow {
        id: FileSetId::new([n; 16]),
        root: root("tree"),
        created: time(n.into()),
        until: time(until),
    };
    catalog.apply([row(1, 10), row(2, 20)].map(Op::CreateFileSet).into()).await.unwrap();
    refused(&catalog, Op::CreateFileSet(row(1, 30))).await;
    refused(&catalog, Op::RenewFileSet { id: row(3, 0).id, until: time(30) }).await;
    catalog.apply(vec![Op::RenewFileSet { id: row(1, 0).id, until: time(30) }]).await.unwrap();
    catalog.apply(vec![Op::DropFileSets(time(25))]).await.unwrap();
    assert_eq!(catalog.file_sets().await.unwrap(), [row(1, 30)]);
    assert_eq!(catalog.file_set(row(2, 0).id).await.unwrap(), None);
}
