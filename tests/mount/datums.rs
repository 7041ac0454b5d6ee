//! Views of datums, and the private copies that programs get of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use pfs::tree::{Edit, Entry};
use pfs::vfs::{DatumViews, Files, InputView, Source as _};

use super::fake::{Fake, path, then};
use super::{Mount, errno, names};
use crate::machine::{has_fuse, is_root};

async fn sample(fake: &Fake) {
    let tool = match fake.file("#!/bin/sh\necho tool\n").await {
        Edit::Put(entry) => Edit::Put(Entry { mode: 0o755, ..entry }),
        other => other,
    };
    fake.commit(
        "r",
        vec![
            ("a/x", fake.file("x").await),
            ("a/y", fake.file("y").await),
            ("b/z/1", fake.file("one").await),
            ("b/z/2", fake.file("two").await),
            ("c", fake.file(vec![b'c'; 2 << 20]).await),
            ("tool", tool),
        ],
    )
    .await;
}

fn input(fake: &Fake, name: &str, paths: &[&str]) -> InputView {
    let root = fake.head("r").unwrap().root;
    let paths = paths.iter().map(|p| path(p)).collect();
    InputView { name: name.into(), root, paths, owner: None }
}

#[test]
fn a_view_shows_only_its_paths() {
    if !has_fuse("a_view_shows_only_its_paths") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(sample(&fake));
    let views = DatumViews::new(fake.nodes().clone());
    let mount = Mount::new(Files::of_datums(views.clone(), then()));
    let one =
        views.open(vec![input(&fake, "in", &["a/x", "b/z"]), input(&fake, "all", &["/"])], then());
    let two = views.open(vec![input(&fake, "in", &["a/x"])], then());
    let at = |view: &str, rest: &str| mount.path(&format!("{view}/{rest}"));
    assert_eq!(names(&at(&one, "")), ["all", "in"]);
    assert_eq!(names(&at(&one, "in")), ["a", "b"]);
    assert_eq!(names(&at(&one, "in/a")), ["x"]);
    assert_eq!(names(&at(&one, "in/b/z")), ["1", "2"]);
    assert_eq!(names(&at(&one, "all")), ["a", "b", "c", "tool"]);
    assert_eq!(names(&at(&two, "in")), ["a"]);
    assert_eq!(errno(fs::metadata(at(&two, "in/b"))), libc::ENOENT);
    assert_eq!(errno(fs::metadata(at(&one, "in/a/y"))), libc::ENOENT);
    assert_eq!(fs::read_to_string(at(&one, "in/b/z/2")).unwrap(), "two");
    let inode = |view: &str, rest: &str| fs::metadata(at(view, rest)).unwrap().ino();
    assert_eq!(inode(&one, "in/a/x"), inode(&two, "in/a/x"), "one file, one page cache");
    assert_ne!(inode(&one, "in/a"), inode(&two, "in/a"));
    views.close(&two);
}

/// What the process executor does, in one shell script.
const OVERLAY: &str = r#"set -e
lower=$1 scratch=$2
mkdir -p $scratch/upper $scratch/work $scratch/in
mount -t overlay overlay -o lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work $scratch/in
cd $scratch/in
test "$(cat a/x)" = x
test "$(./tool)" = tool
echo more >> a/x
chmod 600 a/y
mv b/z b/w
rm c
echo new > n
test "$(cat a/x)" = "xmore"
test "$(cat b/w/2)" = two
test "$(ls)" = "$(printf 'a\nb\nn\ntool')"
python3 -c "
import mmap
f = open('b/w/1', 'r+b'); m = mmap.mmap(f.fileno(), 0); assert m[:] == b'one'; m[0] = 79; m.flush(); m.close()
"
test "$(cat b/w/1)" = One
cd /
umount $scratch/in
"#;

#[test]
fn a_private_copy_lies_over_a_view() {
    if !has_fuse("a_private_copy_lies_over_a_view") || !is_root("a_private_copy_lies_over_a_view") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(sample(&fake));
    let views = DatumViews::new(fake.nodes().clone());
    let mount = Mount::new(Files::of_datums(views.clone(), then()));
    let view = views.open(vec![input(&fake, "in", &["/"])], then());
    for round in 0..2 {
        let scratch = mount.scratch.path().join(format!("scratch{round}"));
        let ran = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", OVERLAY, "sh"])
            .arg(mount.path(&format!("{view}/in")))
            .arg(&scratch)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    assert_eq!(fs::read_to_string(mount.path(&format!("{view}/in/a/x"))).unwrap(), "x");
}
