//! Programs that know nothing of pfs write into a writable mount; what they
//! wrote is committed and reads back equal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::machine;
use crate::server::Server;

#[test]
fn rclone_copies_a_tree_in() {
    written_and_read_back("rclone", |scratch, repo| {
        let source = sample(scratch);
        run(Command::new("rclone").args(["--config", "/dev/null", "copy"]).arg(&source).arg(repo));
        run(Command::new("rclone")
            .args(["--config", "/dev/null", "check", "--download"])
            .arg(&source)
            .arg(repo));
    });
}

#[test]
fn rsync_copies_a_tree_in_twice() {
    written_and_read_back("rsync", |scratch, repo| {
        let source = sample(scratch);
        run(Command::new("rsync").arg("-a").arg(source.join(".")).arg(repo));
        fs::write(source.join("dir/small"), "changed").unwrap();
        run(Command::new("rsync").args(["-a", "--delete"]).arg(source.join(".")).arg(repo));
        assert_eq!(fs::read(repo.join("dir/small")).unwrap(), b"changed");
    });
}

#[test]
fn tar_unpacks_a_tree() {
    written_and_read_back("tar", |scratch, repo| {
        let source = sample(scratch);
        let archive = scratch.join("sample.tar");
        run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&source).arg("."));
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(repo));
        assert_eq!(fs::read_link(repo.join("link")).unwrap(), Path::new("dir/small"));
        run(Command::new("tar").arg("-df").arg(&archive).arg("-C").arg(repo));
    });
}

#[test]
fn git_clones_a_repository() {
    written_and_read_back("git", |scratch, repo| {
        let source = sample(scratch);
        let git = |dir: &Path, arguments: &[&str]| {
            run(Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-C"])
                .arg(dir)
                .args(arguments));
        };
        git(&source, &["init", "-q"]);
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-q", "-m", "all"]);
        let clone = repo.join("clone");
        run(Command::new("git").args(["clone", "-q", "--no-local"]).arg(&source).arg(&clone));
        git(&clone, &["fsck", "--strict"]);
        git(&clone, &["checkout", "-q", "-b", "other"]);
        fs::write(clone.join("new"), "new").unwrap();
        git(&clone, &["add", "new"]);
        git(&clone, &["commit", "-q", "-m", "new"]);
        git(&clone, &["gc", "-q"]);
        git(&clone, &["fsck", "--strict"]);
    });
}

#[test]
fn sqlite3_keeps_a_database() {
    written_and_read_back("sqlite3", |_, repo| {
        let sql = |text: &str| {
            run(Command::new("sqlite3").arg("-bail").arg(repo.join("data.db")).arg(text))
        };
        sql("create table t(a integer primary key, b text);");
        sql("with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
             insert into t select i, hex(randomblob(100)) from n;");
        sql("delete from t where a % 3 = 0; vacuum;");
        sql("pragma journal_mode = truncate; update t set b = 'x' where a % 5 = 0;");
        assert_eq!(sql("pragma integrity_check;").trim(), "ok");
        assert_eq!(sql("select count(*) from t;").trim(), "3334");
    });
}

#[test]
fn python_writes_hdf5_and_numpy() {
    let Some(python) = machine::python("python_writes_hdf5_and_numpy") else { return };
    let program = r"
import sys, h5py, numpy as np
dir = sys.argv[1]
values = np.random.default_rng(1).normal(size=(500, 400))
np.save(dir + '/values.npy', values)
mapped = np.load(dir + '/values.npy', mmap_mode='r+')
mapped[7, :] = 0
mapped.flush()
del mapped
with h5py.File(dir + '/values.h5', 'w') as file:
    file.create_dataset('all', data=values, chunks=(50, 50), compression='gzip')
with h5py.File(dir + '/values.h5', 'a') as file:
    file['all'][3, :] = 1
    file.create_group('more')['few'] = values[:3]
    file.attrs['made'] = 'by a test'
with h5py.File(dir + '/values.h5', 'r') as file:
    assert (file['all'][3, :] == 1).all()
    assert (file['all'][4:] == values[4:]).all()
again = np.load(dir + '/values.npy')
assert (again[7] == 0).all() and (again[8:] == values[8:]).all()
";
    written_and_read_back("python3", |_, repo| {
        run(Command::new(&python).arg("-c").arg(program).arg(repo));
    });
}

/// Runs `write` on a writable mount of an empty repo, commits by unmounting,
/// and compares a read-only mount with what was there before.
#[track_caller]
fn written_and_read_back(tool: &str, write: impl Fn(&Path, &Path)) {
    if !machine::has_fuse(tool) || !machine::has_command(tool, tool) {
        return;
    }
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    write(&server.dir("scratch"), &mount.join("data"));
    let written = manifest(&mount.join("data"));
    server.pfs(&["umount", at]);
    server.pfs(&["mount", "-d", "-r", "data", at]);
    let read = manifest(&mount.join("data"));
    server.pfs(&["umount", at]);
    assert!(!written.is_empty());
    for (path, entry) in &written {
        assert_eq!(read.get(path), Some(entry), "{tool}: {path}");
    }
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&read), names(&written), "{tool}: the entries");
    server.pfs(&["fsck"]);
}

/// A tree with what matters: empty, small, larger than a chunk, executable,
/// deep, odd names, a symlink.
fn sample(scratch: &Path) -> std::path::PathBuf {
    let tree = scratch.join("sample");
    fs::create_dir_all(tree.join("dir/deeper/deepest")).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    fs::write(tree.join("dir/small"), "small").unwrap();
    fs::write(tree.join("dir/deeper/deepest/with space ü"), "name").unwrap();
    let noise: Vec<u8> = (0..9_000_000_u64).map(|i| (i * i / 7 % 251) as u8).collect();
    fs::write(tree.join("large"), noise).unwrap();
    fs::write(tree.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("dir/small", tree.join("link")).unwrap();
    tree
}

/// Every entry below a directory: kind, executable bit, content.
fn manifest(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            let said = if meta.is_dir() {
                dirs.push(path);
                "dir".to_owned()
            } else if meta.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else {
                let bytes = fs::read(&path).unwrap();
                assert_eq!(bytes.len() as u64, meta.len(), "{name}: size and content");
                let executable = meta.permissions().mode() & 0o100 != 0;
                format!("file {executable} {}", blake3::hash(&bytes))
            };
            found.insert(name, said);
        }
    }
    found
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
