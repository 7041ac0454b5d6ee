//! Files that share the chunks of others, and extended attributes.

use super::*;
use crate::vfs::types::XattrMode;

const MIB: u64 = 1 << 20;

async fn reopened(view: TransactionView, dir: &Path, tree: &Tree) -> TransactionView {
    drop(view);
    TransactionView::recover(dir, started(), tree.clone(), Arc::new(SystemClock)).await.unwrap()
}

async fn node(view: &TransactionView, path: &str) -> NodeId {
    view.at(&path.parse().unwrap()).await.unwrap().id
}

async fn bytes(view: &TransactionView, path: &str) -> Vec<u8> {
    let pin = view.at(&path.parse().unwrap()).await.unwrap();
    view.read(pin.id, 0, 1 << 30).await.unwrap().into()
}

/// Copies bytes `range` of `from` to the same place of `to`, if by reference.
async fn copy(view: &TransactionView, from: &str, to: &str, range: std::ops::Range<u64>) -> bool {
    let from = view.at(&from.parse().unwrap()).await.unwrap();
    let to = view.at(&to.parse().unwrap()).await.unwrap();
    let Some(original) = view.original(from.id).await.unwrap() else { return false };
    view.adopt(to.id, range, &original).await.unwrap()
}

/// How many files are staged, each in a file of its own.
fn staged(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("files")).unwrap();
    names.filter(|found| found.as_ref().unwrap().file_name() != "small").count()
}

#[tokio::test]
async fn attributes_and_copies_survive_a_crash() {
    let (tree, large) = large_base().await;
    let (scratch, size) = (tempfile::tempdir().unwrap(), large.len() as u64);
    let dir = scratch.path().join("txn");
    let clock = Arc::new(SystemClock);
    let mut view = TransactionView::start(&dir, started(), tree.clone(), clock).unwrap();
    for name in ["whole", "again", "part"] {
        view.create_at(name, NewBody::File, 0o644).await.unwrap();
    }
    assert!(copy(&view, "large", "whole", 0..size).await);
    assert!(copy(&view, "whole", "again", 0..size).await);
    let first = 3 * MIB + 4_096;
    assert!(copy(&view, "large", "part", 0..first).await);
    assert!(copy(&view, "whole", "part", first..4 * MIB).await, "equal content is shared");
    let whole = node(&view, "whole").await;
    view.set_attribute(whole, "user.a", b"\0value", XattrMode::Create).await.unwrap();
    let old = view.at(&"large".parse().unwrap()).await.unwrap();
    view.set_attribute(old.id, "user.b", b"of an old file", XattrMode::Set).await.unwrap();
    drop(old);
    view = reopened(view, &dir, &tree).await;
    assert!(bytes(&view, "whole").await == large);
    assert!(bytes(&view, "again").await == large);
    assert!(bytes(&view, "part").await == large[..4 << 20]);
    assert_eq!(view.attribute(node(&view, "whole").await, "user.a").unwrap(), b"\0value");
    assert_eq!(view.attribute(node(&view, "large").await, "user.b").unwrap(), b"of an old file");
    let changes = view.change_count().unwrap();
    assert_eq!(changes, 3, "an attribute alone is no change to commit");
    // Each is a file of its own, and no longer to be shared with once changed.
    view.write(node(&view, "part").await, MIB + 3, b"changed").await.unwrap();
    assert!(!copy(&view, "large", "part", 4 * MIB..size).await);
    let mut part = large[..4 << 20].to_vec();
    part[(MIB + 3) as usize..][..7].copy_from_slice(b"changed");
    view = reopened(view, &dir, &tree).await;
    assert!(bytes(&view, "part").await == part);
    let writer = tree.nodes().blobs().writer();
    let edits: Vec<_> = view.edits(&writer, Stored::default()).try_collect().await.unwrap();
    let committed = edited(&tree, edits).await;
    for (path, wanted) in [("whole", &large), ("again", &large), ("part", &part)] {
        let entry = committed.get(&path.parse().unwrap()).await.unwrap().unwrap();
        let EntryKind::File(content) = entry.kind else { panic!("a file") };
        let range = 0..content.size();
        let found = content.read_range(tree.nodes().blobs(), range).await.unwrap();
        assert!(found == *wanted, "{path}");
    }
}

#[tokio::test]
async fn a_copy_in_pieces_leaves_nothing_staged() {
    let (tree, large) = large_base().await;
    let (scratch, size) = (tempfile::tempdir().unwrap(), large.len() as u64);
    let dir = scratch.path().join("txn");
    let clock = Arc::new(SystemClock);
    let mut view = TransactionView::start(&dir, started(), tree.clone(), clock).unwrap();
    view.create_at("copy", NewBody::File, 0o644).await.unwrap();
    // As `cp` leaves a file that was there before.
    view.run(&Op::Write("copy".into(), 0, b"before".to_vec())).await.unwrap();
    assert!(!copy(&view, "large", "copy", 0..size).await, "not over what is there");
    view.run(&Op::Truncate("copy".into(), 0)).await.unwrap();
    for range in [0..MIB + 1, MIB + 1..3 * MIB, 3 * MIB..size] {
        assert!(copy(&view, "large", "copy", range).await);
    }
    assert_eq!(staged(&dir), 0);
    assert!(bytes(&view, "copy").await == large);
    view = reopened(view, &dir, &tree).await;
    assert!(bytes(&view, "copy").await == large);
    view.run(&Op::Truncate("copy".into(), 2 * MIB)).await.unwrap();
    assert!(bytes(&view, "copy").await == large[..2 << 20]);
}

#[tokio::test]
async fn attributes_have_bounds() {
    let (tree, _) = base().await;
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("txn");
    let clock = Arc::new(SystemClock);
    let mut view = TransactionView::start(&dir, started(), tree.clone(), clock).unwrap();
    view.create_at("f", NewBody::File, 0o644).await.unwrap();
    let (file, value) = (node(&view, "f").await, vec![7; 64 << 10]);
    for name in ["user.a", "user.b", "user.c"] {
        view.set_attribute(file, name, &value, XattrMode::Set).await.unwrap();
    }
    let full = view.set_attribute(file, "user.d", &value, XattrMode::Set).await;
    assert!(matches!(full, Err(VfsError::NoSpace(_))), "{full:?}");
    view.set_attribute(file, "user.c", &value, XattrMode::Replace).await.unwrap();
    view.remove_attribute(file, "user.b").await.unwrap();
    view = reopened(view, &dir, &tree).await;
    let file = node(&view, "f").await;
    let names = view.attribute_names(file).unwrap();
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["user.a", "user.c"]);
    assert!(view.attribute(file, "user.c").unwrap() == value);
}
