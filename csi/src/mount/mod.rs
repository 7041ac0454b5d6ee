//! Mounts: what the kernel is asked for, and its table of them.
//!
//! Nothing here looks at a mount point: a file system whose server is gone, or
//! slow, would answer with an error, or not at all. What is mounted where is in
//! the table, and only there.

mod detaching;
mod linux;
mod table;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use detaching::{Detaching, Patience};
pub(crate) use linux::Linux;

use crate::agent::Device;

/// The type of this driver's mounts.
pub(crate) const TYPE: &str = "fuse.pfs";

/// What the driver asks of the kernel; a trait for the sake of its faults.
pub(crate) trait Kernel: Send + Sync + 'static {
    /// All mounts of this process's namespace, in the order they were made.
    fn table(&self) -> io::Result<Vec<Mounted>>;

    /// Mounts a new FUSE file system on a directory.
    fn mount(&self, target: &Path, options: &Options) -> io::Result<Device>;

    /// Detaches what is mounted last on a path, whoever uses it; may take as
    /// long as the file system's server likes.
    fn detach(&self, target: &Path) -> io::Result<()>;

    /// Has every request of a connection fail, those to come included.
    fn abort(&self, connection: u32) -> io::Result<()>;
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where.
    pub target: PathBuf,
    /// The type of the file system.
    pub fs_type: String,
    /// The minor number of its device; for FUSE also the connection's.
    pub minor: u32,
    /// Whether nothing can be written.
    pub read_only: bool,
}

impl Mounted {
    /// The kernel connection of a mount of this driver.
    pub fn connection(&self) -> Option<u32> {
        (self.fs_type == TYPE).then_some(self.minor)
    }
}

/// How a file system is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// What the table shows as its source.
    pub source: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Whether no program on it can be run.
    pub no_exec: bool,
    /// The group that all files belong to.
    pub group: u32,
    /// The SELinux context of all files.
    pub context: Option<String>,
}
