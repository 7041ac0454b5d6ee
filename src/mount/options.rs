//! What a user decides about a mount.

use std::sync::Arc;
use std::time::Duration;

use super::backing::Backing;
use super::gate::REQUEST;

/// Options of one mount.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// What the mount table shows as the source.
    pub source: String,
    /// Let other users in than the one who mounts.
    pub allow_other: bool,
    /// Owner of everything that no program has given another.
    pub uid: u32,
    /// Group of everything that no program has given another.
    pub gid: u32,
    /// Permission bits taken from everything.
    pub umask: u32,
    /// Permission bits that files have whatever a commit says, as long as no
    /// program has given them an owner.
    pub files: u32,
    /// The same for directories.
    pub directories: u32,
    /// Threads that serve the kernel.
    pub threads: usize,
    /// How many bytes programs write with one request. Each thread has memory
    /// for as many where anything can be written.
    pub write: u32,
    /// Put listings and small files into the kernel's caches before they are
    /// asked for. The threads that do so wait for answers of this process: one
    /// that is killed meanwhile leaves a mount that hangs until its connection
    /// is aborted. So this is for processes that have a holder, which starts
    /// another one, or that nobody kills.
    pub push: bool,
    /// Let the kernel read large files by itself that lie whole in the cache
    /// directory, which this opens for it. Such a mount is told of every file that
    /// is opened. Nothing comes of it where something can be written.
    pub passthrough: Option<Arc<dyn Backing>>,
    /// Operations that take as long are logged; none when it is zero.
    pub slow: Duration,
}

impl Default for MountOptions {
    /// The mounting user's files, for that user alone.
    fn default() -> Self {
        Self {
            source: "pfs".to_owned(),
            allow_other: false,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            umask: 0,
            files: 0,
            directories: 0,
            threads: 4,
            write: REQUEST,
            push: false,
            passthrough: None,
            slow: Duration::from_secs(1),
        }
    }
}
