//! How fast content goes into a file store and out again, beside `cp`.
//!
//! Prints `name value unit` lines. `PFS_BENCH_DIR` says where to work (a
//! directory inside it is made and removed), `PFS_BENCH_MIB` how large the
//! large file is, and the argument `variants` adds other chunk and pack sizes.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use pfs::chunk::{BlobConfig, Blobs, ChunkSizes, Content, FileWriter};
use pfs::model::{BranchName, Clock, ProjectName, Ref, Repo, SystemClock};
use pfs::repo::{ChangeNote, NewFile, Repos};
use pfs::store::{StoreOptions, open};

const MIB: usize = 1 << 20;

fn report(name: &str, value: f64, unit: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{name} {value:.3} {unit}").expect("stdout takes lines");
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn blobs(dir: &Path, config: BlobConfig) -> Blobs {
    let url = format!("file://{}", dir.display());
    let store = open(&url, &StoreOptions::default()).expect("the bench directory is usable");
    Blobs::new(store, Arc::new(SystemClock), config)
}

/// Seconds that `cp` and a `sync` of the copy take.
fn copy(from: &Path, to: &Path) -> f64 {
    let start = Instant::now();
    let shell = format!("cp -a '{0}' '{1}' && sync -f '{1}'", from.display(), to.display());
    assert!(Command::new("sh").arg("-c").arg(shell).status().expect("sh runs").success());
    start.elapsed().as_secs_f64()
}

async fn put(blobs: &Blobs, file: &Path, sizes: ChunkSizes, base: &Content) -> (Content, f64) {
    let start = Instant::now();
    let writer = blobs.writer();
    let mut content = FileWriter::with_sizes(&writer, base.chunks(), sizes);
    let mut source = fs::File::open(file).expect("the source is there");
    loop {
        let mut piece = vec![0; MIB];
        let count = tokio::task::block_in_place(|| source.read(&mut piece)).expect("it reads");
        if count == 0 {
            break;
        }
        piece.truncate(count);
        content.write(piece.into()).await.expect("the store takes it");
    }
    let content = content.finish().await.expect("the store takes it");
    writer.flush().await.expect("the store takes it");
    (content, start.elapsed().as_secs_f64())
}

async fn get(blobs: &Blobs, content: &Content, to: &Path) -> f64 {
    let start = Instant::now();
    let mut out = fs::File::create(to).expect("the target can be made");
    let mut pieces = content.stream(blobs, 0..u64::MAX);
    while let Some(piece) = pieces.next().await {
        let piece = piece.expect("the store has it");
        tokio::task::block_in_place(|| out.write_all(&piece)).expect("the target takes it");
    }
    start.elapsed().as_secs_f64()
}

/// Makes the large file and one with a MiB inserted in its middle.
fn large_files(dir: &Path, mib: usize) {
    let mut file = fs::File::create(dir.join("large")).expect("the file can be made");
    for n in 0..mib {
        file.write_all(&noise(n as u64, MIB)).expect("there is room");
    }
    file.sync_all().expect("it syncs");
    let mut longer = fs::File::create(dir.join("longer")).expect("the file can be made");
    let mut source = fs::File::open(dir.join("large")).expect("the file is there");
    let half = (mib * MIB / 2) as u64;
    std::io::copy(&mut (&source).take(half), &mut longer).expect("it copies");
    longer.write_all(&noise(1 << 40, MIB)).expect("there is room");
    source.seek(SeekFrom::Start(half)).expect("it seeks");
    std::io::copy(&mut source, &mut longer).expect("it copies");
    longer.sync_all().expect("it syncs");
}

async fn large(dir: &Path, name: &str, sizes: ChunkSizes, pack_size: usize) {
    let store = dir.join("store");
    let blobs = blobs(&store, BlobConfig { pack_size, ..BlobConfig::default() });
    let base = Content::empty();
    let (content, seconds) = put(&blobs, &dir.join("large"), sizes, &base).await;
    let first = blobs.store().stats();
    report(&format!("{name}_put"), seconds, "s");
    report(&format!("{name}_put_objects"), first.put as f64, "objects");
    report(&format!("{name}_chunks"), content.chunks().len() as f64, "chunks");
    let (_, seconds) = put(&blobs, &dir.join("longer"), sizes, &content).await;
    let second = blobs.store().stats();
    report(&format!("{name}_put_inserted"), seconds, "s");
    let stored = (second.bytes_out - first.bytes_out) as f64 / MIB as f64;
    report(&format!("{name}_put_inserted_stored"), stored, "MiB");
    let reader = Blobs::new(blobs.store().clone(), Arc::new(SystemClock), BlobConfig::default());
    let seconds = get(&reader, &content, &dir.join("out")).await;
    report(&format!("{name}_get"), seconds, "s");
    report(
        &format!("{name}_get_requests"),
        (reader.store().stats().get - second.get) as f64,
        "requests",
    );
    fs::remove_dir_all(&store).expect("the store can be removed");
    fs::remove_file(dir.join("out")).expect("the copy can be removed");
}

async fn small(dir: &Path, name: &str, count: usize, bytes: impl Fn(usize) -> Vec<u8>) {
    let tree = dir.join("small");
    for n in 0..count {
        let parent = tree.join(format!("{:03}", n / 100));
        fs::create_dir_all(&parent).expect("the directory can be made");
        fs::write(parent.join(format!("{n}")), bytes(n)).expect("there is room");
    }
    Command::new("sync").arg("-f").arg(&tree).status().expect("sync runs");
    report(&format!("{name}_cp_sync"), copy(&tree, &dir.join("small-copy")), "s");
    let store = dir.join("store");
    let blobs = blobs(&store, BlobConfig::default());
    let start = Instant::now();
    let writer = blobs.writer();
    let mut contents = Vec::new();
    for n in 0..count {
        let path = tree.join(format!("{:03}/{n}", n / 100));
        let mut file = FileWriter::new(&writer, &[]);
        file.write(fs::read(path).expect("it reads").into()).await.expect("the store takes it");
        contents.push(file.finish().await.expect("the store takes it"));
    }
    writer.flush().await.expect("the store takes it");
    report(&format!("{name}_put"), start.elapsed().as_secs_f64(), "s");
    let put = blobs.store().stats();
    report(&format!("{name}_put_objects"), put.put as f64, "objects");
    report(&format!("{name}_put_bytes"), put.bytes_out as f64 / MIB as f64, "MiB");
    let reader = Blobs::new(blobs.store().clone(), Arc::new(SystemClock), BlobConfig::default());
    let start = Instant::now();
    let mut read = 0;
    for content in &contents {
        let bytes = content.read_range(&reader, 0..u64::MAX).await;
        read += bytes.as_ref().map(Bytes::len).expect("the store has it");
    }
    assert_eq!(read, count * 8192);
    report(&format!("{name}_get"), start.elapsed().as_secs_f64(), "s");
    let got = reader.store().stats();
    report(&format!("{name}_get_requests"), (got.get - put.get) as f64, "requests");
    for part in ["store", "small", "small-copy"] {
        fs::remove_dir_all(dir.join(part)).expect("what was made can be removed");
    }
}

/// Puts files as a server does: with their tree, in a commit of a catalog; then
/// a hundredth of them anew.
async fn commits(dir: &Path, count: u64) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = dir.join("store");
    let blobs = blobs(&store, BlobConfig::default());
    let url = format!("sqlite://{}", dir.join("catalog.db").display());
    let catalog = pfs::catalog::open(&url, Arc::clone(&clock)).await.expect("a fresh catalog");
    let repos = Repos::new(catalog, blobs, clock);
    let repo = Repo::user(ProjectName::default_project(), "bench".parse().expect("a name"));
    repos.create_repo(&repo, "", false).await.expect("a fresh repo");
    for (name, step) in [("commit_10k", 1), ("commit_10k_1percent", 100)] {
        let before = repos.store().stats();
        let start = Instant::now();
        let master = Ref::branch(BranchName::master());
        let changes = repos.change_files(&repo, &master, ChangeNote::default()).await;
        let mut changes = changes.expect("the branch takes changes");
        for n in (0..count).step_by(step) {
            let path = format!("{:03}/{n}", n / 100).parse().expect("a path");
            changes.create(&path, NewFile::default()).await.expect("a file");
            let bytes = noise(n * 1000 + step as u64, 8192).into();
            changes.write(&path, bytes).await.expect("the store takes it");
        }
        changes.finish().await.expect("the commit is made");
        let after = repos.store().stats();
        report(&format!("{name}_put"), start.elapsed().as_secs_f64(), "s");
        report(&format!("{name}_objects"), (after.put - before.put) as f64, "objects");
        let stored = (after.bytes_out - before.bytes_out) as f64 / MIB as f64;
        report(&format!("{name}_stored"), stored, "MiB");
    }
    fs::remove_dir_all(&store).expect("the store can be removed");
}

fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

#[tokio::main]
async fn main() {
    let variants = std::env::args().any(|argument| argument == "variants");
    let mib = std::env::var("PFS_BENCH_MIB").ok().and_then(|text| text.parse().ok());
    let base = std::env::var("PFS_BENCH_DIR").map_or_else(|_| std::env::temp_dir(), Into::into);
    let dir = base.join(format!("pfs-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("the bench directory can be made");
    let text =
        |n: usize| (0..).flat_map(|k| format!("{k} of {n}\n").into_bytes()).take(8192).collect();
    small(&dir, "content_10k_noise", 10_000, |n| noise(n as u64, 8192)).await;
    small(&dir, "content_10k_text", 10_000, text).await;
    commits(&dir, 10_000).await;
    large_files(&dir, mib.unwrap_or(1024));
    report("content_1g_cp_sync", copy(&dir.join("large"), &dir.join("copy")), "s");
    fs::remove_file(dir.join("copy")).expect("the copy can be removed");
    large(&dir, "content_1g", ChunkSizes::FORMAT, 32 * MIB).await;
    report("content_peak_memory", peak_memory(), "MiB");
    if variants {
        for kib in [64, 128, 256, 512] {
            let min = kib << 10;
            let sizes = ChunkSizes { min, average: 4 * min, max: 16 * min };
            large(&dir, &format!("content_1g_min{kib}k_pack32m"), sizes, 32 * MIB).await;
        }
        for pack in [8, 16, 64] {
            let name = format!("content_1g_min256k_pack{pack}m");
            large(&dir, &name, ChunkSizes::FORMAT, pack * MIB).await;
        }
    }
    fs::remove_dir_all(&dir).expect("the bench directory can be removed");
}
