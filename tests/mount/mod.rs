//! Kernel mounts over repos in memory.

mod datums;
mod fake;
mod following;
mod leftover;
mod passthrough;
mod pushing;
mod reading;
mod stats;
mod unmounting;
mod writing;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use pfs::model::{Branch, BranchName, Clock as _, SystemClock};
use pfs::mount::{MountError, MountOptions, Mounted};
use pfs::vfs::{Files, Shown, Source, Started, TransactionView};
use tokio::runtime::Runtime;

use self::fake::{Fake, repo};

/// A mount that goes away with the test.
pub struct Mount {
    pub mounted: Option<Mounted>,
    pub files: Arc<Files>,
    pub dir: PathBuf,
    pub scratch: tempfile::TempDir,
    pub runtime: Runtime,
}

impl Mount {
    pub fn new(files: Files) -> Self {
        let (runtime, scratch) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        Self::at(files, runtime, scratch)
    }

    pub fn at(files: Files, runtime: Runtime, scratch: tempfile::TempDir) -> Self {
        let dir = scratch.path().join("mnt");
        fs::create_dir_all(&dir).unwrap();
        let files = Arc::new(files);
        let options = MountOptions {
            allow_other: nix::unistd::geteuid().is_root(),
            push: true,
            ..MountOptions::default()
        };
        let mounted = Mounted::new(&dir, &files, &options, runtime.handle());
        Self { mounted: Some(mounted.unwrap()), files, dir, scratch, runtime }
    }

    /// All repos of `source`, following heads.
    pub fn all(source: &Arc<Fake>) -> Self {
        let source: Arc<dyn Source> = source.clone();
        Self::new(Files::of_repos(source, None, SystemClock.now()))
    }

    /// A transaction on master of `name`, at `dir/name`.
    pub fn writable(source: &Arc<Fake>, name: &str) -> Self {
        let (runtime, scratch) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let started = started(source, name);
        let staging = scratch.path().join("txn");
        let clock = Arc::new(SystemClock);
        let view = TransactionView::start(&staging, started, source.tree(name), clock).unwrap();
        let transaction = Some(Arc::new(view));
        let shown = vec![Shown { repo: repo(name), reference: None, transaction }];
        let source: Arc<dyn Source> = source.clone();
        Self::at(Files::of_repos(source, Some(shown), SystemClock.now()), runtime, scratch)
    }

    pub fn transaction(&self) -> Arc<TransactionView> {
        self.files.transactions()[0].1.clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Unmounts for good, leaving the scratch directory.
    pub fn unmount(&mut self) {
        if let Some(mounted) = &self.mounted {
            // What other tests start holds every open file of this process
            // for a moment, until it becomes another program.
            eventually("nothing uses the mount", || match mounted.unmount() {
                Err(MountError::Busy { .. }) => false,
                outcome => {
                    outcome.unwrap();
                    true
                }
            });
        }
        if let Some(mut mounted) = self.mounted.take() {
            self.runtime.block_on(mounted.ended());
            mounted.join().unwrap();
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let Some(mounted) = &self.mounted else { return };
        // What is pushed waits for this process, which may be about to end.
        mounted.stop_pushing();
        // A failed test may leave programs in it.
        match std::thread::panicking() {
            true => drop(umount2(&self.dir, MntFlags::MNT_DETACH)),
            false => self.unmount(),
        }
    }
}

pub fn started(source: &Fake, name: &str) -> Started {
    let head = source.head(name);
    Started {
        version: 1,
        id: SystemClock.transaction_id(),
        branch: Branch { repo: repo(name), name: BranchName::master() },
        base: head.as_ref().map(|head| head.commit),
        root: head.map(|head| hex::encode(head.root.encode())).unwrap_or_default(),
        at: SystemClock.now(),
        server: "fake".to_owned(),
        place: "fake".to_owned(),
        mounted: String::new(),
        replaces: None,
        ended: None,
        ended_at: None,
    }
}

/// Waits until `done`, which invalidation makes true soon.
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
