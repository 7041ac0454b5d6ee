//! Reading from a store that is not on this machine: few requests, each byte once.

use super::*;

fn with_memory(store: &Store, memory: usize) -> Blobs {
    let config = BlobConfig { memory, ..BlobConfig::default() };
    Blobs::new(store.clone(), Arc::new(SystemClock), config)
}

fn with_cache(store: &Store, dir: &std::path::Path) -> Blobs {
    let disk = Some((dir.to_owned(), 1 << 30));
    let config = BlobConfig { disk, memory: 4 << 20, ..BlobConfig::default() };
    Blobs::new(store.clone(), Arc::new(SystemClock), config)
}

/// So many chunks of 8 KiB in packs of 16 MiB, in the order they were written.
async fn small(store: &Store, count: u64) -> Vec<ChunkRef> {
    let config = BlobConfig { pack_size: 16 << 20, ..BlobConfig::default() };
    let writer = Blobs::new(store.clone(), Arc::new(SystemClock), config).writer();
    let mut places = Vec::new();
    for number in 0..count {
        places.push(writer.append(noise(number, 8 << 10)).await.unwrap());
    }
    writer.flush().await.unwrap();
    places
}

/// The numbers below `count`, each once and in no order.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| n * 7919 % count)
}

#[test]
fn small_chunks_in_any_order_cost_few_requests_and_each_byte_once() {
    run(async {
        let store = Store::memory();
        let places = small(&store, 5000).await;
        let packs: HashSet<PackId> = places.iter().map(|place| place.pack).collect();
        let blobs = with_memory(&store, 256 << 20);
        let before = store.stats();
        let readers = (0..8).map(|reader| {
            let (blobs, places) = (blobs.clone(), places.clone());
            tokio::spawn(async move {
                for n in shuffled(places.len()).skip(reader).step_by(8) {
                    assert_eq!(blobs.read(&places[n]).await.unwrap(), noise(n as u64, 8 << 10));
                }
            })
        });
        futures::future::try_join_all(readers).await.unwrap();
        let after = store.stats();
        let stored: u64 = places.iter().map(|place| u64::from(place.stored)).sum();
        let (gets, fetched) = (after.get - before.get, after.bytes_in - before.bytes_in);
        // Whoever comes first: one segment, those of its eight on each side of
        // it, the other eight, and what is left beyond sixteen.
        assert!(gets <= 5 * packs.len() as u64, "{gets} requests for {} packs", packs.len());
        assert!(fetched <= stored + stored / 20, "{fetched} bytes for {stored}");
    });
}

#[test]
fn small_chunks_far_more_than_fit_into_memory_are_read_alone() {
    run(async {
        let store = Store::memory();
        let places = small(&store, 8000).await;
        // Room for three segments of sixty.
        let blobs = with_memory(&store, 4 << 20);
        // One of each segment in turn: none is read again before it must go.
        let order = (0..100).flat_map(|at| (0..64).map(move |segment| segment * 125 + at));
        let mut wanted = order.filter(|n| *n < places.len());
        let first: Vec<usize> = wanted.by_ref().take(300).collect();
        for n in first {
            blobs.read(&places[n]).await.unwrap();
        }
        let before = store.stats().bytes_in;
        for n in wanted.take(200) {
            assert_eq!(blobs.read(&places[n]).await.unwrap(), noise(n as u64, 8 << 10));
        }
        let fetched = store.stats().bytes_in - before;
        assert!(fetched < 200 * (64 << 10), "{fetched} bytes");
    });
}

#[test]
fn what_is_fetched_ahead_comes_in_few_requests() {
    run(async {
        let store = Store::memory();
        let bytes = noise(1, 30 << 20);
        let writer = blobs_on(&store).writer();
        let content = write(&writer, &bytes).await;
        writer.flush().await.unwrap();
        let blobs = with_memory(&store, 128 << 20);
        let (before, room) = (store.stats().get, blobs.ahead());
        blobs.prefetch(content.chunks());
        assert!(blobs.ahead() <= room - bytes.len() as u64);
        for (start, chunk) in content.chunks_from(0) {
            let plain = blobs.read(chunk).await.unwrap();
            assert_eq!(plain, bytes.slice(start as usize..start as usize + chunk.len as usize));
        }
        assert!(store.stats().get - before <= 6, "{} requests", store.stats().get - before);
        assert_eq!(blobs.ahead(), room, "all was read");
    });
}

#[test]
fn of_a_cached_segment_only_the_frame_is_read() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::memory();
        let places = small(&store, 1000).await;
        with_cache(&store, dir.path()).warm(&places, &Warming::new(Pace::Full)).await.unwrap();
        let before = store.stats().get;
        let blobs = with_cache(&store, dir.path());
        for n in shuffled(places.len()) {
            assert_eq!(blobs.read(&places[n]).await.unwrap(), noise(n as u64, 8 << 10));
        }
        assert_eq!(store.stats().get, before);
        assert_eq!(blobs.cache_stats().memory_bytes, 0, "no segment was read whole");
        assert_eq!(blobs.cache_stats().disk_hits, 1000);
        // Damage is fetched again, and stays gone.
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        for _ in 0..2 {
            let plain = blobs.read(&places[0]).await.unwrap();
            assert_eq!(plain, noise(0, 8 << 10));
        }
        assert!(store.stats().get > before);
    });
}

#[test]
fn a_store_that_does_not_say_what_is_wrong_holds_up_no_other_read() {
    run(async {
        let (faults, store) = faulty();
        let places = small(&store, 10).await;
        let blobs = with_memory(&store, 64 << 20);
        let window = Arc::clone(&blobs.inner.fetcher.window);
        let all = window.available_permits();
        faults.plan(Operation::Get, 0, 3, Fault::Fail);
        faults.plan(Operation::Head, 0, 1, Fault::Stall);
        let (reader, place) = (blobs.clone(), places[0]);
        let before = store.stats().get;
        let stuck = tokio::spawn(async move { reader.read(&place).await });
        // Three attempts, and the question that is not answered.
        while store.stats().get < before + 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(window.available_permits(), all);
        stuck.abort();
    });
}
