//! Suites that test file systems, and programs that rely on one, on a
//! writable mount: nothing may tell it from a local directory.
//!
//! `make test` runs them with small counts, `make posix` (`PFS_POSIX_FULL=1`)
//! in full.

mod calls;
mod copies;
mod pjdfstest;
mod programs;
mod suites;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{has_fuse, noted};
use crate::server::Server;

/// Whether the counts are those of `make posix`.
fn is_full() -> bool {
    std::env::var_os("PFS_POSIX_FULL").is_some_and(|value| value == "1")
}

/// `few` in `make test`, `many` in `make posix`.
fn count(few: u64, many: u64) -> String {
    if is_full() { many } else { few }.to_string()
}

/// A writable mount of repo `data`, with `input` beside it, by a process of
/// its own.
struct Disk {
    server: Server,
    mount: PathBuf,
}

impl Disk {
    /// `None`, and a note, where there is no FUSE.
    fn new(test: &str) -> Option<Self> {
        Self::with(test, |_| {}, &[])
    }

    /// A mount with more options, after `prepare` has filled the server.
    fn with(test: &str, prepare: impl FnOnce(&Server), options: &[&str]) -> Option<Self> {
        if !has_fuse(test) {
            return None;
        }
        let server = Server::start();
        server.pfs(&["create", "repo", "data"]);
        server.pfs(&["create", "repo", "input"]);
        prepare(&server);
        let mount = server.dir("mnt");
        let disk = Self { server, mount };
        disk.mount(options);
        Some(disk)
    }

    fn mount(&self, options: &[&str]) {
        let at = self.mount.to_str().unwrap();
        let repos = ["mount", "-d", "-r", "data@master+w", "-r", "input", at];
        self.server.pfs(&[&repos[..], options].concat());
    }

    /// Unmounts, which commits.
    fn unmount(&self) {
        self.server.pfs(&["umount", self.mount.to_str().unwrap()]);
    }

    /// A path in the writable repo.
    fn path(&self, name: &str) -> PathBuf {
        self.mount.join("data").join(name)
    }

    /// A path in the read-only repo beside it.
    fn input(&self, name: &str) -> PathBuf {
        self.mount.join("input").join(name)
    }

    /// A new directory in the writable repo.
    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Bytes that staged files take on the disk.
    fn staged(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let (mut bytes, mut dirs) = (0, vec![self.server.root().join("mounts")]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match fs::symlink_metadata(&path).unwrap() {
                    found if found.is_dir() => dirs.push(path),
                    found if path.parent().is_some_and(|dir| dir.ends_with("files")) => {
                        bytes += found.blocks() * 512;
                    }
                    _ => {}
                }
            }
        }
        bytes
    }

    /// Lets other users walk to the mount.
    fn open_to_all(&self) {
        let above = self.mount.parent().unwrap();
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A suite that `scripts/setup.sh` has built.
pub fn tool(test: &str, name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let path = cache.unwrap_or_default().join("pfs/tools/bin").join(name);
    let why = format!("{name} is not built (scripts/setup.sh)");
    noted(test, &why, path.exists()).then_some(path)
}

/// A file beside this one.
pub fn beside(name: &str) -> String {
    format!("{}/tests/posix/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program, which must succeed, and returns what it said.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}{errors}", output.status);
    said
}
