mod races;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::*;
use crate::catalog::{self, CommitRow};
use crate::chunk::{BlobConfig, Blobs};
use crate::model::{ProjectName, Ref, Repo, SystemClock, Timestamp, TreePath};
use crate::pipeline::glob::Glob;
use crate::repo::{FinishCommit, RepoError, Repos, StartCommit};
use crate::store::{Backend, Fault, FaultStore, Operation, RetryPolicy, Store};
use crate::tree::{Entry, EntryKind};

struct Fixture {
    repos: Repos,
    repo: Repo,
    faults: Arc<FaultStore>,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let url = format!("sqlite://{}", dir.path().join("catalog.db").display());
    let catalog = catalog::open(&url, clock.clone()).await.unwrap();
    let faults = FaultStore::new(Store::memory().backend());
    let backend = Arc::clone(&faults) as Arc<dyn Backend>;
    let store = Store::new(backend, RetryPolicy::default());
    let blobs = Blobs::new(store, clock.clone(), BlobConfig::default());
    let repos = Repos::new(catalog, blobs, clock);
    let repo = Repo::user(ProjectName::default_project(), "data".parse().unwrap());
    repos.create_repo(&repo, "", false).await.unwrap();
    Fixture { repos, repo, faults, _dir: dir }
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn master() -> Ref {
    "master".parse().unwrap()
}

fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

impl Fixture {
    async fn changes(&self) -> FileChanges {
        self.repos.change_files(&self.repo, &master(), ChangeNote::default()).await.unwrap()
    }

    async fn put(&self, files: &[(&str, &str)]) -> CommitRow {
        let mut changes = self.changes().await;
        for (at, text) in files {
            changes.create(&path(at), NewFile::default()).await.unwrap();
            changes.write(&path(at), Bytes::from((*text).to_owned())).await.unwrap();
        }
        changes.finish().await.unwrap()
    }

    async fn append(&self, at: &str, text: &str) -> CommitRow {
        let mut changes = self.changes().await;
        changes.write(&path(at), Bytes::from(text.to_owned())).await.unwrap();
        changes.finish().await.unwrap()
    }

    async fn head(&self) -> CommitRow {
        self.repos.resolve(&self.repo, &master()).await.unwrap()
    }

    async fn cat(&self, at: &str) -> String {
        let bytes = self.read(&self.head().await, at).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn read(&self, commit: &CommitRow, at: &str) -> Result<Bytes, RepoError> {
        let (_, pieces) = self.repos.get_file(commit, &path(at), 0..u64::MAX).await?;
        Ok(pieces.try_collect::<Vec<_>>().await?.concat().into())
    }

    async fn paths(&self) -> Vec<String> {
        let head = self.head().await;
        let walk = self.repos.walk_files(&head, &TreePath::root(), None).await.unwrap();
        let all: Vec<FileInfo> = walk.try_collect().await.unwrap();
        all.iter().map(|found| found.path.absolute()).collect()
    }

    async fn glob(&self, pattern: &str) -> Vec<String> {
        let glob: Glob = pattern.parse().unwrap();
        let found = self.repos.glob_files(&self.head().await, &glob, None).await.unwrap();
        let all: Vec<FileInfo> = found.try_collect().await.unwrap();
        all.iter().map(|found| found.path.absolute()).collect()
    }
}

#[tokio::test]
async fn one_put_is_one_commit() {
    let f = fixture().await;
    let row = f.put(&[("b/two", "22"), ("a", "1"), ("b/one", "1")]).await;
    assert!(!row.is_open());
    assert_eq!((row.root.files, row.root.bytes), (3, 4));
    assert_eq!(f.paths().await, ["/", "/a", "/b", "/b/one", "/b/two"]);
    let second = f.put(&[("a", "new")]).await;
    assert_eq!(second.parent, Some(row.commit.id));
    assert_eq!(f.cat("a").await, "new");
    assert_eq!(f.read(&row, "a").await.unwrap(), "1", "the past stays");
}

#[tokio::test]
async fn writes_continue_files_and_creates_replace_them() {
    let f = fixture().await;
    f.append("log", "one\n").await;
    f.append("log", "two\n").await;
    assert_eq!(f.cat("log").await, "one\ntwo\n");
    let mut changes = f.changes().await;
    changes.write(&path("log"), "three\n".into()).await.unwrap();
    changes.write(&path("other"), "x".into()).await.unwrap();
    changes.write(&path("log"), "four\n".into()).await.unwrap();
    changes.finish().await.unwrap();
    assert_eq!(f.cat("log").await, "one\ntwo\nthree\nfour\n");
    f.put(&[("log", "anew")]).await;
    assert_eq!(f.cat("log").await, "anew");
}

#[tokio::test]
async fn appending_to_large_files_is_canonical() {
    let f = fixture().await;
    let whole = noise(1, 9 << 20);
    for (from, to) in [(0, 4 << 20), (4 << 20, 5 << 20), (5 << 20, 9 << 20)] {
        let mut changes = f.changes().await;
        changes.write(&path("grown"), whole.slice(from..to)).await.unwrap();
        changes.finish().await.unwrap();
    }
    let mut changes = f.changes().await;
    changes.create(&path("whole"), NewFile::default()).await.unwrap();
    changes.write(&path("whole"), whole.clone()).await.unwrap();
    let head = changes.finish().await.unwrap();
    let hash = async |at: &str| f.repos.inspect_file(&head, &path(at)).await.unwrap().hash();
    assert_eq!(hash("grown").await, hash("whole").await);
    assert_eq!(f.read(&head, "grown").await.unwrap(), whole);
}

#[tokio::test]
async fn deleting_prunes_emptied_parents_in_order_of_the_changes() {
    let f = fixture().await;
    f.put(&[("a/b/c", "1"), ("a/d", "2"), ("e/f", "3")]).await;
    let mut changes = f.changes().await;
    changes.delete(&path("a/b/c")).await.unwrap();
    changes.delete(&path("e")).await.unwrap();
    changes.write(&path("e/g"), "4".into()).await.unwrap();
    changes.delete(&path("nothing/here")).await.unwrap();
    changes.write(&path("gone"), "5".into()).await.unwrap();
    changes.delete(&path("gone")).await.unwrap();
    changes.finish().await.unwrap();
    assert_eq!(f.paths().await, ["/", "/a", "/a/d", "/e", "/e/g"]);
    let mut changes = f.changes().await;
    changes.delete(&TreePath::root()).await.unwrap();
    changes.write(&path("only"), "6".into()).await.unwrap();
    changes.finish().await.unwrap();
    assert_eq!(f.paths().await, ["/", "/only"]);
}

#[tokio::test]
async fn a_deleted_file_that_is_written_starts_anew() {
    let f = fixture().await;
    f.put(&[("a", "old")]).await;
    let mut changes = f.changes().await;
    changes.delete(&path("a")).await.unwrap();
    changes.write(&path("a"), "new".into()).await.unwrap();
    changes.finish().await.unwrap();
    assert_eq!(f.cat("a").await, "new");
}

#[tokio::test]
async fn open_commits_collect_changes_and_can_be_read() {
    let f = fixture().await;
    f.put(&[("a", "1")]).await;
    let spec = StartCommit {
        repo: f.repo.clone(),
        branch: Some("master".parse().unwrap()),
        parent: None,
        description: String::new(),
        author: String::new(),
        id: None,
    };
    let open = f.repos.start_commit(&spec).await.unwrap();
    f.append("a", "2").await;
    let by_id = Ref::commit(open.commit.id);
    let mut changes = f.repos.change_files(&f.repo, &by_id, ChangeNote::default()).await.unwrap();
    changes.write(&path("b"), "3".into()).await.unwrap();
    let row = changes.finish().await.unwrap();
    assert!(row.is_open() && row.commit == open.commit);
    assert_eq!(f.cat("a").await, "12");
    f.repos.finish_commit(&open.commit, &FinishCommit::default()).await.unwrap();
    assert_eq!(f.paths().await, ["/", "/a", "/b"]);
    let refused = f.repos.change_files(&f.repo, &by_id, ChangeNote::default()).await;
    assert!(matches!(refused.err(), Some(RepoError::Finished { .. })));
}

#[tokio::test]
async fn a_broken_stream_leaves_nothing() {
    let f = fixture().await;
    f.put(&[("a", "1")]).await;
    let before = f.head().await;
    let mut changes = f.changes().await;
    changes.write(&path("b"), noise(1, 3 << 20)).await.unwrap();
    drop(changes);
    f.faults.plan(Operation::Put, 0, 100, Fault::NoSpace);
    let mut changes = f.changes().await;
    changes.write(&path("b"), noise(1, 3 << 20)).await.unwrap();
    let error = changes.finish().await.unwrap_err();
    assert!(error.to_string().starts_with("no space left"), "{error}");
    f.faults.heal();
    assert_eq!(f.head().await.commit, before.commit);
    assert_eq!(f.paths().await, ["/", "/a"]);
}

#[tokio::test]
async fn faster_writers_are_followed() {
    let f = fixture().await;
    f.put(&[("log", "0\n"), ("dir/x", "x"), ("mine", "0")]).await;
    let mut slow = f.changes().await;
    slow.write(&path("log"), "slow\n".into()).await.unwrap();
    slow.delete(&path("dir")).await.unwrap();
    slow.create(&path("mine"), NewFile::default()).await.unwrap();
    slow.write(&path("mine"), "slow".into()).await.unwrap();
    slow.write(&path("fresh"), "slow\n".into()).await.unwrap();
    f.append("log", "fast\n").await;
    f.append("fresh", "fast\n").await;
    let fast = f.put(&[("mine", "fast"), ("theirs", "fast")]).await;
    let row = slow.finish().await.unwrap();
    assert_eq!(row.parent, Some(fast.commit.id));
    assert_eq!(f.cat("log").await, "0\nfast\nslow\n");
    assert_eq!(f.cat("fresh").await, "fast\nslow\n");
    assert_eq!(f.cat("mine").await, "slow");
    assert_eq!(f.paths().await, ["/", "/fresh", "/log", "/mine", "/theirs"]);
}

#[tokio::test]
async fn equal_appends_by_two_writers_both_count() {
    let f = fixture().await;
    f.put(&[("log", "0\n")]).await;
    let mut slow = f.changes().await;
    slow.write(&path("log"), "same\n".into()).await.unwrap();
    f.append("log", "same\n").await;
    slow.finish().await.unwrap();
    assert_eq!(f.cat("log").await, "0\nsame\nsame\n");
}

#[tokio::test]
async fn many_writers_of_one_branch_all_get_on() {
    let f = Arc::new(fixture().await);
    let writers = (0..20).map(|n| {
        let f = Arc::clone(&f);
        tokio::spawn(async move { f.append("log", &format!("{n}\n")).await })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let log = f.cat("log").await;
    let mut lines: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn copies_move_no_bytes() {
    let f = fixture().await;
    let mut changes = f.changes().await;
    changes.write(&path("dir/large"), noise(1, 2 << 20)).await.unwrap();
    changes.write(&path("dir/small"), "s".into()).await.unwrap();
    let source = changes.finish().await.unwrap();
    let before = f.repos.store().stats().bytes_out;
    let mut changes = f.changes().await;
    changes.copy(&source, &path("dir"), &path("copy"), false).await.unwrap();
    changes.write(&path("copy/more"), "m".into()).await.unwrap();
    changes.copy(&source, &path("dir/small"), &path("one"), false).await.unwrap();
    changes.copy(&source, &path("dir/small"), &path("one"), true).await.unwrap();
    changes.copy(&source, &path("dir"), &path("dir"), true).await.unwrap();
    let head = changes.finish().await.unwrap();
    let written = f.repos.store().stats().bytes_out - before;
    assert!(written < 5 << 20, "{written}: only what append cuts anew");
    assert_eq!(f.read(&head, "copy/large").await.unwrap(), noise(1, 2 << 20));
    assert_eq!(f.cat("one").await, "ss");
    assert_eq!(f.cat("copy/more").await, "m");
    assert_eq!(f.cat("dir/small").await, "ss");
    let doubled = [noise(1, 2 << 20), noise(1, 2 << 20)].concat();
    assert_eq!(f.read(&head, "dir/large").await.unwrap(), doubled);
    let mut changes = f.changes().await;
    let missing = changes.copy(&source, &path("dir/smal"), &path("x"), false).await.unwrap_err();
    assert_eq!(missing.nearest(), Some("/dir/small"));
}

#[tokio::test]
async fn directories_links_and_modes_are_kept() {
    let f = fixture().await;
    let mut changes = f.changes().await;
    let now = f.repos.clock().now();
    changes.put_entry(&path("empty"), Entry::dir(now)).await.unwrap();
    changes.put_entry(&path("link"), Entry::symlink("run".into(), now)).await.unwrap();
    let tool = NewFile { mode: Some(0o755), mtime: Some(now) };
    changes.create(&path("run"), tool).await.unwrap();
    changes.finish().await.unwrap();
    f.append("run", "#!").await;
    let head = f.head().await;
    let run = f.repos.inspect_file(&head, &path("run")).await.unwrap();
    assert_eq!((run.entry.mode, run.size()), (0o755, 2));
    let link = f.repos.inspect_file(&head, &path("link")).await.unwrap();
    assert_eq!(link.entry.kind, EntryKind::Symlink("run".into()));
    assert!(f.repos.inspect_file(&head, &path("empty")).await.unwrap().entry.is_dir());
}

#[tokio::test]
async fn a_directory_is_not_overwritten_by_a_file() {
    let f = fixture().await;
    f.put(&[("d/x", "1")]).await;
    let mut changes = f.changes().await;
    assert!(changes.create(&path("d"), NewFile::default()).await.is_err());
    let mut changes = f.changes().await;
    assert!(changes.write(&TreePath::root(), "x".into()).await.is_err());
    let mut changes = f.changes().await;
    changes.write(&path("d/x/below"), "x".into()).await.unwrap();
    let error = changes.finish().await.unwrap_err();
    assert!(error.to_string().contains("/d/x is not a directory"), "{error}");
    assert_eq!(f.paths().await, ["/", "/d", "/d/x"]);
}

#[tokio::test]
async fn lists_and_globs_come_in_order_and_in_pages() {
    let f = fixture().await;
    let mut changes = f.changes().await;
    for dir in 0..3 {
        for n in 0..700 {
            let at = path(&format!("d{dir}/s{}/f{n:04}.txt", n % 2));
            changes.write(&at, "x".into()).await.unwrap();
        }
    }
    changes.write(&path("top.txt"), "x".into()).await.unwrap();
    let head = changes.finish().await.unwrap();
    let page = f.repos.list_files(&head, &path("d0/s0"), None, 10).await.unwrap();
    assert_eq!(page.len(), 10);
    let next = f.repos.list_files(&head, &path("d0/s0"), Some("f0018.txt"), 2).await.unwrap();
    assert_eq!(next[0].path.as_str(), "d0/s0/f0020.txt");
    let dirs = f.repos.list_files(&head, &TreePath::root(), None, 9).await.unwrap();
    assert_eq!(dirs[0].totals.files, 700);
    assert_eq!(dirs[0].size(), 700);
    let file = f.repos.list_files(&head, &path("top.txt"), None, 9).await.unwrap();
    assert_eq!(file.len(), 1);
    assert_eq!(f.glob("/*").await, ["/d0", "/d1", "/d2", "/top.txt"]);
    assert_eq!(f.glob("/*/s1").await, ["/d0/s1", "/d1/s1", "/d2/s1"]);
    assert_eq!(f.glob("/d1/s0/f000[0-4].txt").await.len(), 3);
    assert_eq!(f.glob("**.txt").await.len(), 2101);
    assert_eq!(f.glob("/").await, ["/"]);
    assert_eq!(f.glob("/d0").await, ["/d0"]);
    assert!(f.glob("/nothing*").await.is_empty());
}

#[tokio::test]
async fn missing_files_are_named_with_the_nearest() {
    let f = fixture().await;
    let head = f.put(&[("dir/iris.csv", "1")]).await;
    let error = f.repos.inspect_file(&head, &path("dir/iris.cvs")).await.unwrap_err();
    assert_eq!(error.nearest(), Some("/dir/iris.csv"));
    assert!(error.to_string().contains("/dir/iris.cvs"), "{error}");
    let error = f.read(&head, "dir").await.unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[tokio::test]
async fn parts_of_files_can_be_read() {
    let f = fixture().await;
    let mut changes = f.changes().await;
    changes.write(&path("f"), noise(1, 5 << 20)).await.unwrap();
    let head = changes.finish().await.unwrap();
    let (info, part) = f.repos.get_file(&head, &path("f"), 1_000_000..3_000_000).await.unwrap();
    assert_eq!(info.size(), 5 << 20);
    let part = part.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(part, noise(1, 5 << 20)[1_000_000..3_000_000]);
}

#[tokio::test]
async fn diffs_tell_what_changed() {
    let f = fixture().await;
    let old = f.put(&[("a", "1"), ("d/x", "1"), ("d/y", "1"), ("e/z", "1")]).await;
    let mut changes = f.changes().await;
    changes.write(&path("a"), "2".into()).await.unwrap();
    changes.delete(&path("d/x")).await.unwrap();
    changes.write(&path("new/n"), "1".into()).await.unwrap();
    let new = changes.finish().await.unwrap();
    let side =
        |commit: Option<&CommitRow>, at: &str| DiffSide { commit: commit.cloned(), path: path(at) };
    let diff = async |old: DiffSide, new: DiffSide, shallow: bool| -> Vec<String> {
        let found = f.repos.diff_files(&old, &new, shallow).unwrap();
        let found: Vec<FileChange> = found.try_collect().await.unwrap();
        let sign = |change: FileChange| match (change.old, change.new) {
            (None, Some(new)) => format!("+{}", new.path.absolute()),
            (Some(old), None) => format!("-{}", old.path.absolute()),
            (Some(_), Some(new)) => format!("={}", new.path.absolute()),
            (None, None) => "?".to_owned(),
        };
        found.into_iter().map(sign).collect()
    };
    let both = || (side(Some(&old), "/"), side(Some(&new), "/"));
    assert_eq!(diff(both().0, both().1, false).await, ["=/a", "-/d/x", "+/new", "+/new/n"]);
    assert_eq!(diff(both().0, both().1, true).await, ["=/a", "=/d", "+/new"]);
    let all = diff(side(None, "/"), side(Some(&old), "/"), false).await;
    assert_eq!(all, ["+/a", "+/d", "+/d/x", "+/d/y", "+/e", "+/e/z"]);
    let moved = diff(side(Some(&old), "/d"), side(Some(&new), "/d"), false).await;
    assert_eq!(moved, ["-/d/x"]);
    let apart = diff(side(Some(&old), "/e"), side(Some(&new), "/new"), false).await;
    assert_eq!(apart, ["+/new/n", "-/e/z"]);
}

#[tokio::test]
async fn many_changes_take_bounded_memory_and_keep_their_meaning() {
    let f = fixture().await;
    let mut changes = f.changes().await;
    // More inline bytes than may be pending at once.
    for n in 0..4000_u32 {
        let at = path(&format!("d/{:04}", n.wrapping_mul(2_654_435_761) % 4000));
        changes.create(&at, NewFile::default()).await.unwrap();
        changes.write(&at, noise(n.into(), 3000)).await.unwrap();
    }
    changes.delete(&path("d/0007")).await.unwrap();
    let head = changes.finish().await.unwrap();
    assert!(head.root.files > 2000);
    assert!(f.read(&head, "d/0007").await.is_err());
}

#[tokio::test]
async fn objects_are_fetched_from_stores() {
    let f = fixture().await;
    let bucket = Store::memory();
    bucket.put("in/a.csv", "1").await.unwrap();
    bucket.put("in/sub/b.csv", noise(1, 20 << 20)).await.unwrap();
    let mut changes = f.changes().await;
    let all = Fetch { recursive: true, append: false };
    changes.fetch_from(&bucket, "in", &path("data"), all).await.unwrap();
    changes.fetch_from(&bucket, "in/a.csv", &path("one"), Fetch::default()).await.unwrap();
    let more = Fetch { recursive: false, append: true };
    changes.fetch_from(&bucket, "in/a.csv", &path("one"), more).await.unwrap();
    let head = changes.finish().await.unwrap();
    assert_eq!(f.cat("one").await, "11");
    assert_eq!(f.read(&head, "data/sub/b.csv").await.unwrap(), noise(1, 20 << 20));
    let mut changes = f.changes().await;
    assert!(changes.fetch_from(&bucket, "nothing", &path("x"), all).await.is_err());
    for url in ["file:///etc/passwd", "ftp://x/y", "not a url"] {
        let error = changes.fetch(url, &path("x"), Fetch::default()).await.unwrap_err();
        assert!(error.to_string().contains(url), "{error}");
    }
}

#[tokio::test]
async fn files_are_fetched_from_the_web() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        for body in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\ncut",
        ] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await.unwrap();
            socket.write_all(body).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    let f = fixture().await;
    let url = format!("http://{address}/x/a%20b.txt?q=1");
    assert_eq!(file_name_of_url(&url).as_deref(), Some("a b.txt"));
    let mut changes = f.changes().await;
    changes.fetch(&url, &path("got"), Fetch::default()).await.unwrap();
    changes.finish().await.unwrap();
    assert_eq!(f.cat("got").await, "hello");
    for _ in 0..2 {
        let mut changes = f.changes().await;
        let error = changes.fetch(&url, &path("x"), Fetch::default()).await.unwrap_err();
        assert!(error.to_string().contains(&url), "{error}");
    }
    server.await.unwrap();
    assert_eq!(f.paths().await, ["/", "/got"]);
}

#[test]
fn pending_changes_are_counted_as_often_as_they_are_there() {
    let mut pending = super::pending::Pending::default();
    let dir = |number: u32| format!("d{number}").parse::<TreePath>().unwrap();
    for number in 0..100 {
        pending.put(dir(number), Entry::dir(Timestamp::default()));
    }
    let hundred = pending.size();
    assert!(hundred >= 100 * 256, "{hundred} bytes for a hundred changes");
    pending.put(dir(7), Entry::dir(Timestamp::default()));
    assert_eq!(pending.size(), hundred);
    pending.remove(&dir(7));
    assert_eq!(pending.size(), hundred);
}
