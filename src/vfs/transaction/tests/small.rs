//! New small files: kept together, until they grow or are committed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;

fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn write(path: &str, at: u64, text: &str) -> Op {
    Op::Write(path.into(), at, text.into())
}

fn start(dir: &Path, tree: &Tree) -> TransactionView {
    TransactionView::start(dir, started(), tree.clone(), Arc::new(SystemClock)).unwrap()
}

async fn recover(boot: &str, dir: &Path, tree: &Tree) -> Result<TransactionView, VfsError> {
    let clock = Arc::new(SystemClock);
    TransactionView::recover_during(boot, (dir, started()), tree.clone(), clock).await
}

impl TransactionView {
    async fn all(&self, ops: &[Op]) {
        for op in ops {
            self.run(op).await.unwrap();
        }
    }

    async fn held(&self, path: &str) -> String {
        let node = self.at(&p(path)).await.unwrap();
        let bytes = self.read(node.id, 0, 1 << 30).await.unwrap();
        assert_eq!(self.attr(node.id).unwrap().size, bytes.len() as u64, "{path}");
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

/// The files in the staging directory.
fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir.join("files")).unwrap();
    let mut names: Vec<_> =
        names.map(|found| found.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that small files take on the disk.
fn room(dir: &Path) -> u64 {
    fs::metadata(dir.join("files/small")).unwrap().blocks() * 512
}

#[tokio::test]
async fn small_files_share_one_file_until_they_change() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    for i in 0..100 {
        let name = format!("n{i}");
        view.all(&[Op::Create(name.clone()), write(&name, 0, &format!("content {i}"))]).await;
    }
    assert_eq!(files(&at), ["small"]);
    assert_eq!(view.held("n99").await, "content 99");
    view.all(&[write("n7", 8, "seven"), Op::Truncate("n8".into(), 3)]).await;
    assert_eq!(
        (view.held("n7").await, view.held("n8").await),
        ("content seven".into(), "con".into())
    );
    assert_eq!(files(&at).len(), 3);
    view.all(&[Op::Create("late".into()), write("late", 5, "x")]).await;
    assert_eq!(view.held("late").await, "\0\0\0\0\0x", "what begins elsewhere is no small file");
    drop(view);
    let view = recover("same", &at, &tree).await;
    // Another start of the machine: nothing was synced.
    assert!(view.unwrap().at(&p("n99")).await.is_err());
}

#[tokio::test]
async fn small_files_survive_a_crash_and_what_was_synced_the_loss_of_power() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.all(&[Op::Create("kept".into()), write("kept", 0, "synced")]).await;
    view.all(&[Op::Create("grown".into()), write("grown", 0, "syn"), write("grown", 3, "ced")])
        .await;
    view.sync(NodeId::ROOT).await.unwrap();
    view.all(&[Op::Remove("kept".into())]).await;
    view.all(&[Op::Create("new".into()), write("new", 0, "not synced")]).await;
    drop(view);
    let again = TransactionView::recover(&at, started(), tree.clone(), Arc::new(SystemClock));
    let view = again.await.unwrap();
    assert_eq!(view.held("new").await, "not synced");
    assert_eq!(view.held("grown").await, "synced");
    assert!(view.at(&p("kept")).await.is_err());
    view.all(&[Op::Create("more".into()), write("more", 0, "more")]).await;
    assert_eq!(view.held("new").await, "not synced", "nothing is written over");
    drop(view);
    let view = recover("another", &at, &tree).await.unwrap();
    assert_eq!(view.held("kept").await, "synced");
    assert_eq!(view.held("grown").await, "synced");
    assert!(view.at(&p("new")).await.is_err());
}

#[tokio::test]
async fn the_room_of_removed_small_files_is_given_back() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    let text = "x".repeat(60_000);
    let names: Vec<_> = (0..50).map(|i| format!("n{i}")).collect();
    for name in &names {
        view.all(&[Op::Create(name.clone()), write(name, 0, &text)]).await;
    }
    view.checkpoint().await.unwrap();
    let full = room(&at);
    for name in &names[1..] {
        view.run(&Op::Remove(name.clone())).await.unwrap();
    }
    assert_eq!(room(&at), full, "after the loss of power they would be back");
    view.checkpoint().await.unwrap();
    view.staging().give_back();
    // Somebody else may be about to do so: the room is nobody's any more.
    while room(&at) >= full / 10 {
        tokio::task::yield_now().await;
    }
    assert!(room(&at) < full / 10, "{} of {full}", room(&at));
    assert_eq!(view.held("n0").await, text);
}

#[tokio::test]
async fn small_files_that_are_missing_are_named() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.all(&[Op::Create("new".into()), write("new", 0, "text")]).await;
    drop(view);
    fs::remove_file(at.join("files/small")).unwrap();
    let clock = Arc::new(SystemClock);
    let lost = TransactionView::recover(&at, started(), tree, clock).await.unwrap_err();
    assert!(matches!(&lost, VfsError::Damaged(what) if what.contains("files/small")), "{lost}");
}
