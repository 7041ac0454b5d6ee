//! Persisted forms: golden bytes, and damage.

use super::super::codec::{decode_node, encode_node};
use super::super::key::Key;
use super::super::node::{Child, Item, Node, Record, RecordKind, Value};
use super::*;
use crate::model::NodeHash;

fn record(kind: RecordKind, mode: u32) -> Value {
    Value::Record(Record { kind, mode, mtime: TIME })
}

fn leaf() -> Node {
    let item = |at: &str, value| Item { key: Key::of(&path(at)), value };
    let inline = Content::Inline(Bytes::from_static(b"hello"));
    let items = vec![
        item("d", record(RecordKind::Dir, 0o755)),
        item("d/chunks", record(RecordKind::File(chunks(2)), 0o644)),
        item("d/inline", record(RecordKind::File(inline), 0o755)),
        item("l", record(RecordKind::Symlink("d/inline".to_owned()), 0o777)),
    ];
    Node { level: 0, items }
}

fn inner() -> Node {
    let child = |n: u64| {
        let totals = Totals { files: n, dirs: 1, bytes: 1000 * n };
        Value::Child(Child { blob: chunk(n), hash: NodeHash::new([n as u8; 32]), totals })
    };
    let item = |at: &str, n| Item { key: Key::of(&path(at)), value: child(n) };
    Node { level: 3, items: vec![item("a/b", 7), item("a/c", 300)] }
}

#[test]
fn nodes_keep_their_form() {
    for node in [leaf(), inner()] {
        assert_eq!(decode_node(encode_node(&node)).unwrap(), node);
    }
    insta::assert_snapshot!("leaf", hex::encode(encode_node(&leaf())));
    insta::assert_snapshot!("inner", hex::encode(encode_node(&inner())));
    insta::assert_snapshot!("hashes", format!("{} {}", leaf().hash(), inner().hash()));
}

#[tokio::test]
async fn roots_keep_their_form() {
    assert_eq!(Root::decode(&Root::empty().encode()).unwrap(), Root::empty());
    insta::assert_snapshot!("empty_root", Root::empty().hash());
    let bench = Bench::new();
    let root = bench.files(&[("a", "1")]).await;
    let bytes = root.encode();
    for at in 0..bytes.len() {
        assert!(Root::decode(&bytes[..at]).is_err());
    }
    assert!(Root::decode(&[2, 0]).is_err());
    assert!(Root::decode(&[1, 0, 0]).is_err());
}

#[test]
fn a_cut_node_is_refused() {
    for node in [leaf(), inner()] {
        let bytes = encode_node(&node);
        for at in 0..bytes.len() {
            assert!(decode_node(bytes.slice(..at)).is_err(), "cut at {at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode_node(longer.into()).is_err());
    }
}

#[test]
fn a_flipped_bit_gives_an_error_or_a_node_that_is_written_back_the_same() {
    for node in [leaf(), inner()] {
        let bytes = encode_node(&node);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = decode_node(damaged.clone().into()) {
                assert_ne!(found, node);
                let _ = found.hash();
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_pack_is_named_and_never_believed() {
    let bench = Bench::new();
    let edits = (0..3000).map(|n| put(&format!("d/{n:05}"), "content"));
    let root = bench.apply(&Root::empty(), edits.collect()).await;
    bench.writer.flush().await.unwrap();
    let store = bench.blobs.store();
    let objects = store.list_sorted("packs").await.unwrap();
    let key = objects[0].key.clone();
    let good = store.get(&key).await.unwrap();
    let Some(top) = root.0 else { panic!("the tree has entries") };
    let start = top.child.blob.offset as usize;
    for at in [start, start + 1, start + top.child.blob.stored as usize - 1] {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        store.put(&key, bad).await.unwrap();
        let cold = Bench::on(store.clone(), 1 << 20);
        let error = cold.tree(root).get(&path("d/00001")).await.unwrap_err();
        assert!(matches!(error, TreeError::Chunk(_)), "{error}");
    }
    store.put(&key, good.slice(..start + 1)).await.unwrap();
    let cold = Bench::on(store.clone(), 1 << 20);
    assert!(cold.tree(root).get(&path("d/00001")).await.is_err());
    store.delete(&key).await.unwrap();
    assert!(Bench::on(store.clone(), 0).tree(root).get(&path("d/00001")).await.is_err());
}

#[tokio::test]
async fn a_node_that_is_not_the_one_named_is_refused() {
    let bench = Bench::new();
    let root = bench.files(&[("a", "1")]).await;
    let Some(top) = root.0 else { panic!("the tree has entries") };
    let other = |change: fn(&mut super::super::root::Top)| {
        let mut top = top;
        change(&mut top);
        Tree::new(&bench.cold(), Root(Some(top)))
    };
    let at = path("a");
    for tree in [
        other(|top| top.level = 1),
        other(|top| top.child.totals.files = 2),
        other(|top| top.child.blob.len = 2 << 20),
    ] {
        let error = tree.get(&at).await.unwrap_err();
        assert!(matches!(error, TreeError::Corrupt { .. }), "{error}");
    }
}
