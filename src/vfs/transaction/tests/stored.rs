//! What a commit stores before writers have to wait for it.

use std::time::Duration;

use super::endings::OneBranch;
use super::*;
use crate::store::{Backend, Fault, FaultStore, Operation, RetryPolicy};

const MIB: usize = 1 << 20;

fn start(dir: &Path, tree: &Tree) -> TransactionView {
    TransactionView::start(dir, started(), tree.clone(), Arc::new(SystemClock)).unwrap()
}

/// Bytes that no chunk repeats.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 32).to_le_bytes().into_iter().take(4)
    });
    words.flatten().take(size).collect()
}

async fn file(tree: &Tree, path: &str) -> Vec<u8> {
    let entry = tree.get(&path.parse().unwrap()).await.unwrap().unwrap();
    let EntryKind::File(content) = entry.kind else { panic!("a file") };
    content.read_range(tree.nodes().blobs(), 0..1 << 30).await.unwrap().into()
}

async fn new_file(view: &TransactionView, name: &str, bytes: &[u8]) -> NodeId {
    view.create_at(name, NewBody::File, 0o644).await.unwrap();
    let pin = view.at(&name.parse().unwrap()).await.unwrap();
    view.write(pin.id, 0, bytes).await.unwrap();
    pin.keep()
}

#[tokio::test]
async fn writers_go_on_while_a_commit_stores_what_they_wrote() {
    let faults = FaultStore::new(Store::memory().backend());
    let retry = RetryPolicy { timeout: Duration::from_secs(3600), ..RetryPolicy::default() };
    let store = Store::new(Arc::clone(&faults) as Arc<dyn Backend>, retry);
    let (tree, dir) = (base_in(store).await.0, tempfile::tempdir().unwrap());
    let (view, branch) = (start(&dir.path().join("txn"), &tree), OneBranch::new(&tree));
    let before = noise(MIB, 1);
    let id = new_file(&view, "new", &before).await;

    faults.plan(Operation::Put, 0, u64::MAX, Fault::Stall);
    let stalled = view.commit(&branch, "", Then::GoOn);
    let meanwhile = async {
        view.write(id, 0, b"later").await.unwrap();
        new_file(&view, "another", b"new").await;
    };
    tokio::select! {
        biased;
        _ = stalled => panic!("nothing can be stored"),
        () = meanwhile => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("writers wait"),
    }

    faults.heal();
    view.commit(&branch, "", Then::GoOn).await.unwrap().unwrap();
    let head = branch.head();
    assert_eq!(file(&head, "another").await, b"new");
    assert!(file(&head, "new").await == [&b"later"[..], &before[5..]].concat());
}

#[tokio::test]
async fn a_commit_stores_what_changed_since_it_was_stored() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let view = start(&dir.path().join("txn"), &tree);
    let large = noise(8 * MIB, 2);
    let id = new_file(&view, "large", &large).await;
    new_file(&view, "small", &noise(40_000, 3)).await;
    new_file(&view, "tiny", b"in the tree").await;
    let store = tree.nodes().blobs().store().clone();
    let written = |before: u64| store.stats().bytes_out - before;

    let before = store.stats().bytes_out;
    view.store_ahead().await;
    assert!(written(before) > large.len() as u64);
    let before = store.stats().bytes_out;
    view.store_ahead().await;
    assert_eq!(written(before), 0);

    view.write(id, large.len() as u64, b"a line more").await.unwrap();
    let mut stored = std::mem::take(&mut *view.stored.lock().await);
    let writer = stored.take_writer(&tree);
    let edits: Vec<_> = view.edits(&writer, stored).try_collect().await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(edits.len(), 3);
    // The last chunk, at most.
    assert!(written(before) < 5 * MIB as u64, "{} bytes", written(before));
    let committed = edited(&tree, edits).await;
    assert!(file(&committed, "large").await == [&large[..], b"a line more"].concat());
    assert!(file(&committed, "small").await == noise(40_000, 3));
}

#[tokio::test]
async fn what_is_removed_while_it_is_stored_is_no_failure() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let (view, branch) = (start(&dir.path().join("txn"), &tree), OneBranch::new(&tree));
    new_file(&view, "new", &noise(MIB, 4)).await;
    view.store_ahead().await;
    view.run(&Op::Remove("new".into())).await.unwrap();
    let id = new_file(&view, "new", &noise(MIB, 5)).await;
    view.commit(&branch, "", Then::GoOn).await.unwrap().unwrap();
    assert!(file(&branch.head(), "new").await == noise(MIB, 5));
    view.write(id, 0, b"upon the commit").await.unwrap();
    view.commit(&branch, "", Then::GoOn).await.unwrap().unwrap();
    assert!(file(&branch.head(), "new").await.starts_with(b"upon the commit"));
}

/// What happens between two times of storing ahead.
#[derive(Debug, Clone)]
enum Step {
    Change(u64, Option<Vec<u8>>),
    Zero(u64, u64),
    Store,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0..7_u64 << 20, 1..2_u64 << 20);
    prop_oneof![
        4 => large_change().prop_map(|(at, data)| Step::Change(at, data)),
        1 => range.prop_map(|(at, size)| Step::Zero(at, at + size)),
        3 => Just(Step::Store),
        1 => Just(Step::Commit),
    ]
}

async fn check(path: &str, steps: Vec<Step>, dir: &Path) {
    let (tree, mut wanted) = large_base().await;
    let (view, branch) = (start(dir, &tree), OneBranch::new(&tree));
    if path != "large" {
        wanted = noise(3 * MIB, 6);
        new_file(&view, path, &wanted).await;
    }
    let node = view.at(&path.parse().unwrap()).await.unwrap();
    for step in steps.into_iter().chain([Step::Commit]) {
        match step {
            Step::Change(at, Some(data)) => {
                view.write(node.id, at, &data).await.unwrap();
                let (at, end) = (at as usize, at as usize + data.len());
                wanted.resize(wanted.len().max(end), 0);
                wanted[at..end].copy_from_slice(&data);
            }
            Step::Change(at, None) => {
                let set = SetAttr { size: Some(at), ..SetAttr::default() };
                view.set_attr(node.id, set).await.unwrap();
                wanted.resize(at as usize, 0);
            }
            Step::Zero(from, to) => {
                view.allocate(node.id, Allocate::Zero, from..to).await.unwrap();
                let end = wanted.len().min(to as usize);
                wanted[(from as usize).min(end)..end].fill(0);
            }
            Step::Store => view.store_ahead().await,
            Step::Commit => {
                view.commit(&branch, "", Then::GoOn).await.unwrap();
                assert!(file(&branch.head(), path).await == wanted, "another content");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_is_stored_ahead_is_what_is_committed(
        path in prop_oneof![Just("large"), Just("new")],
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(path, steps, &dir.path().join("txn")));
    }
}
