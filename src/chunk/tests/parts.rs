//! Parts of large chunks, out of a store that is a local directory.

use std::os::unix::fs::FileExt as _;

use super::super::pack::TRAILER_LEN;
use super::*;
use crate::store::{StoreOptions, open};

/// A store of blobs that has seen nothing, with too little memory to keep a
/// single chunk.
fn fresh(store: &Store, disk: Option<&std::path::Path>) -> Blobs {
    let disk = disk.map(|dir| (dir.to_owned(), 64 << 20));
    let config = BlobConfig { memory: 1 << 20, disk, ..BlobConfig::default() };
    Blobs::new(store.clone(), Arc::new(SystemClock), config)
}

/// Reads a little of each chunk but the last, which may be small.
async fn read_large(blobs: &Blobs, bytes: &Bytes, content: &Content) {
    let mut start = 0;
    for chunk in &content.chunks()[..content.chunks().len() - 1] {
        let part = blobs.read_some(chunk, 20_000..50_000).await.unwrap();
        assert_eq!(part, bytes.slice(start + 20_000..start + 50_000));
        start += chunk.len as usize;
    }
}

/// Where the chunks of a pack end, and where its index begins.
fn section(pack: &[u8], content: &Content) -> std::ops::Range<usize> {
    let trailer = pack.len() - TRAILER_LEN;
    let index = u32::from_le_bytes(pack[trailer..trailer + 4].try_into().unwrap());
    let frames = content.chunks().iter().map(|place| place.span().end).max().unwrap();
    frames as usize..trailer - index as usize
}

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
        let (_, content) = written(&store, 6).await;
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

#[test]
fn a_first_read_of_a_little_part_reads_no_whole_chunk() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        let blobs = fresh(&store, None);
        let before = store.stats();
        read_parts(&blobs, &bytes, &content).await;
        assert_eq!(store.stats(), before);
        assert_eq!(blobs.cache_stats(), CacheStats::default(), "no chunk was looked for");
    });
}

#[test]
fn packs_of_the_first_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        let pack = content.chunks()[0].pack;
        let path = store.local_path(&pack_key(pack)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let values = section(&whole, &content);
        let groups = content.chunks().iter().map(|chunk| (chunk.len as usize).div_ceil(16 << 10));
        assert_eq!(values.len(), groups.sum::<usize>() * 32);
        let index = &whole[values.end..whole.len() - TRAILER_LEN];
        let mut sum = blake3::Hasher::new();
        let sum = sum.update(pack.as_bytes()).update(index).finalize();
        let mut old = [&whole[..values.start], index].concat();
        old[8] = 1;
        old.extend_from_slice(&(index.len() as u32).to_le_bytes());
        old.extend_from_slice(&sum.as_bytes()[..16]);
        old.extend_from_slice(b"\x01pfs pack");
        std::fs::write(&path, old).unwrap();
        let blobs = fresh(&store, None);
        read_parts(&blobs, &bytes, &content).await;
        assert_eq!(read(&blobs, &content).await, bytes);
        assert_eq!(blobs.pack_index(pack).await.unwrap(), content.chunks());
    });
}

#[test]
fn damaged_values_cost_time_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        let path = store.local_path(&pack_key(content.chunks()[0].pack)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let values = section(&whole, &content);
        let places = [values.start, values.start + values.len() / 2, values.end - 1];
        for at in places.into_iter().chain([values.end + 5, whole.len() - 15, whole.len() - 1]) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            let blobs = fresh(&store, None);
            read_parts(&blobs, &bytes, &content).await;
            // The second time with what the first has seen.
            read_parts(&blobs, &bytes, &content).await;
        }
        let mut mixed = whole.clone();
        mixed[values.clone()].rotate_left(32);
        std::fs::write(&path, mixed).unwrap();
        read_parts(&fresh(&store, None), &bytes, &content).await;
    });
}

#[test]
fn a_pack_cut_short_is_named() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (store, bytes, content) = stored(dir.path()).await;
        let last = *content.chunks().last().unwrap();
        let path = store.local_path(&pack_key(last.pack)).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(last.span().end - 10).unwrap();
        let blobs = fresh(&store, None);
        let end = bytes.len() as u64;
        for range in [end - 5..end, end - u64::from(last.len)..end, 0..end] {
            let error = content.read_range(&blobs, range).await.unwrap_err();
            let ChunkError::Corrupt { chunk, .. } = error else { panic!("{error}") };
            assert_eq!(chunk, last.id);
        }
        assert_eq!(content.read_range(&blobs, 5..99).await.unwrap(), bytes.slice(5..99));
    });
}

/// A file of some chunks in `store`.
async fn written(store: &Store, seed: u64) -> (Bytes, Content) {
    let bytes = noise(seed, 5 << 20);
    let writer = blobs_on(store).writer();
    let content = write(&writer, &bytes).await;
    writer.flush().await.unwrap();
    (bytes, content)
}

#[test]
fn the_disk_cache_keeps_what_parts_are_compared_with() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let (bytes, content) = written(&store, 6).await;
        let first = fresh(&store, Some(dir.path()));
        for chunk in content.chunks() {
            first.read(chunk).await.unwrap();
        }
        first.settle().await;
        let before = store.stats();
        let second = fresh(&store, Some(dir.path()));
        read_large(&second, &bytes, &content).await;
        assert_eq!((store.stats(), second.cache_stats().disk_hits), (before, 0));
        // As a version left them that did not know of values, and damaged.
        for (damage, file) in std::fs::read_dir(dir.path()).unwrap().enumerate() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            match damage % 2 {
                0 => {
                    let name = path.file_name().unwrap().to_str().unwrap();
                    let stored = usize::from_str_radix(&name[name.len() - 8..], 16).unwrap();
                    bytes.truncate(stored);
                }
                _ => *bytes.last_mut().unwrap() ^= 1,
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let read_again = async || {
            let blobs = fresh(&store, Some(dir.path()));
            read_large(&blobs, &bytes, &content).await;
            assert_eq!(store.stats(), before, "the frames are whole");
            blobs.cache_stats().disk_hits
        };
        assert!(read_again().await > 0, "whole frames are read in their place");
        // They are mended by then, or a moment later.
        let mut tries = 0..1000;
        while read_again().await > 0 {
            assert!(tries.next().is_some(), "they are not mended");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn warming_keeps_what_parts_are_compared_with() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let (bytes, content) = written(&store, 7).await;
        let blobs = fresh(&store, Some(dir.path()));
        blobs.warm(content.chunks(), &Warming::new(Pace::Full)).await.unwrap();
        let before = store.stats();
        let blobs = fresh(&store, Some(dir.path()));
        read_large(&blobs, &bytes, &content).await;
        assert_eq!((store.stats(), blobs.cache_stats().disk_hits), (before, 0));
    });
}
