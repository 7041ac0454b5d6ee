use super::*;
use crate::chunk::BlobConfig;
use crate::model::{ChunkId, SystemClock};
use crate::store::Store;

fn place(pack: u8, offset: u32, stored: u32) -> ChunkRef {
    let (id, pack) = (ChunkId::new([0; 32]), PackId::new([pack; 16]));
    ChunkRef { id, pack, offset, stored, len: stored }
}

#[test]
fn neighbours_come_together_and_others_apart() {
    const MIB: u32 = 1 << 20;
    let places = [
        place(2, 0, 10),
        // Across two segments.
        place(1, MIB - 5, 10),
        place(1, 5, 10),
        place(1, 2 * MIB, MIB),
        place(1, 20 * MIB, MIB),
    ];
    let runs = runs(extents(&places));
    let spans: Vec<_> = runs.iter().map(|run| (run.span.clone(), run.parts.len())).collect();
    let mib = |from: u64, to: u64| from << 20..to << 20;
    assert_eq!(spans, [(mib(0, 3), 3), (mib(20, 21), 1), (mib(0, 1), 1)]);
    let many: Vec<_> = (0..20).map(|n| place(1, n * MIB, MIB)).collect();
    let spans: Vec<_> = super::runs(extents(&many)).into_iter().map(|run| run.span).collect();
    assert_eq!(spans, [mib(0, 8), mib(8, 16), mib(16, 20)]);
}

/// Blobs over `store` with a cache directory.
fn cached(store: &Store, dir: &std::path::Path, budget: u64) -> Blobs {
    let config = BlobConfig { disk: Some((dir.to_owned(), budget)), ..BlobConfig::default() };
    Blobs::new(store.clone(), Arc::new(SystemClock), config)
}

/// Small and large chunks, in the order they were written.
async fn written(store: &Store) -> Vec<ChunkRef> {
    let blobs = Blobs::new(store.clone(), Arc::new(SystemClock), BlobConfig::default());
    let writer = blobs.writer();
    let mut places = Vec::new();
    for number in 0..400_u32 {
        let size = if number % 10 == 0 { 600 << 10 } else { 20 << 10 };
        let mut bytes = vec![0; size];
        let mut state = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
        state.fill(&mut bytes);
        places.push(writer.append(Bytes::from(bytes)).await.unwrap());
    }
    writer.flush().await.unwrap();
    places
}

#[tokio::test]
async fn what_was_warmed_is_read_without_the_store_also_by_others() {
    let (store, scratch) = (Store::memory(), tempfile::tempdir().unwrap());
    let places = written(&store).await;
    // It knows what is there when it opens the directory: nothing.
    let earlier = cached(&store, scratch.path(), 1 << 30);
    let warming = cached(&store, scratch.path(), 1 << 30);
    let before = store.stats().get;
    let stats = warming.warm(&places, &Warming::new(Pace::Full)).await.unwrap();
    let bytes: u64 = places.iter().map(|place| u64::from(place.stored)).sum();
    assert_eq!(stats.requests, store.stats().get - before);
    assert!(stats.requests <= bytes.div_ceil(RUN) + 4, "{stats:?}");
    assert!(!stats.full && stats.there == 0, "{stats:?}");
    let again = warming.warm(&places, &Warming::new(Pace::Background)).await.unwrap();
    assert_eq!((again.requests, again.full), (0, false), "{again:?}");
    let before = store.stats().get;
    for blobs in [&earlier, &cached(&store, scratch.path(), 1 << 30)] {
        for place in &places {
            blobs.read(place).await.unwrap();
        }
    }
    assert_eq!(store.stats().get, before, "everything was on disk");
}

#[tokio::test]
async fn a_full_cache_is_said_and_stays_within_its_budget() {
    let (store, scratch) = (Store::memory(), tempfile::tempdir().unwrap());
    let places = written(&store).await;
    let blobs = cached(&store, scratch.path(), 12 << 20);
    let stats = blobs.warm(&places, &Warming::new(Pace::Background)).await.unwrap();
    assert!(stats.full && stats.fetched <= 12 << 20, "{stats:?}");
    assert!(blobs.cache_stats().disk_bytes <= 12 << 20);
    // As often as it is tried.
    let warming = Warming::new(Pace::Full);
    let again = blobs.warm(&places, &warming).await.unwrap();
    assert!(again.full && again.fetched + again.there <= 12 << 20, "{again:?}");
    assert!(blobs.warm(&places, &warming).await.unwrap().fetched == 0);
    let without = Blobs::new(store, Arc::new(SystemClock), BlobConfig::default());
    assert_eq!(
        without.warm(&places, &Warming::new(Pace::Full)).await.unwrap(),
        WarmStats::default()
    );
}

#[tokio::test]
async fn what_was_kept_before_makes_room_for_what_is_wanted() {
    const BUDGET: u64 = 24 << 20;
    let (store, scratch) = (Store::memory(), tempfile::tempdir().unwrap());
    let places = written(&store).await;
    // A third of them is less than the cache may hold, all are more.
    let (first, rest) = places.split_at(places.len() / 3);
    let (second, third) = rest.split_at(first.len());
    let blobs = cached(&store, scratch.path(), BUDGET);
    for part in [first, second, third] {
        let stats = blobs.warm(part, &Warming::new(Pace::Full)).await.unwrap();
        assert!(!stats.full && stats.fetched > 0, "{stats:?}");
        assert!(blobs.cache_stats().disk_bytes <= BUDGET);
        let before = store.stats().get;
        // Whoever opens it anew finds all of it.
        let reader = cached(&store, scratch.path(), BUDGET);
        for place in part {
            reader.read(place).await.unwrap();
        }
        assert_eq!(store.stats().get, before, "what was warmed is there");
    }
}
