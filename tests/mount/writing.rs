//! Writable mounts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::fcntl::{RenameFlags, renameat2};
use pfs::model::SystemClock;
use pfs::vfs::transaction::inspect;
use pfs::vfs::{Source, Then, TransactionView};

use super::fake::Fake;
use super::{Mount, errno, names};
use crate::machine::{has_command, has_fuse};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

async fn sample(fake: &Fake) {
    fake.commit(
        "r",
        vec![
            ("dir/a", fake.file("first a").await),
            ("dir/b", fake.file("b").await),
            ("dir/sub/c", fake.file("c").await),
            ("top", fake.file("top").await),
        ],
    )
    .await;
}

/// Every path below `dir` with what it holds.
fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = found.permissions().mode() & 0o777;
            let text = if found.is_dir() {
                dirs.push(path.clone());
                format!("dir {mode:o}")
            } else if found.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else {
                let hash = blake3::hash(&fs::read(&path).unwrap());
                format!("file {mode:o} {} {hash}", found.len())
            };
            seen.insert(path.strip_prefix(dir).unwrap().display().to_string(), text);
        }
    }
    seen
}

/// Commits, and compares what a fresh mount of the head shows.
fn commit_and_compare(fake: &Arc<Fake>, mut mount: Mount, name: &str) {
    let wanted = snapshot(&mount.path(name));
    let source: Arc<dyn Source> = fake.clone();
    mount.runtime.block_on(mount.transaction().commit(&*source, "written", Then::GoOn)).unwrap();
    assert_eq!(snapshot(&mount.path(name)), wanted, "the mount goes on as it was");
    mount.unmount();
    let head = Mount::all(fake);
    assert_eq!(snapshot(&head.path(name)), wanted, "the head is what was written");
}

#[test]
fn files_are_created_changed_and_removed() {
    if !has_fuse("files_are_created_changed_and_removed") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    let at = |name: &str| mount.path(&format!("r/{name}"));
    fs::write(at("new"), "hello").unwrap();
    fs::create_dir_all(at("x/y/z")).unwrap();
    fs::write(at("x/y/z/f"), vec![1; 300_000]).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(at("dir/a")).unwrap();
    file.write_all_at(b"FI", 0).unwrap();
    file.write_all_at(b"end", 10).unwrap();
    let mut all = [0; 13];
    file.read_exact_at(&mut all, 0).unwrap();
    assert_eq!(&all, b"FIrst a\0\0\0end");
    file.set_len(5).unwrap();
    assert_eq!(fs::read_to_string(at("dir/a")).unwrap(), "FIrst");
    drop(file);
    let mut append = fs::OpenOptions::new().append(true).open(at("dir/b")).unwrap();
    std::io::Write::write_all(&mut append, b"cd").unwrap();
    drop(append);
    assert_eq!(fs::read_to_string(at("dir/b")).unwrap(), "bcd");
    fs::remove_file(at("top")).unwrap();
    assert_eq!(errno(fs::metadata(at("top"))), libc::ENOENT);
    symlink("new", at("link")).unwrap();
    fs::hard_link(at("new"), at("hard")).unwrap();
    assert_eq!(fs::metadata(at("new")).unwrap().nlink(), 2);
    fs::write(at("hard"), "through the link").unwrap();
    assert_eq!(fs::read_to_string(at("link")).unwrap(), "through the link");
    fs::set_permissions(at("dir/sub/c"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(errno(fs::remove_dir(at("dir"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::create_dir(at("dir"))), libc::EEXIST);
    assert_eq!(names(&at("")), ["dir", "hard", "link", "new", "x"]);
    commit_and_compare(&fake, mount, "r");
}

#[test]
fn names_move_as_in_any_file_system() {
    if !has_fuse("names_move_as_in_any_file_system") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    let at = |name: &str| mount.path(&format!("r/{name}"));
    fs::rename(at("dir"), at("moved")).unwrap();
    fs::write(at("moved/sub/new"), "n").unwrap();
    assert_eq!(fs::read_to_string(at("moved/a")).unwrap(), "first a");
    fs::create_dir(at("dir")).unwrap();
    fs::rename(at("top"), at("dir/top")).unwrap();
    assert_eq!(errno(fs::rename(at("moved"), at("moved/sub/in"))), libc::EINVAL);
    assert_eq!(errno(fs::rename(at("moved"), at("dir"))), libc::ENOTEMPTY);
    fs::write(at("tmp"), "replacement").unwrap();
    fs::rename(at("tmp"), at("moved/a")).unwrap();
    let here = nix::fcntl::AT_FDCWD;
    let flags = RenameFlags::RENAME_EXCHANGE;
    renameat2(here, &at("moved/b"), here, &at("dir/top"), flags).unwrap();
    assert_eq!(fs::read_to_string(at("moved/b")).unwrap(), "top");
    let flags = RenameFlags::RENAME_NOREPLACE;
    let refused = renameat2(here, &at("moved/b"), here, &at("dir/top"), flags);
    assert_eq!(refused, Err(nix::errno::Errno::EEXIST));
    let open = fs::File::open(at("moved/sub/c")).unwrap();
    fs::remove_dir_all(at("moved/sub")).unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(&byte, b"c", "an open file outlives its name");
    drop(open);
    commit_and_compare(&fake, mount, "r");
}

#[test]
fn a_large_base_file_is_changed_in_place() {
    if !has_fuse("a_large_base_file_is_changed_in_place") {
        return;
    }
    let fake = Fake::new();
    let size = 80 << 20;
    let mut wanted: Vec<u8> = (0..size as u32 / 4).flat_map(|i| (i / 512).to_le_bytes()).collect();
    block_on(async { fake.commit("r", vec![("big", fake.file(wanted.clone()).await)]).await });
    let mount = Mount::writable(&fake, "r");
    let file = fs::OpenOptions::new().read(true).write(true).open(mount.path("r/big")).unwrap();
    for (at, text) in
        [(5, "five"), (size / 2 + 3, "middle"), (1_048_574, "over"), (size - 2, "tail")]
    {
        file.write_all_at(text.as_bytes(), at as u64).unwrap();
        wanted.resize(wanted.len().max(at + text.len()), 0);
        wanted[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let staged = mount.scratch.path().join("txn/files");
    let held: u64 =
        fs::read_dir(staged).unwrap().map(|f| f.unwrap().metadata().unwrap().blocks()).sum();
    assert!(held * 512 < 8 << 20, "{held} blocks are staged for four small writes");
    assert!(fs::read(mount.path("r/big")).unwrap() == wanted);
    file.set_len(size as u64 / 2 + 5).unwrap();
    wanted.truncate(size / 2 + 5);
    file.set_len(size as u64 / 2 + 500_000).unwrap();
    wanted.resize(size / 2 + 500_000, 0);
    assert!(fs::read(mount.path("r/big")).unwrap() == wanted);
    drop(file);
    commit_and_compare(&fake, mount, "r");
}

#[test]
fn a_transaction_outlives_its_mount() {
    if !has_fuse("a_transaction_outlives_its_mount") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mut mount = Mount::writable(&fake, "r");
    fs::write(mount.path("r/new"), "kept").unwrap();
    fs::rename(mount.path("r/dir"), mount.path("r/moved")).unwrap();
    fs::write(mount.path("r/moved/a"), "changed").unwrap();
    let wanted = snapshot(&mount.path("r"));
    mount.unmount();
    assert_eq!(
        block_on(async { fake.tree("r").get(&super::fake::path("new")).await.unwrap() }),
        None
    );
    let dir = mount.scratch.path().join("txn");
    let started = inspect(&dir).unwrap();
    assert_eq!(started.branch.to_string(), "r@master");
    let source: Arc<dyn Source> = fake.clone();
    block_on(async {
        mount.transaction().release();
        let clock = Arc::new(SystemClock);
        let view = TransactionView::recover(&dir, started, fake.tree("r"), clock).await;
        view.unwrap().commit(&*source, "recovered", Then::End).await.unwrap();
    });
    let head = Mount::all(&fake);
    assert_eq!(snapshot(&head.path("r")), wanted);
}

#[test]
fn an_aborted_transaction_publishes_nothing() {
    if !has_fuse("an_aborted_transaction_publishes_nothing") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    let before = fake.head("r").unwrap().commit;
    fs::write(mount.path("r/new"), "x").unwrap();
    set_xattr(&mount.path("r"), "user.pfs.abort", "no").unwrap();
    super::eventually("the branch shows again", || !mount.path("r/new").exists());
    set_xattr(&mount.path("r"), "user.pfs.commit", "yes").unwrap();
    assert_eq!(fake.head("r").unwrap().commit, before, "there is nothing to commit");
    fs::write(mount.path("r/more"), "y").unwrap();
}

#[test]
fn a_conflict_is_told_and_keeps_the_transaction() {
    if !has_fuse("a_conflict_is_told_and_keeps_the_transaction") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    fs::write(mount.path("r/new"), "x").unwrap();
    block_on(async { fake.commit("r", vec![("other", fake.file("o").await)]).await });
    let refused = set_xattr(&mount.path("r"), "user.pfs.commit", "mine").unwrap_err();
    assert!(refused.contains("Stale"), "{refused}");
    assert_eq!(mount.transaction().standing().0, "CONFLICT");
    assert_eq!(fs::read_to_string(mount.path("r/new")).unwrap(), "x");
}

#[test]
fn writing_an_attribute_commits() {
    if !has_fuse("writing_an_attribute_commits") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    let before = fake.head("r").unwrap().commit;
    fs::write(mount.path("r/new"), "1").unwrap();
    set_xattr(&mount.path("r"), "user.pfs.commit", "one").unwrap();
    let first = fake.head("r").unwrap().commit;
    assert_ne!(first, before);
    fs::write(mount.path("r/new"), "22").unwrap();
    fs::write(mount.path("r/dir/a"), "again").unwrap();
    commit_and_compare(&fake, mount, "r");
    assert_ne!(fake.head("r").unwrap().commit, first);
}

#[test]
fn readers_are_served_while_writers_wait_for_a_commit() {
    if !has_fuse("readers_are_served_while_writers_wait_for_a_commit") {
        return;
    }
    let fake = Fake::new();
    block_on(sample(&fake));
    let mount = Mount::writable(&fake, "r");
    let files: Vec<_> = (0..8)
        .map(|number| fs::File::create(mount.path(&format!("r/new{number}"))).unwrap())
        .collect();
    // The kernel looks nothing up in a directory while an attribute of it is set.
    fs::metadata(mount.path("r/dir/sub/c")).unwrap();
    let held = fake.commits.try_lock().unwrap();
    std::thread::scope(|threads| {
        let committing =
            threads.spawn(|| set_xattr(&mount.path("r"), "user.pfs.commit", "all of it"));
        until(|| fake.begun.load(Ordering::Relaxed) == 1);
        let (tell, told) = mpsc::channel();
        for file in &files {
            let tell = tell.clone();
            threads.spawn(move || {
                tell.send(nix::unistd::gettid()).unwrap();
                file.write_all_at(b"waits", 0).unwrap();
            });
        }
        for writer in told.iter().take(files.len()) {
            until(|| is_writing(writer));
        }
        let (tell, told) = mpsc::channel();
        threads.spawn(|| {
            let read = fs::read_to_string(mount.path("r/dir/sub/c")).unwrap();
            let _ = { tell }.send((read, names(&mount.path("r/dir"))));
        });
        let served = told.recv_timeout(Duration::from_secs(30));
        drop(held);
        assert_eq!(served.unwrap().0, "c");
        committing.join().unwrap().unwrap();
    });
    assert_eq!(fs::read_to_string(mount.path("r/new7")).unwrap(), "waits");
}

/// Whether a thread of this process is within pwrite(2).
fn is_writing(thread: nix::unistd::Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
    call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_pwrite64)))
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn set_xattr(path: &Path, name: &str, value: &str) -> Result<(), String> {
    let script = "import os,sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())";
    let mut python = Command::new("python3");
    let ran = python.args(["-c", script]).arg(path).args([name, value]).output().unwrap();
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}

fn sh(dir: &Path, script: &str) {
    let ran = Command::new("bash").args(["-euc", script]).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&ran.stdout));
}

const MMAP: &str = "
import mmap, os
f = open('m', 'w+b'); f.truncate(1 << 20)
m = mmap.mmap(f.fileno(), 0); m[100:105] = b'hello'; m[-1] = 7; m.close(); f.close()
b = open('m', 'rb').read(); assert b[100:105] == b'hello' and b[-1] == 7 and len(b) == 1 << 20
f = open('old', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:2] = b'XY'; m.flush(); assert f.read(4)[:2] == b'XY'
os.utime('old', ns=(1, 1234567890123456789)); assert os.stat('old').st_mtime_ns == 1234567890123456789
fd = os.open('gone', os.O_RDWR | os.O_CREAT); os.unlink('gone'); os.write(fd, b'x'); assert os.pread(fd, 1, 0) == b'x'
os.posix_fallocate(fd, 0, 5000); assert os.fstat(fd).st_size == 5000
import fcntl; fcntl.flock(fd, fcntl.LOCK_EX); fcntl.lockf(fd, fcntl.LOCK_EX)
assert os.statvfs('.').f_bfree > 0
";

const SQLITE: &str = "
rm -f t.db
sqlite3 t.db 'pragma journal_mode=wal; create table t(a, b);' >/dev/null
for w in 1 2 3; do
  (for i in 1 2 3 4 5 6 7 8; do sqlite3 -cmd '.timeout 20000' t.db \"insert into t select value, $w from generate_series(1,50);\"; done) &
done
wait
test $(sqlite3 t.db 'select count(*) from t') = 1200
sqlite3 t.db 'pragma journal_mode=delete; pragma integrity_check' | grep -q ok
sqlite3 t.db 'create index i on t(a); delete from t where a > 25; vacuum;'
";

#[test]
fn foreign_programs_write_what_they_mean() {
    let test = "foreign_programs_write_what_they_mean";
    if !has_fuse(test) {
        return;
    }
    let fake = Fake::new();
    block_on(async { fake.commit("r", vec![("old", fake.file("old content").await)]).await });
    let mount = Mount::writable(&fake, "r");
    let (dir, source) = (mount.path("r"), mount.scratch.path().join("source"));
    fs::create_dir(&source).unwrap();
    sh(
        &source,
        "mkdir -p a/b c; for i in $(seq 200); do echo $i > a/b/$i; done; \
        head -c 3000000 /dev/urandom > c/random; ln -s ../a c/link; chmod 755 a/b/7; touch -d 2001-02-03 a/b/8",
    );
    sh(&dir, &format!("python3 -c \"{MMAP}\""));
    let from = source.display();
    if has_command(test, "tar") {
        sh(&dir, &format!("mkdir tar; tar -C {from} -c . | tar -C tar -x; diff -r {from} tar"));
    }
    if has_command(test, "rsync") {
        sh(
            &dir,
            &format!(
                "rsync -aH {from}/ rsync/; rsync -aHc --delete --inplace {from}/ rsync/; diff -r {from} rsync"
            ),
        );
        sh(&dir, &format!("test -z \"$(rsync -aHni {from}/ rsync/)\""));
    }
    if has_command(test, "rclone") {
        sh(
            &dir,
            &format!(
                "rclone --config /dev/null copy --links {from} rclone; test -f rclone/a/b/100; cmp {from}/c/random rclone/c/random"
            ),
        );
    }
    if has_command(test, "git") {
        sh(
            &dir,
            &format!(
                "export HOME={from} GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; \
            git init -q {from}/repo; cp -r {from}/a {from}/repo; git -C {from}/repo add .; git -C {from}/repo commit -qm one; \
            git clone -q {from}/repo git; cd git; git status --porcelain; echo x > y; git add .; git commit -qm two; git fsck --full; git gc -q; git log --oneline"
            ),
        );
    }
    if has_command(test, "sqlite3") {
        sh(&dir, SQLITE);
    }
    if let Some(python) = crate::machine::python(test) {
        let script = "import h5py, numpy as np\nf=h5py.File('t.h5','w'); f['x']=np.arange(100000).reshape(100,1000); f.close()\n\
            f=h5py.File('t.h5','a'); f['x'][3,4]=-1; f['y']=np.ones(5); f.close()\nf=h5py.File('t.h5'); assert f['x'][3,4]==-1 and f['y'][4]==1";
        sh(&dir, &format!("{python} -c \"{script}\""));
    }
    commit_and_compare(&fake, mount, "r");
}
