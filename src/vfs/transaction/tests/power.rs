//! Crashes: what recovery makes of them, and what the loss of power leaves.

use std::fs;

use super::*;
use crate::vfs::transaction::staged::{BLOCK, Under};

fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn start(dir: &Path, tree: &Tree) -> TransactionView {
    TransactionView::start(dir, started(), tree.clone(), Arc::new(SystemClock)).unwrap()
}

async fn recover(dir: &Path, tree: &Tree) -> TransactionView {
    TransactionView::recover(dir, started(), tree.clone(), Arc::new(SystemClock)).await.unwrap()
}

/// Recovers as after another start of the machine.
async fn power_on(dir: &Path, tree: &Tree) -> TransactionView {
    let clock = Arc::new(SystemClock);
    TransactionView::recover_during("another", (dir, started()), tree.clone(), clock).await.unwrap()
}

impl TransactionView {
    async fn do_all(&self, ops: &[Op]) {
        for op in ops {
            self.run(op).await.unwrap();
        }
    }

    async fn text(&self, path: &str) -> String {
        let node = self.at(&p(path)).await.unwrap();
        let bytes = self.read(node.id, 0, 1 << 30).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn set_time(&self, path: &str) {
        let mtime = Some(crate::vfs::types::SetTime::To(Timestamp::from_parts(7, 0)));
        let node = self.at(&p(path)).await.unwrap();
        self.set_attr(node.id, SetAttr { mtime, ..SetAttr::default() }).await.unwrap();
    }
}

fn write(path: &str, text: &str) -> Op {
    Op::Write(path.into(), 0, text.into())
}

#[tokio::test]
async fn a_file_with_a_set_time_may_be_removed_before_a_crash() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.do_all(&[Op::Create("gone".into()), write("gone", "x")]).await;
    view.set_time("gone").await;
    view.do_all(&[Op::Create("over".into()), write("over", "new")]).await;
    view.set_time("over").await;
    view.do_all(&[write("c", "old"), Op::Remove("gone".into())]).await;
    view.set_time("c").await;
    view.run(&Op::Rename("over".into(), "c".into())).await.unwrap();
    drop(view);
    let view = recover(&at, &tree).await;
    assert_eq!(view.text("c").await, "new");
    assert!(view.at(&p("gone")).await.is_err());
}

#[tokio::test]
async fn a_staged_file_that_is_missing_is_named() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.run(&write("c", "changed")).await.unwrap();
    drop(view);
    fs::remove_dir_all(at.join("files")).unwrap();
    fs::create_dir(at.join("files")).unwrap();
    let clock = Arc::new(SystemClock);
    let lost = TransactionView::recover(&at, started(), tree, clock).await.unwrap_err();
    assert!(matches!(&lost, VfsError::Damaged(what) if what.contains("files/")), "{lost}");
}

#[tokio::test]
async fn the_loss_of_power_never_turns_unsynced_changes_into_zeros() {
    let (tree, large) = large_base().await;
    let (path, dir) = (p("large"), tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.do_all(&[write("a/c", "synced"), write("large", "synced")]).await;
    view.sync(NodeId::ROOT).await.unwrap();
    let staged: Vec<_> =
        fs::read_dir(at.join("files")).unwrap().map(|f| f.unwrap().path()).collect();
    view.do_all(&[write("b/b", "lost"), write("c", "lost"), Op::Remove("a/b/c".into())]).await;
    let node = view.at(&path).await.unwrap();
    view.write(node.id, 3 << 20, b"lost").await.unwrap();
    drop(node);
    view.run(&Op::Remove("a/c".into())).await.unwrap();
    drop(view);
    // The names of staged files reached the disk, their content did not; of
    // the one that was synced before only what was written since is lost.
    for file in fs::read_dir(at.join("files")).unwrap().map(|f| f.unwrap().path()) {
        let file = fs::OpenOptions::new().write(true).open(&file).map(|open| (open, file)).unwrap();
        match staged.contains(&file.1) {
            true => {
                let found = file.0.metadata().unwrap().len();
                file.0.set_len(found.min(3 << 20)).unwrap();
                file.0.set_len(found).unwrap();
            }
            false => file.0.set_len(0).unwrap(),
        }
    }
    let view = power_on(&at, &tree).await;
    assert_eq!(view.text("a/c").await, format!("synced{}", &"a/c".repeat(5)[6..]));
    assert_eq!(view.text("b/b").await, "b/b".repeat(5));
    assert_eq!(view.text("c").await, "c".repeat(5));
    assert_eq!(view.text("a/b/c").await, "a/b/c".repeat(5));
    let node = view.at(&path).await.unwrap();
    let mut wanted = large.clone();
    wanted[..6].copy_from_slice(b"synced");
    assert!(view.read(node.id, 0, 1 << 30).await.unwrap() == wanted);
    drop(node);
    view.run(&write("b/b", "again")).await.unwrap();
    drop(view);
    // Within the same run nothing is lost.
    let clock = Arc::new(SystemClock);
    let view = TransactionView::recover_during("another", (&at, started()), tree, clock);
    assert!(view.await.unwrap().text("b/b").await.starts_with("again"));
}

#[tokio::test]
async fn a_cut_that_was_not_noted_is_no_way_back_to_the_base() {
    let (tree, _) = large_base().await;
    let (path, dir) = (p("large"), tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.run(&write("large", "staged")).await.unwrap();
    drop(view);
    let staged = fs::read_dir(at.join("files")).unwrap().next().unwrap().unwrap().path();
    fs::OpenOptions::new().write(true).open(staged).unwrap().set_len(2 << 20).unwrap();
    drop(recover(&at, &tree).await);
    let view = recover(&at, &tree).await;
    let node = view.at(&path).await.unwrap();
    let set = SetAttr { size: Some(3 << 20), ..SetAttr::default() };
    view.set_attr(node.id, set).await.unwrap();
    let grown = view.read(node.id, 2 << 20, 1 << 20).await.unwrap();
    assert!(grown.len() == 1 << 20 && grown.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_directory_is_not_moved_to_where_its_paths_do_not_fit() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let view = start(&dir.path().join("txn"), &tree);
    // 16 names of 250 bytes below "a/b", whose entry "c" is in the base.
    let name = "n".repeat(250);
    let mut deep = "deep".to_owned();
    view.run(&Op::Mkdir(deep.clone())).await.unwrap();
    for _ in 0..16 {
        deep = format!("{deep}/{name}");
        view.run(&Op::Mkdir(deep.clone())).await.unwrap();
    }
    assert_eq!(deep.len(), 4020);
    view.run(&Op::Rename("a".into(), format!("{deep}/a"))).await.unwrap();
    let longer = view.run(&Op::Rename("deep".into(), "d".repeat(76))).await;
    assert!(matches!(longer, Err(VfsError::NameTooLong)), "an entry of the base: {longer:?}");
    view.run(&Op::Mkdir(format!("{deep}/{}", "m".repeat(70)))).await.unwrap();
    let longer = view.run(&Op::Rename("deep".into(), "d".repeat(20))).await;
    assert!(matches!(longer, Err(VfsError::NameTooLong)), "a new entry: {longer:?}");
    view.run(&Op::Rename("deep".into(), "p".into())).await.unwrap();
    assert!(view.change_count().unwrap() > 16);
    assert_eq!(view.changes().unwrap().len(), view.change_count().unwrap());
}

#[tokio::test]
async fn a_directory_that_was_moved_up_has_room_for_longer_names() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let name = "n".repeat(255);
    let deep: Vec<_> = (1..=16).map(|depth| p(&vec![&*name; depth].join("/"))).collect();
    let edits = deep.iter().map(|dir| (dir.clone(), Edit::Put(Entry::dir(Timestamp::default()))));
    let tree = edited(&tree, edits.collect()).await;
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.run(&Op::Rename(deep[15].as_str().into(), "up".into())).await.unwrap();
    assert!(
        view.lookup(view.at(&p("up")).await.unwrap().id, &"x".repeat(255)).await.unwrap().is_none()
    );
    let long = format!("up/{}/{}", "x".repeat(255), "y".repeat(200));
    view.run(&Op::Mkdir(format!("up/{}", "x".repeat(255)))).await.unwrap();
    view.run(&Op::Create(long.clone())).await.unwrap();
    assert!(view.changes().unwrap().iter().any(|change| change.path == p(&long)));
    assert!(view.is_changed().unwrap());
    drop(view);
    assert_eq!(recover(&at, &tree).await.text(&long).await, "");
}

#[tokio::test]
async fn a_hole_is_stored_as_one_chunk_of_zeros() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let view = start(&dir.path().join("txn"), &tree);
    let size = 3_u64 << 30;
    view.do_all(&[Op::Create("sparse".into()), write("sparse", "first")]).await;
    let node = view.at(&p("sparse")).await.unwrap();
    view.write(node.id, size - 4, b"last").await.unwrap();
    view.write(node.id, 1 << 30, &vec![9; 1 << 20]).await.unwrap();
    view.allocate(node.id, Allocate::Zero, (1 << 30)..(1 << 30) + (1 << 20)).await.unwrap();
    let blobs = tree.nodes().blobs();
    let (writer, before) = (blobs.writer(), blobs.store().stats());
    let edits: Vec<_> = view.edits(&writer, Stored::default()).try_collect().await.unwrap();
    writer.flush().await.unwrap();
    let stored = blobs.store().stats().bytes_out - before.bytes_out;
    assert!(stored < 1 << 20, "{stored} bytes were stored");
    let committed = edited(&tree, edits).await.get(&p("sparse")).await.unwrap().unwrap();
    let EntryKind::File(content) = committed.kind else { panic!("a file") };
    assert_eq!(content.size(), size);
    let end = content.read_range(blobs, size - 10..size).await.unwrap();
    assert_eq!(&end[..], b"\0\0\0\0\0\0last");
    let middle = content.read_range(blobs, (1 << 30)..(1 << 30) + 10).await.unwrap();
    assert_eq!(&middle[..], [0; 10]);
}

#[tokio::test]
async fn a_file_that_is_removed_during_a_sync_takes_nothing_with_it() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    let written = Op::Write("temporary".into(), 1, b"x".to_vec());
    view.do_all(&[write("c", "kept"), Op::Create("temporary".into()), written]).await;
    let mut sync = Box::pin(view.sync(NodeId::ROOT));
    assert!(futures::poll!(&mut sync).is_pending());
    view.run(&Op::Remove("temporary".into())).await.unwrap();
    sync.await.unwrap();
    drop(view);
    assert!(power_on(&at, &tree).await.text("c").await.starts_with("kept"));
}

#[test]
fn blocks_beyond_what_shows_take_no_memory() {
    let content = Content::Inline(vec![0; 10].into());
    let mut under = Under::of(content, 3 * BLOCK + 1);
    under.mark(1, u64::MAX);
    assert_eq!(under.runs(), [(1, 3)]);
    under.mark(u64::MAX / BLOCK, 7);
    assert_eq!(under.runs(), [(1, 3)]);
}
