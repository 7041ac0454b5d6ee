mod disk;
mod far;
mod parts;
mod replay;
mod whole;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use proptest::prelude::*;

use super::assemble::{concat_with, splice_with};
use super::cache::ByteLru;
use super::codec::{self, RAW, ZSTD};
use super::pack::{Footer, PackBuilder, pack_key, parse_footer};
use super::reference::chunk_id;
use super::*;
use crate::model::{ChunkId, PackId, SystemClock};
use crate::store::{Backend, Fault, FaultStore, Operation, RetryPolicy, Store};

/// Small enough that short inputs have many chunks.
const TINY: ChunkSizes = ChunkSizes { min: 128, average: 512, max: 8192 };

fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn text(len: usize) -> Bytes {
    let words = (0..).flat_map(|n: u32| format!("line {n} of many\n").into_bytes());
    words.take(len).collect()
}

fn blobs_on(store: &Store) -> Blobs {
    Blobs::new(store.clone(), Arc::new(SystemClock), BlobConfig::default())
}

fn faulty() -> (Arc<FaultStore>, Store) {
    let faults = FaultStore::new(Store::memory().backend());
    let backend = Arc::clone(&faults) as Arc<dyn Backend>;
    let retry = RetryPolicy { attempts: 3, pause: Duration::ZERO, ..RetryPolicy::default() };
    (faults, Store::new(backend, retry))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

async fn write(writer: &PackWriter, bytes: &Bytes) -> Content {
    let mut file = FileWriter::new(writer, &[]);
    for piece in bytes.chunks(300_000) {
        file.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    file.finish().await.unwrap()
}

async fn write_tiny(writer: &PackWriter, bytes: &[u8]) -> Content {
    let mut file = FileWriter::with_sizes(writer, &[], TINY);
    file.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    file.finish().await.unwrap()
}

async fn read(blobs: &Blobs, content: &Content) -> Bytes {
    content.read_range(blobs, 0..u64::MAX).await.unwrap()
}

fn layout(content: &Content) -> Vec<(ChunkId, u32)> {
    content.chunks().iter().map(|chunk| (chunk.id, chunk.len)).collect()
}

/// The pack of [`golden_pack`] in the first version of the format.
const VERSION_1: &str = "\
    706673207061636b01070707070707070707070707070707070068656c6c6f00776f726c6421ea8f163db3868292\
    5e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f190000000600000005000000dc56981d20540d816f93\
    1110ffa281667e632c9f2400d4ebf2e582338bd49e201f0000000700000006000000580000003444ecb25141aa25\
    cd69523de598e3c601706673207061636b";

#[test]
fn golden_pack() {
    let mut pack = PackBuilder::new(PackId::new([7; 16]));
    for plain in [&b"hello"[..], b"world!"] {
        let plain = Bytes::from_static(plain);
        let (id, len) = (chunk_id(&plain), plain.len());
        pack.add(id, len, codec::encode(plain, false));
    }
    let (parts, refs) = pack.seal();
    insta::assert_snapshot!(hex::encode(parts.concat()));
    assert_eq!(refs[1].span(), 31..38);
    let old = parse_footer(PackId::new([7; 16]), &hex::decode(VERSION_1).unwrap());
    assert!(matches!(old, Ok(Footer::Whole(index)) if index.places == refs));
}

#[test]
fn golden_pack_with_chaining_values() {
    let mut pack = PackBuilder::new(PackId::new([7; 16]));
    for plain in [noise(1, 300_000), text(300_000), noise(2, 400)] {
        let (id, len) = (chunk_id(&plain), plain.len());
        pack.add(id, len, codec::encode(plain, false));
    }
    let (parts, _) = pack.seal();
    let values = &parts[parts.len() - 2];
    assert_eq!(values.len(), 300_000_usize.div_ceil(16 << 10) * 32);
    insta::assert_snapshot!(hex::encode([&values[..64], &parts[parts.len() - 1]].concat()));
}

#[test]
fn golden_zstd_frames_stay_readable() {
    let plain = text(300);
    let frame = codec::encode(plain.clone(), false);
    assert_eq!(frame.codec, ZSTD);
    let stored = "0128b52ffd60";
    let encoded = hex::encode([&[frame.codec][..], &frame.payload].concat());
    assert!(encoded.starts_with(stored), "{encoded}");
    insta::assert_snapshot!(encoded);
    let whole = Bytes::from(hex::decode(encoded).unwrap());
    assert_eq!(codec::decode(&whole, 300), Ok(plain));
}

#[test]
fn golden_boundaries_and_hashes() {
    let mut chunker = Chunker::new();
    let mut cuts: Vec<usize> = chunker.push(noise(1, 12 << 20)).iter().map(Bytes::len).collect();
    cuts.extend(std::iter::from_fn(|| chunker.finish()).map(|chunk| chunk.len()));
    insta::assert_debug_snapshot!(cuts);
    run(async {
        let writer = blobs_on(&Store::memory()).writer();
        let hash = |len| {
            let writer = writer.clone();
            async move { write(&writer, &noise(2, len)).await.hash().to_string() }
        };
        let hashes = [hash(0).await, hash(10).await, hash(100_000).await, hash(9 << 20).await];
        insta::assert_debug_snapshot!(hashes);
    });
}

#[test]
fn noise_is_kept_plain_and_text_is_compressed() {
    assert_eq!(codec::encode(noise(3, 1 << 20), false).codec, RAW);
    assert_eq!(codec::encode(noise(3, 1000), false).codec, RAW);
    let packed = codec::encode(text(1 << 20), false);
    assert_eq!(packed.codec, ZSTD);
    assert!(packed.payload.len() < 1 << 18);
}

#[test]
fn files_come_back_whole_and_in_parts() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        for len in [0, 1, INLINE_MAX, INLINE_MAX + 1, 70_000, 5 << 20] {
            let bytes = noise(len as u64, len);
            let content = write(&writer, &bytes).await;
            assert_eq!(matches!(content, Content::Inline(_)), len <= INLINE_MAX);
            assert_eq!(content.size(), len as u64);
            assert_eq!(read(&blobs, &content).await, bytes, "before the flush");
            writer.flush().await.unwrap();
            let fresh = blobs_on(blobs.store());
            assert_eq!(read(&fresh, &content).await, bytes, "from the store");
            let (from, to) = (len / 3, len / 2 + 1);
            let part = content.read_range(&fresh, from as u64..to as u64).await.unwrap();
            assert_eq!(part, bytes.slice(from..to.min(len)));
        }
    });
}

#[test]
fn equal_bytes_are_stored_once() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let bytes = noise(4, 3 << 20);
        let first = blobs.writer();
        let content = write(&first, &bytes).await;
        assert_eq!(write(&first, &bytes).await, content, "within a writer");
        first.flush().await.unwrap();
        let out = blobs.store().stats().bytes_out;
        let second = blobs.writer();
        assert_eq!(write(&second, &bytes).await, content, "by another writer");
        second.flush().await.unwrap();
        assert_eq!(blobs.store().stats().bytes_out, out);
        let fresh = blobs_on(blobs.store());
        fresh.learn_recent(10).await.unwrap();
        assert_eq!(write(&fresh.writer(), &bytes).await, content, "after a restart");
        fresh.forget_packs(&HashSet::from([content.chunks()[0].pack]));
        assert_ne!(write(&fresh.writer(), &bytes).await, content, "the pack is forgotten");
    });
}

#[test]
fn small_files_share_objects_and_requests() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let mut contents = Vec::new();
        for n in 0..1000 {
            contents.push(write(&writer, &noise(n, 8192)).await);
        }
        writer.flush().await.unwrap();
        assert_eq!(blobs.store().stats().put, 1);
        let before = blobs.store().stats().get;
        let fresh = blobs_on(blobs.store());
        for (n, content) in contents.iter().enumerate() {
            assert_eq!(read(&fresh, content).await, noise(n as u64, 8192));
        }
        let gets = blobs.store().stats().get - before;
        assert!(gets <= 4, "{gets} requests for 8 MiB of small files");
    });
}

#[test]
fn readers_of_one_place_share_a_fetch() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let content = write(&writer, &noise(5, 600_000)).await;
        writer.flush().await.unwrap();
        let fresh = blobs_on(blobs.store());
        let before = blobs.store().stats().get;
        let place = content.chunks()[0];
        let reads = (0..20).map(|_| fresh.read(&place));
        futures::future::try_join_all(reads).await.unwrap();
        assert_eq!(blobs.store().stats().get - before, 1);
    });
}

#[test]
fn many_writers_share_a_small_budget() {
    run(async {
        let config = BlobConfig { write_buffer: 0, ..BlobConfig::default() };
        let blobs = Blobs::new(Store::memory(), Arc::new(SystemClock), config);
        // Idle writers with open packs take up all room: 32 MiB in steps of
        // 256 KiB. They must not keep the busy one from its work.
        let idle: Vec<PackWriter> = (0..200).map(|_| blobs.writer()).collect();
        for (n, writer) in idle.iter().enumerate() {
            writer.append(noise(n as u64, 100_000)).await.unwrap();
        }
        let busy = blobs.writer();
        let bytes = noise(9, 40 << 20);
        let content = write(&busy, &bytes).await;
        busy.flush().await.unwrap();
        for (n, writer) in idle.iter().enumerate() {
            let place = writer.append(noise(n as u64, 100_000)).await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(blobs.read(&place).await.unwrap(), noise(n as u64, 100_000));
        }
        assert_eq!(read(&blobs, &content).await, bytes);
    });
}

#[test]
fn a_pack_put_that_fails_after_it_was_applied_is_no_failure() {
    run(async {
        let (faults, store) = faulty();
        faults.plan(Operation::Put, 0, 1, Fault::FailAfter);
        let blobs = blobs_on(&store);
        let writer = blobs.writer();
        let content = write(&writer, &noise(6, 100_000)).await;
        writer.flush().await.unwrap();
        assert_eq!(store.list_sorted("packs").await.unwrap().len(), 1);
        assert_eq!(read(&blobs_on(&store), &content).await, noise(6, 100_000));
    });
}

#[test]
fn a_failed_upload_fails_the_writer_for_good() {
    run(async {
        let (faults, store) = faulty();
        faults.plan(Operation::Put, 0, 1, Fault::NoSpace);
        let writer = blobs_on(&store).writer();
        writer.append(noise(7, 50_000)).await.unwrap();
        let error = writer.flush().await.unwrap_err();
        assert!(error.to_string().starts_with("no space left"), "{error}");
        assert_eq!(writer.append(noise(8, 10)).await.unwrap_err(), error);
        assert_eq!(writer.flush().await.unwrap_err(), error);
    });
}

#[test]
fn a_dropped_writer_leaves_nothing_to_read() {
    run(async {
        let store = Store::memory();
        let blobs = blobs_on(&store);
        let place = {
            let writer = blobs.writer();
            let place = writer.append(noise(1, 9000)).await.unwrap();
            assert_eq!(blobs.read(&place).await.unwrap(), noise(1, 9000));
            place
        };
        assert!(matches!(blobs.read(&place).await, Err(ChunkError::Missing { .. })));
        assert!(store.list_sorted("").await.unwrap().is_empty());
    });
}

#[test]
fn damage_on_the_way_is_asked_for_again() {
    run(async {
        let (faults, store) = faulty();
        let writer = blobs_on(&store).writer();
        let small = writer.append(noise(1, 9000)).await.unwrap();
        let large = writer.append(noise(2, 500_000)).await.unwrap();
        writer.flush().await.unwrap();
        for fault in [Fault::Corrupt, Fault::Truncate] {
            for (place, bytes) in [(small, noise(1, 9000)), (large, noise(2, 500_000))] {
                faults.plan(Operation::Get, 0, 1, fault);
                assert_eq!(blobs_on(&store).read(&place).await.unwrap(), bytes);
                faults.heal();
            }
        }
    });
}

#[test]
fn damage_in_the_store_is_named_and_never_returned() {
    run(async {
        let store = Store::memory();
        let writer = blobs_on(&store).writer();
        let small = writer.append(noise(1, 9000)).await.unwrap();
        let large = writer.append(noise(2, 500_000)).await.unwrap();
        writer.flush().await.unwrap();
        let key = pack_key(small.pack);
        let good = store.get(&key).await.unwrap();
        let mut bad = good.to_vec();
        bad[small.offset as usize + 100] ^= 1;
        bad[large.offset as usize + 100] ^= 1;
        store.put(&key, bad).await.unwrap();
        for place in [small, large] {
            let error = blobs_on(&store).read(&place).await.unwrap_err();
            assert!(matches!(&error, ChunkError::Corrupt { chunk, .. } if *chunk == place.id));
            assert!(error.to_string().contains(&place.id.to_string()), "{error}");
        }
        store.put(&key, good.slice(..200)).await.unwrap();
        for place in [small, large] {
            let error = blobs_on(&store).read(&place).await.unwrap_err();
            assert!(matches!(error, ChunkError::Corrupt { .. }), "{error}");
        }
        store.delete(&key).await.unwrap();
        for place in [small, large] {
            let error = blobs_on(&store).read(&place).await.unwrap_err();
            assert_eq!(error, ChunkError::Missing { chunk: place.id, pack: place.pack });
        }
        assert!(blobs_on(&store).learn_pack(small.pack).await.is_err());
    });
}

#[test]
fn the_disk_cache_survives_a_restart_and_damage() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let writer = blobs_on(&store).writer();
        let small = writer.append(noise(1, 9000)).await.unwrap();
        let large = writer.append(noise(2, 500_000)).await.unwrap();
        writer.flush().await.unwrap();
        let cached = || {
            let disk = Some((dir.path().to_owned(), 10 << 20));
            let config = BlobConfig { disk, ..BlobConfig::default() };
            Blobs::new(store.clone(), Arc::new(SystemClock), config)
        };
        let both = async |blobs: Blobs| {
            assert_eq!(blobs.read(&small).await.unwrap(), noise(1, 9000));
            assert_eq!(blobs.read(&large).await.unwrap(), noise(2, 500_000));
        };
        both(cached()).await;
        // Kept in the background.
        while std::fs::read_dir(dir.path()).unwrap().count() < 2 {
            tokio::task::yield_now().await;
        }
        while std::fs::read_dir(dir.path())
            .unwrap()
            .any(|file| file.unwrap().file_name().to_str().unwrap().ends_with(".new"))
        {
            tokio::task::yield_now().await;
        }
        let before = store.stats().get;
        both(cached()).await;
        assert_eq!(store.stats().get, before, "everything was on disk");
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[50] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        let left = format!("{}-00000000-00100000.1.new", PackId::new([1; 16]));
        let left = dir.path().join(left);
        std::fs::write(&left, "left behind").unwrap();
        both(cached()).await;
        assert!(store.stats().get > before, "damage is a miss");
        assert!(!left.exists());
    });
}

#[test]
fn a_slow_cache_disk_takes_bounded_memory() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let writer = blobs_on(&store).writer();
        let places = [noise(1, 500_000), noise(2, 500_000)].map(|bytes| writer.append(bytes));
        let places = futures::future::try_join_all(places).await.unwrap();
        writer.flush().await.unwrap();
        let disk = Some((dir.path().to_owned(), 10 << 20));
        let config = BlobConfig { disk, ..BlobConfig::default() };
        let blobs = Blobs::new(store, Arc::new(SystemClock), config);
        let keeping = &blobs.inner.fetcher.keeping;
        let full = keeping.try_acquire_many(keeping.available_permits() as u32).unwrap();
        blobs.read(&places[0]).await.unwrap();
        drop(full);
        blobs.read(&places[1]).await.unwrap();
        while std::fs::read_dir(dir.path()).unwrap().count() == 0 {
            tokio::task::yield_now().await;
        }
        let kept = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().file_name();
        let offset = format!("-{:08x}-", places[1].offset);
        assert!(kept.to_str().unwrap().contains(&offset), "the first was not kept: {kept:?}");
    });
}

#[test]
fn what_the_store_lost_is_stored_anew_at_one_question_per_pack() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let bytes = noise(4, 9 << 20);
        let first = blobs.writer();
        let content = write(&first, &bytes).await;
        first.flush().await.unwrap();
        let other = blobs_on(blobs.store());
        let base = content.chunks();
        let again = async |blobs: &Blobs| {
            let writer = blobs.writer();
            let mut file = FileWriter::new(&writer, base);
            file.write(bytes.clone()).await.unwrap();
            let content = file.finish().await.unwrap();
            writer.flush().await.unwrap();
            content
        };
        let asked = blobs.store().stats().get;
        assert_eq!(again(&other).await, content);
        assert!(base.len() > 2);
        assert_eq!(blobs.store().stats().get - asked, 1, "one question for all chunks");
        blobs.store().delete(&pack_key(base[0].pack)).await.unwrap();
        let third = blobs_on(blobs.store());
        let anew = again(&third).await;
        assert_eq!((anew.hash(), layout(&anew)), (content.hash(), layout(&content)));
        assert_ne!(anew.chunks()[0].pack, base[0].pack);
        assert_eq!(read(&blobs_on(blobs.store()), &anew).await, bytes);
        assert!(!third.holds(&base[0]).await.unwrap());
        assert!(third.holds(&anew.chunks()[0]).await.unwrap());
    });
}

#[test]
fn damaged_chunks_are_stored_anew_once_that_is_known() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let place = writer.append(noise(1, 9000)).await.unwrap();
        writer.flush().await.unwrap();
        let mut pack = blobs.store().get(&pack_key(place.pack)).await.unwrap().to_vec();
        pack[place.offset as usize + 100] ^= 1;
        blobs.store().put(&pack_key(place.pack), pack).await.unwrap();
        assert!(blobs.afresh().read(&place).await.is_err());
        let anew = writer.append(noise(1, 9000)).await.unwrap();
        writer.flush().await.unwrap();
        assert_ne!(anew, place);
        assert_eq!(blobs.afresh().read(&anew).await.unwrap(), noise(1, 9000));
    });
}

#[test]
fn a_chunk_alone_in_a_large_buffer_is_copied_out_of_it() {
    let buffer = noise(1, 4 << 20);
    let plain = buffer.slice(1 << 20..2 << 20);
    assert_eq!(codec::encode(plain.clone(), false).payload.as_ptr(), plain.as_ptr());
    let copied = codec::encode(plain.clone(), true).payload;
    assert!(copied == plain && copied.as_ptr() != plain.as_ptr());
}

#[test]
fn references_that_no_pack_can_hold_are_refused() {
    let checked = |span, len| {
        ChunkRef::checked(ChunkId::new([1; 32]), PackId::new([2; 16]), span, len).is_some()
    };
    assert!(checked((25, 101), 100) && checked((25, 2), BLOB_MAX as u32) && checked((25, 1), 0));
    for (span, len) in [
        ((25, 0), 100),
        ((25, 1), 1),
        ((25, 2), 0),
        ((25, 102), 100),
        ((u32::MAX - 5, 101), 100),
        ((25, 101), BLOB_MAX as u32 + 1),
    ] {
        assert!(!checked(span, len), "{span:?} {len}");
    }
}

#[test]
fn the_memory_cache_keeps_to_its_budget() {
    let mut cache = ByteLru::new(10_000);
    for n in 0..100 {
        cache.put(n, noise(n, 1000));
        cache.put(n, noise(n, 900));
        assert!(cache.used() <= 10_000);
    }
    assert_eq!(cache.get(&99), Some(noise(99, 900)));
    assert_eq!(cache.get(&0), None);
    cache.put(200, noise(1, 20_000));
    assert_eq!(cache.get(&200), None);
}

#[test]
fn pack_indexes_longer_than_one_read_are_read_whole() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let mut places = Vec::new();
        for n in 0..5000 {
            places.push(writer.append(noise(n, 40)).await.unwrap());
        }
        writer.flush().await.unwrap();
        assert_eq!(blobs.pack_index(places[0].pack).await.unwrap(), places);
    });
}

#[test]
fn streams_read_large_files_in_few_requests() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let bytes = noise(1, 24 << 20);
        let content = write(&writer, &bytes).await;
        writer.flush().await.unwrap();
        let fresh = blobs_on(blobs.store());
        let before = blobs.store().stats().get;
        let pieces: Vec<Bytes> = content.stream(&fresh, 0..u64::MAX).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), bytes);
        let gets = blobs.store().stats().get - before;
        assert!(gets <= 12, "{gets} requests for 24 MiB");
    });
}

#[test]
fn appending_reads_only_the_last_chunk() {
    run(async {
        let blobs = blobs_on(&Store::memory());
        let writer = blobs.writer();
        let bytes = noise(1, 20 << 20);
        let content = write(&writer, &bytes).await;
        writer.flush().await.unwrap();
        let fresh = blobs_on(blobs.store());
        let before = blobs.store().stats();
        let writer = fresh.writer();
        let grown =
            Content::concat(&writer, &content, &Content::Inline("more".into())).await.unwrap();
        writer.flush().await.unwrap();
        let after = blobs.store().stats();
        assert_eq!(grown.size(), content.size() + 4);
        assert!(after.bytes_in - before.bytes_in <= 4 << 20);
        assert!(after.bytes_out - before.bytes_out <= 5 << 20);
        assert_eq!(read(&fresh, &grown).await, [&bytes[..], b"more"].concat());
    });
}

/// Bytes with both structure and noise, so that boundaries of all kinds occur.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (any::<u64>(), 0..3000_usize).prop_map(|(seed, len)| noise(seed, len).to_vec()),
        (any::<u8>(), 0..3000_usize).prop_map(|(byte, len)| vec![byte; len]),
        (0..2000_usize).prop_map(|len| text(len).to_vec()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn boundaries_do_not_depend_on_pushes(bytes in mixed(), cuts in proptest::collection::vec(1..5000_usize, 1..20)) {
        let chunk = |pieces: Vec<Bytes>| {
            let mut chunker = Chunker::with_sizes(TINY);
            let mut out: Vec<Bytes> = pieces.into_iter().flat_map(|p| chunker.push(p)).collect();
            out.extend(std::iter::from_fn(|| chunker.finish()));
            out
        };
        let whole = Bytes::from(bytes);
        let mut rest = whole.clone();
        let mut pieces = Vec::new();
        for cut in cuts {
            pieces.push(rest.split_to(cut.min(rest.len())));
        }
        pieces.push(rest);
        let chunks = chunk(vec![whole.clone()]);
        prop_assert_eq!(&chunks, &chunk(pieces));
        prop_assert_eq!(chunks.concat(), whole);
        prop_assert!(chunks.iter().all(|chunk| chunk.len() <= TINY.max));
    }

    #[test]
    fn concat_is_canonical(first in mixed(), second in mixed()) {
        run(async {
            let blobs = blobs_on(&Store::memory());
            let writer = blobs.writer();
            let (a, b) = (write_tiny(&writer, &first).await, write_tiny(&writer, &second).await);
            let joined = concat_with(TINY, &writer, &a, &b).await.unwrap();
            let whole = [first, second].concat();
            let anew = write_tiny(&writer, &whole).await;
            assert_eq!(layout(&joined), layout(&anew));
            assert_eq!(joined.hash(), anew.hash());
            assert_eq!(read(&blobs, &joined).await, whole);
        });
    }

    #[test]
    fn splice_is_canonical(
        base in mixed(),
        new_len in 0..60_000_usize,
        edits in proptest::collection::vec((0..60_000_u64, 1..600_u64), 0..6),
        seed in any::<u64>(),
    ) {
        run(async {
            let blobs = blobs_on(&Store::memory());
            let writer = blobs.writer();
            let content = write_tiny(&writer, &base).await;
            let mut dirty: Vec<std::ops::Range<u64>> = Vec::new();
            let mut starts = edits;
            starts.sort_unstable();
            for (start, len) in starts {
                let start = start.max(dirty.last().map_or(0, |range| range.end));
                let end = (start + len).min(new_len as u64);
                if start < end {
                    dirty.push(start..end);
                }
            }
            let fresh = noise(seed, new_len);
            let mut whole = base.clone();
            whole.resize(new_len, 0);
            for range in &dirty {
                let range = range.start as usize..range.end as usize;
                whole[range.clone()].copy_from_slice(&fresh[range]);
            }
            let read_new = |range: std::ops::Range<u64>| {
                let piece = fresh.slice(range.start as usize..range.end as usize);
                async move { Ok::<_, ChunkError>(piece) }
            };
            let spliced =
                splice_with(TINY, &writer, &content, &dirty, new_len as u64, read_new).await.unwrap();
            let anew = write_tiny(&writer, &whole).await;
            assert_eq!(layout(&spliced), layout(&anew));
            assert_eq!(spliced.hash(), anew.hash());
            assert_eq!(read(&blobs, &spliced).await, whole);
        });
    }

    #[test]
    fn frames_and_footers_survive_a_round_trip(bytes in mixed()) {
        let plain = Bytes::from(bytes);
        let mut pack = PackBuilder::new(PackId::new([1; 16]));
        let place = pack.add(chunk_id(&plain), plain.len(), codec::encode(plain.clone(), false));
        prop_assert_eq!(codec::decode(&pack.frame(&place).unwrap(), plain.len()), Ok(plain));
        let (parts, refs) = pack.seal();
        let object = parts.concat();
        let read = parse_footer(place.pack, &object);
        prop_assert!(matches!(read, Ok(Footer::Whole(index)) if index.places == refs));
    }

    #[test]
    fn damaged_footers_are_refused(flip in 0..1000_usize, cut in 0..1000_usize) {
        let mut pack = PackBuilder::new(PackId::new([1; 16]));
        for n in 0..5 {
            let plain = noise(n, 30);
            pack.add(chunk_id(&plain), 30, codec::encode(plain, false));
        }
        let end = parse_end(&mut pack);
        let mut flipped = end.clone();
        let at = flip % flipped.len();
        flipped[at] ^= 1;
        prop_assert!(!matches!(parse_footer(PackId::new([1; 16]), &flipped), Ok(Footer::Whole(_))));
        let cut = cut % end.len();
        prop_assert!(!matches!(parse_footer(PackId::new([1; 16]), &end[..cut]), Ok(Footer::Whole(_))));
    }
}

fn parse_end(pack: &mut PackBuilder) -> Vec<u8> {
    let (parts, _) = pack.seal();
    parts.last().unwrap().to_vec()
}
