//! Parts of large chunks, out of a store that is a local directory.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::store::{StoreOptions, open};

/// A store in a directory, and a file of several large chunks in it.
async fn stored(dir: &std::path::Path) -> (Store, Bytes, Content) {
    let store = open(&format!("file://{}", dir.display()), &StoreOptions::default()).unwrap();
    let bytes = noise(5, 6 << 20);
    let writer = blobs_on(&store).writer();
    let content = write(&writer, &bytes).await;
    writer.flush().await.unwrap();
    (store, bytes, content)
}

/// Reads little parts of all chunks, in no order.
async fn read_parts(blobs: &Blobs, bytes: &Bytes, content: &Content) {
    for at in (0..bytes.len() as u64 - 5000).step_by(70_001) {
        let at = at * 37 % (bytes.len() as u64 - 5000);
        let part = content.read_range(blobs, at..at + 4999).await.unwrap();
        assert_eq!(part, bytes.slice(at as usize..at as usize + 4999), "at {at}");
    }
}

#[test]
fn parts_of_chunks_seen_before_cost_no_request() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        // Too little memory to keep a single chunk.
        let config = BlobConfig { memory: 1 << 20, ..BlobConfig::default() };
        let blobs = Blobs::new(store.clone(), Arc::new(SystemClock), config);
        assert_eq!(read(&blobs, &content).await, bytes);
        // What was read in a run has its values known, too.
        let before = store.stats();
        read_parts(&blobs, &bytes, &content).await;
        assert_eq!(store.stats(), before);
    });
}

#[test]
fn parts_damaged_on_disk_are_never_returned() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        let config = BlobConfig { memory: 1 << 20, ..BlobConfig::default() };
        let blobs = Blobs::new(store.clone(), Arc::new(SystemClock), config);
        read(&blobs, &content).await;
        read_parts(&blobs, &bytes, &content).await;
        let chunk = content.chunks()[1];
        let start = u64::from(content.chunks()[0].len);
        let pack = store.local_path(&pack_key(chunk.pack)).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(pack).unwrap();
        let damage = bytes[start as usize + 100_000] ^ 1;
        file.write_all_at(&[damage], u64::from(chunk.offset) + 1 + 100_000).unwrap();
        let hit = start + 99_990..start + 100_010;
        let error = content.read_range(&blobs, hit).await.unwrap_err();
        assert!(matches!(error, ChunkError::Corrupt { .. }), "{error}");
        let beside = start + 10..start + 20;
        let part = content.read_range(&blobs, beside).await.unwrap();
        assert_eq!(part, bytes.slice(start as usize + 10..start as usize + 20));
    });
}

#[test]
fn parts_come_out_of_the_disk_cache_of_a_store_that_is_far() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let bytes = noise(6, 5 << 20);
        let writer = blobs_on(&store).writer();
        let content = write(&writer, &bytes).await;
        writer.flush().await.unwrap();
        let disk = Some((dir.path().to_owned(), 64 << 20));
        let config = BlobConfig { memory: 1 << 20, disk, ..BlobConfig::default() };
        let blobs = Blobs::new(store.clone(), Arc::new(SystemClock), config);
        for chunk in content.chunks() {
            blobs.read(chunk).await.unwrap();
        }
        // Keeping what was fetched goes on in the background.
        blobs.settle().await;
        let before = store.stats();
        for chunk in content.chunks() {
            let id = |whole: &Bytes| chunk_id(whole);
            let whole = blobs.read(chunk).await.unwrap();
            assert_eq!(id(&whole), chunk.id);
            assert_eq!(blobs.read_some(chunk, 77..99).await.unwrap(), whole.slice(77..99));
        }
        assert_eq!(store.stats(), before);
    });
}

#[test]
fn a_store_that_is_far_is_asked_for_much_at_a_time() {
    run(async {
        let store = Store::memory();
        let writer = blobs_on(&store).writer();
        let mut files = Vec::new();
        for number in 0..2000 {
            files.push(write(&writer, &noise(number, 8192)).await);
        }
        writer.flush().await.unwrap();
        let blobs = blobs_on(&store);
        let before = store.stats().get;
        // As a shuffling reader would; 16 MB of one pack.
        for at in 0..files.len() {
            read(&blobs, &files[at * 1237 % files.len()]).await;
        }
        let requests = store.stats().get - before;
        assert!(requests <= 8, "{requests} requests");
    });
}
