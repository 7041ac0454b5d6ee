//! The figures of docs/adr/0006-tree-nodes.md.
//!
//! `PFS_MEASURE=1 cargo test --release --lib tree::tests::measure -- --nocapture`

use std::time::Instant;

use super::*;
use crate::store::StoreStats;

/// Runs one step with nothing cached and prints what it cost.
async fn step<T>(what: &str, bench: &Bench, work: impl AsyncFnOnce(&Bench) -> T) -> T {
    let cold = Bench::on(bench.blobs.store().clone(), 32 << 20);
    let before = cold.blobs.store().stats();
    let start = Instant::now();
    let done = work(&cold).await;
    cold.writer.flush().await.unwrap();
    let (time, after) = (start.elapsed(), cold.blobs.store().stats());
    let StoreStats { get, put, bytes_in, bytes_out, .. } = after;
    println!(
        "{what:<28} {:>9.1} ms  put {:>4} ({:>8.1} KiB)  get {:>6} ({:>8.1} KiB)",
        time.as_secs_f64() * 1000.0,
        put - before.put,
        (bytes_out - before.bytes_out) as f64 / 1024.0,
        get - before.get,
        (bytes_in - before.bytes_in) as f64 / 1024.0,
    );
    done
}

/// Files in directories of a thousand, with names as cameras give them.
fn name(n: u64) -> TreePath {
    path(&format!("train/{:04}/IMG_{:07}.jpg", n / 1000, n))
}

fn entry(n: u64, version: u64, inline: bool) -> Entry {
    let content = match inline {
        false => Content::Chunks([chunk(n + version * 10_000_019)].into()),
        // Two KiB that do not compress.
        true => {
            let mut bytes = vec![0; 2048];
            let seed = (n + version * 10_000_019).to_le_bytes();
            blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
            Content::Inline(bytes.into())
        }
    };
    Entry {
        mtime: Timestamp::from_nanos(TIME.as_nanos() + n as i64 * 1_234_567),
        ..Entry::file(content, TIME)
    }
}

async fn build(bench: &Bench, count: u64, inline: bool) -> Root {
    let edits = (0..count).map(|n| Ok::<_, TreeError>((name(n), Edit::Put(entry(n, 0, inline)))));
    let edits = futures::stream::iter(edits);
    apply(&bench.nodes, &bench.writer, &Root::empty(), edits, ApplyOptions::default())
        .await
        .unwrap()
}

async fn change(bench: &Bench, root: &Root, count: u64, every: u64, inline: bool) -> Root {
    let edits = (0..count)
        .step_by(every as usize)
        .map(|n| Ok::<_, TreeError>((name(n + n / every % every), Edit::Put(entry(n, 1, inline)))));
    let edits = futures::stream::iter(edits);
    apply(&bench.nodes, &bench.writer, root, edits, ApplyOptions::default()).await.unwrap()
}

async fn figures(count: u64, inline: bool) {
    println!("-- {count} entries, {}", if inline { "2 KiB inline" } else { "one chunk each" });
    let bench = Bench::new();
    let root = step("build", &bench, async |b| build(b, count, inline).await).await;
    let few =
        step("change 10", &bench, async |b| change(b, &root, count, count / 10, inline).await)
            .await;
    let many =
        step("change 1 %", &bench, async |b| change(b, &root, count, 100, inline).await).await;
    let differ = async |b: &Bench, new: &Root| {
        diff(&b.nodes, &root, new, &TreePath::root())
            .try_fold(0, async |n, _| Ok(n + 1))
            .await
            .unwrap()
    };
    let found = step("diff 10", &bench, async |b| differ(b, &few).await).await;
    assert_eq!(found, 10);
    step("diff 1 %", &bench, async |b| differ(b, &many).await).await;
    step("list the root", &bench, async |b| {
        b.tree(root).list(&TreePath::root(), None, 100).await.unwrap()
    })
    .await;
    step("get one", &bench, async |b| b.tree(root).get(&name(count / 2)).await.unwrap()).await;
    step("totals of train", &bench, async |b| b.tree(root).totals(&path("train")).await.unwrap())
        .await;
    let seen = step("walk all", &bench, async |b| {
        b.tree(root)
            .walk(&TreePath::root(), None)
            .try_fold(0, async |n, _| Ok(n + 1))
            .await
            .unwrap()
    });
    assert!(seen.await > count);
    step("hash train", &bench, async |b| b.tree(root).subtree_hash(&path("train")).await.unwrap())
        .await;
    let graft = (path("copy"), Edit::Graft { source: root, path: path("train") });
    step("graft train", &bench, async |b| b.apply(&root, vec![graft]).await).await;
}

#[tokio::test]
async fn nodes() {
    // Takes minutes and asserts little: for whoever asks.
    if std::env::var_os("PFS_MEASURE").is_none() {
        return;
    }
    figures(10_000, false).await;
    figures(10_000, true).await;
    figures(1_000_000, false).await;
}
