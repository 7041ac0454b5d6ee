//! Reading in an order seen before: what comes next is there already.

use std::path::Path;

use super::*;

fn order(replay: Replay, memory: usize, store: &Store) -> Blobs {
    let config = BlobConfig { memory, replay, ..BlobConfig::default() };
    Blobs::new(store.clone(), Arc::new(SystemClock), config)
}

fn kept(dir: &Path) -> Replay {
    Replay::Kept(dir.to_owned(), 1 << 20)
}

/// Chunks of 100 KiB in one pack each, so that a read brings no neighbours.
async fn scattered(store: &Store, count: u64) -> Vec<ChunkRef> {
    let mut places = Vec::new();
    for number in 0..count {
        let writer = blobs_on(store).writer();
        places.push(writer.append(noise(number, 100 << 10)).await.unwrap());
        writer.flush().await.unwrap();
    }
    places
}

fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| n * 7919 % count)
}

/// Reads slowly: what a read leads to has ended before the next.
async fn read_in(blobs: &Blobs, places: &[ChunkRef], order: impl Iterator<Item = usize>) {
    for n in order {
        let plain = blobs.read(&places[n]).await.unwrap();
        assert_eq!(plain, noise(n as u64, places[n].len as usize));
        settled().await;
    }
}

/// Waits until nothing is on its way.
async fn settled() {
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether a frame is in memory or on its way, alone or with those around it.
fn is_coming(blobs: &Blobs, place: &ChunkRef) -> bool {
    let fetcher = &blobs.inner.fetcher;
    let segment = super::super::segments::segment_extent(place.pack, 0);
    [segment, super::super::fetch::frame_extent(place)].iter().any(|extent| {
        let under_way = lock(&fetcher.flights).contains_key(extent);
        under_way || lock(&fetcher.memory).has_segment(extent)
    })
}

#[test]
fn the_second_job_asks_before_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let places = scattered(&store, 200).await;
        // Room for a fraction of it.
        let first = order(kept(dir.path()), 4 << 20, &store);
        read_in(&first, &places, shuffled(200)).await;
        assert_eq!(first.cache_stats().ahead_fetched, 0);
        first.keep_order().await;
        let second = order(kept(dir.path()), 4 << 20, &store);
        let before = store.stats();
        let mut late = 0;
        for n in shuffled(200) {
            late += usize::from(!is_coming(&second, &places[n]));
            read_in(&second, &places, std::iter::once(n)).await;
        }
        let (after, stats) = (store.stats(), second.cache_stats());
        assert!(late <= 8, "{late} were asked for too late");
        assert!(stats.ahead_used >= 190 && stats.ahead_wasted == 0, "{stats:?}");
        assert!(after.get - before.get <= 205, "{} requests", after.get - before.get);
    });
}

#[test]
fn the_next_round_of_one_mount_is_foreseen_within_the_budget() {
    run(async {
        let store = Store::memory();
        let places = scattered(&store, 150).await;
        let blobs = order(Replay::Forgotten, 4 << 20, &store);
        for _ in 0..3 {
            for n in shuffled(150) {
                read_in(&blobs, &places, std::iter::once(n)).await;
                assert!(blobs.cache_stats().memory_bytes <= 4 << 20);
            }
        }
        let stats = blobs.cache_stats();
        assert!(stats.ahead_used >= 280, "{stats:?}");
        assert!(stats.ahead_fetched - stats.ahead_used <= 24, "{stats:?}");
    });
}

#[test]
fn large_chunks_are_foreseen_too() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let mut places = Vec::new();
        for number in 0..150 {
            let writer = blobs_on(&store).writer();
            places.push(writer.append(noise(number, 300 << 10)).await.unwrap());
            writer.flush().await.unwrap();
        }
        let first = order(kept(dir.path()), 8 << 20, &store);
        let x0 = store.stats().get;
        read_in(&first, &places, shuffled(150)).await;
        let x0 = store.stats().get - x0;
        first.keep_order().await;
        let second = order(kept(dir.path()), 8 << 20, &store);
        let before = store.stats().get;
        read_in(&second, &places, shuffled(150)).await;
        let stats = second.cache_stats();
        assert!(stats.ahead_used >= 130, "{stats:?}");
        let requests = store.stats().get - before;
        assert!(requests <= 160, "{requests} requests, {x0} {stats:?}");
    });
}

#[test]
fn another_order_is_not_foreseen_and_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let places = scattered(&store, 200).await;
        let first = order(kept(dir.path()), 4 << 20, &store);
        read_in(&first, &places, shuffled(200)).await;
        first.keep_order().await;
        let second = order(kept(dir.path()), 4 << 20, &store);
        let before = store.stats().get;
        read_in(&second, &places, (0..200).map(|n| n * 61 % 200)).await;
        let fetched = store.stats().get - before;
        assert!(fetched <= 216, "{fetched} requests, {:?}", second.cache_stats());
    });
}

#[test]
fn what_cannot_be_fetched_ahead_is_fetched_when_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (faults, store) = faulty();
        let places = scattered(&store, 200).await;
        let first = order(kept(dir.path()), 4 << 20, &store);
        read_in(&first, &places, shuffled(200)).await;
        first.keep_order().await;
        let second = order(kept(dir.path()), 4 << 20, &store);
        // Three attempts each: some of what is fetched ahead fails for good.
        read_in(&second, &places, shuffled(200).take(12)).await;
        faults.plan(Operation::Get, 0, 3, Fault::Fail);
        read_in(&second, &places, shuffled(200).skip(12)).await;
    });
}

#[test]
fn damaged_foreign_and_shared_files_are_no_matter() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let places = scattered(&store, 200).await;
        let file = dir.path().join("order");
        for bytes in [&b""[..], b"not an order at all", &[0xff; 4096]] {
            std::fs::write(&file, bytes).unwrap();
            let blobs = order(kept(dir.path()), 4 << 20, &store);
            read_in(&blobs, &places, shuffled(200)).await;
            assert_eq!(blobs.cache_stats().ahead_fetched, 0);
        }
        std::fs::write(dir.path().join("order.12.new"), "half").unwrap();
        // Two at once: what one has kept, the other does not remove.
        let (a, b) =
            (order(kept(dir.path()), 4 << 20, &store), order(kept(dir.path()), 4 << 20, &store));
        read_in(&a, &places, 0..80).await;
        read_in(&b, &places, 80..200).await;
        a.keep_order().await;
        b.keep_order().await;
        let names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(names, ["order"]);
        let next = order(kept(dir.path()), 4 << 20, &store);
        read_in(&next, &places, 0..80).await;
        read_in(&next, &places, 80..200).await;
        assert!(next.cache_stats().ahead_used >= 160, "{:?}", next.cache_stats());
        // Where it cannot be kept nothing else is lost.
        let nowhere = order(kept(&dir.path().join("none")), 4 << 20, &store);
        read_in(&nowhere, &places, 0..80).await;
        nowhere.keep_order().await;
    });
}

#[test]
fn the_file_keeps_to_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let places = scattered(&store, 40).await;
        for _ in 0..4 {
            let replay = Replay::Kept(dir.path().to_owned(), 2000);
            let blobs = order(replay, 4 << 20, &store);
            read_in(&blobs, &places, shuffled(40)).await;
            blobs.keep_order().await;
            assert!(std::fs::metadata(dir.path().join("order")).unwrap().len() <= 2100);
        }
    });
}

#[test]
fn a_store_on_this_machine_needs_no_order() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = crate::store::open(
            &format!("file://{}", dir.path().display()),
            &crate::store::StoreOptions::default(),
        )
        .unwrap();
        let blobs = order(Replay::Forgotten, 4 << 20, &store);
        assert!(blobs.inner.fetcher.order.is_none());
    });
}
