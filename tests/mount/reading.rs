//! Read-only mounts.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt};
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use pfs::model::{BranchName, Ref};
use pfs::tree::{Edit, Entry};
use pfs::vfs::{Files, Shown, Source};

use super::fake::{Fake, repo, then};
use super::{Mount, errno, eventually, names};
use crate::machine::has_fuse;

async fn sample(fake: &Fake) {
    let script = match fake.file("#!/bin/sh\necho run\n").await {
        Edit::Put(entry) => Edit::Put(Entry { mode: 0o755, ..entry }),
        other => other,
    };
    let link = Edit::Put(Entry::symlink("dir/a".into(), then()));
    fake.commit(
        "images",
        vec![
            ("dir/a", fake.file("first a").await),
            ("dir/b", fake.file("b").await),
            ("dir/deep/er/c", fake.file(vec![7; 3 << 20]).await),
            ("empty", fake.file("").await),
            ("link", link),
            ("run", script),
        ],
    )
    .await;
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn repos_are_directories_of_files() {
    if !has_fuse("repos_are_directories_of_files") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    fake.create("edges");
    let mount = Mount::all(&fake);
    assert_eq!(names(&mount.dir), ["edges", "images"]);
    assert_eq!(names(&mount.path("edges")), Vec::<String>::new());
    assert_eq!(names(&mount.path("images")), ["dir", "empty", "link", "run"]);
    assert_eq!(fs::read_to_string(mount.path("images/dir/a")).unwrap(), "first a");
    assert_eq!(fs::read_to_string(mount.path("images/link")).unwrap(), "first a");
    assert_eq!(fs::read(mount.path("images/dir/deep/er/c")).unwrap(), vec![7; 3 << 20]);
    assert_eq!(fs::read(mount.path("images/empty")).unwrap(), b"");
    let found = fs::metadata(mount.path("images/dir/a")).unwrap();
    let (seconds, nanos) = then().to_parts();
    let wanted = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanos);
    assert_eq!((found.len(), found.modified().unwrap()), (7, wanted));
    assert_eq!(found.permissions().mode() & 0o7777, 0o644);
    let ran = std::process::Command::new(mount.path("images/run")).output().unwrap();
    assert_eq!(ran.stdout, b"run\n");
    let mapped = fs::File::open(mount.path("images/dir/deep/er/c")).unwrap();
    let mut byte = [0];
    mapped.read_exact_at(&mut byte, (3 << 20) - 1).unwrap();
    assert_eq!(byte, [7]);
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    if !has_fuse("a_read_only_mount_refuses_every_change") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::all(&fake);
    let at = |name: &str| mount.path(name);
    assert_eq!(errno(fs::write(at("images/new"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(at("images/dir/a"), "x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(at("images/d"))), libc::EROFS);
    assert_eq!(errno(fs::create_dir(at("repo"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(at("images/dir/a"))), libc::EROFS);
    assert_eq!(errno(fs::rename(at("images/dir"), at("images/e"))), libc::EROFS);
    assert_eq!(errno(fs::set_permissions(at("images/run"), fs::Permissions::from_mode(0o0))), 30);
    assert_eq!(errno(fs::metadata(at("images/nothing"))), libc::ENOENT);
    assert_eq!(errno(fs::metadata(at("nothing"))), libc::ENOENT);
}

#[test]
fn time_travel_is_a_lookup() {
    if !has_fuse("time_travel_is_a_lookup") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let first = fake.head("images").unwrap().commit;
    block_on(async { fake.commit("images", vec![("dir/a", fake.file("second").await)]).await });
    let mount = Mount::all(&fake);
    let read =
        |reference: &str| fs::read_to_string(mount.path(&format!("images{reference}/dir/a")));
    assert_eq!(read("").unwrap(), "second");
    assert_eq!(read("@master").unwrap(), "second");
    assert_eq!(read("@master^").unwrap(), "first a");
    assert_eq!(read("@master.1").unwrap(), "first a");
    assert_eq!(read(&format!("@{first}")).unwrap(), "first a");
    assert_eq!(errno(read("@nothing")), libc::ENOENT);
    assert_eq!(errno(read("@..")), libc::ENOENT);
    assert_eq!(names(&mount.dir), ["images"]);
    let commit = xattr(&mount.path("images@master^"), "user.pfs.commit");
    assert_eq!(commit, first.to_string());
}

fn xattr(path: &std::path::Path, name: &str) -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", "import os,sys; print(os.getxattr(sys.argv[1], sys.argv[2]).decode())"])
        .arg(path)
        .arg(name)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_moved_head_shows_exactly_what_changed() {
    if !has_fuse("a_moved_head_shows_exactly_what_changed") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::all(&fake);
    let at = |name: &str| mount.path(&format!("images/{name}"));
    let inode = |name: &str| fs::metadata(at(name)).unwrap().ino();
    let kept = (inode("dir/b"), inode("dir/deep/er/c"), inode("dir"), inode(""));
    assert_eq!(fs::read_to_string(at("dir/a")).unwrap(), "first a");
    assert_eq!(errno(fs::metadata(at("dir/new"))), libc::ENOENT);
    assert_eq!(names(&at("dir")), ["a", "b", "deep"]);
    let open = fs::File::open(at("dir/a")).unwrap();
    block_on(async {
        let edits = vec![
            ("dir/a", fake.file("second a, longer").await),
            ("dir/new", fake.file("new").await),
            ("run", Edit::Remove),
        ];
        fake.commit("images", edits).await
    });
    eventually("a changed", || fs::read_to_string(at("dir/a")).unwrap() == "second a, longer");
    eventually("new appeared", || fs::read_to_string(at("dir/new")).is_ok_and(|t| t == "new"));
    eventually("run disappeared", || fs::metadata(at("run")).is_err());
    eventually("listed", || names(&at("dir")) == ["a", "b", "deep", "new"]);
    assert_eq!(names(&at("")), ["dir", "empty", "link"]);
    assert_eq!(kept, (inode("dir/b"), inode("dir/deep/er/c"), inode("dir"), inode("")));
    let mut old = [0; 7];
    open.read_exact_at(&mut old, 0).unwrap();
    assert_eq!(&old, b"first a", "an open file stays what it was");
}

#[test]
fn repos_come_and_go() {
    if !has_fuse("repos_come_and_go") {
        return;
    }
    let fake = Fake::new();
    fake.create("one");
    let mount = Mount::all(&fake);
    assert_eq!(names(&mount.dir), ["one"]);
    assert!(fs::metadata(mount.path("two")).is_err());
    block_on(async { fake.commit("two", vec![("f", fake.file("x").await)]).await });
    eventually("two is listed", || names(&mount.dir) == ["one", "two"]);
    assert_eq!(fs::read_to_string(mount.path("two/f")).unwrap(), "x");
    fake.delete("two");
    eventually("two is gone", || names(&mount.dir) == ["one"]);
    eventually("two is not found", || fs::metadata(mount.path("two")).is_err());
}

#[test]
fn a_repo_made_anew_shows_its_own_files_while_old_ones_are_open() {
    if !has_fuse("a_repo_made_anew_shows_its_own_files_while_old_ones_are_open") {
        return;
    }
    let fake = Fake::new();
    block_on(async { fake.commit("r", vec![("d/old", fake.file("old").await)]).await });
    let mount = Mount::all(&fake);
    let (dir, mut file) = (mount.path("r/d"), File::open(mount.path("r/d/old")).unwrap());
    let inside = File::open(&dir).unwrap();
    fake.delete("r");
    eventually("r is not found", || fs::metadata(mount.path("r")).is_err());
    block_on(async { fake.commit("r", vec![("d/new", fake.file("new").await)]).await });
    eventually("d is found", || fs::metadata(&dir).is_ok());
    assert_eq!(names(&dir), ["new"]);
    assert!(fs::metadata(dir.join("old")).is_err());
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "new");
    let mut old = String::new();
    file.read_to_string(&mut old).unwrap();
    assert_eq!(old, "old", "what is open stays");
    drop(inside);
}

#[test]
fn a_large_directory_lists_whole_and_from_the_middle() {
    if !has_fuse("a_large_directory_lists_whole_and_from_the_middle") {
        return;
    }
    let fake = Fake::new();
    block_on(async {
        let file = fake.file("x").await;
        let wanted: Vec<String> = (0..20_000).map(|i| format!("d/{i:06}")).collect();
        let edits = wanted.iter().map(|name| (name.as_str(), file.clone())).collect();
        fake.commit("r", edits).await
    });
    let mount = Mount::all(&fake);
    let listed = names(&mount.path("r/d"));
    assert_eq!(listed.len(), 20_000);
    assert_eq!(listed[19_999], "019999");
    let script = "import ctypes,os,sys
l=ctypes.CDLL(None,use_errno=True); l.opendir.restype=ctypes.c_void_p
class E(ctypes.Structure): _fields_=[('i',ctypes.c_uint64),('o',ctypes.c_int64),('n',ctypes.c_uint16),('t',ctypes.c_uint8),('s',ctypes.c_char*256)]
l.readdir.restype=ctypes.POINTER(E); l.telldir.restype=ctypes.c_long
d=ctypes.c_void_p(l.opendir(sys.argv[1].encode()))
for _ in range(7000): e=l.readdir(d)
p=l.telldir(d); want=l.readdir(d).contents.s
for _ in range(9000): l.readdir(d)
l.seekdir(d,ctypes.c_long(p)); assert l.readdir(d).contents.s==want
l.rewinddir(d); n=0
while l.readdir(d): n+=1
assert n==20002,n";
    let mut python = std::process::Command::new("python3");
    let ran = python.args(["-c", script]).arg(mount.path("r/d")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn only_chosen_repos_are_shown() {
    if !has_fuse("only_chosen_repos_are_shown") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    fake.create("other");
    let first = fake.head("images").unwrap().commit;
    let reference = Some(Ref::commit(first));
    let shown = Shown { repo: repo("images"), reference, transaction: None };
    let source: std::sync::Arc<dyn Source> = fake.clone();
    let mount = Mount::new(Files::of_repos(source, Some(vec![shown]), then()));
    block_on(async { fake.commit("images", vec![("dir/a", fake.file("second").await)]).await });
    assert_eq!(names(&mount.dir), ["images"]);
    assert!(fs::metadata(mount.path("other")).is_err());
    assert_eq!(fs::read_to_string(mount.path("images/dir/a")).unwrap(), "first a");
    let head = format!("images@{}/dir/a", BranchName::master());
    assert_eq!(fs::read_to_string(mount.path(&head)).unwrap(), "second");
}

#[test]
fn listing_many_repos_asks_a_few_times_and_survives_a_source_that_is_away() {
    let name = "listing_many_repos_asks_a_few_times_and_survives_a_source_that_is_away";
    if !has_fuse(name) {
        return;
    }
    const MANY: usize = 400;
    let fake = Fake::new();
    block_on(async {
        for at in 0..MANY {
            fake.commit(&format!("r{at:03}"), vec![("f", fake.file("x").await)]).await;
        }
    });
    let mount = Mount::all(&fake);
    assert_eq!(names(&mount.dir).len(), MANY);
    let asked = fake.asked.load(Ordering::SeqCst);
    assert!(asked < 20, "{asked} questions");
    fake.away.store(true, Ordering::SeqCst);
    assert_eq!(names(&mount.dir).len(), MANY);
    assert_eq!(fs::read(mount.path("r399/f")).unwrap(), b"x");
}
