//! Files that the kernel reads by itself: the driver opens them for it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use pfs_daemonset::Openers;

use super::attributes::Shown;
use crate::mount::Backing;
use crate::vfs::{Files, InodeNo, LARGE_FILE};

/// Whichever driver is connected.
#[derive(Debug)]
pub struct Driver(pub Arc<Openers>);

impl Backing for Driver {
    fn open(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32> {
        self.0.open(device, file)
    }

    fn close(&self, device: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        self.0.close(device, number)
    }
}

/// Whether the kernel is to read large files of a volume by itself. It then tells
/// of every file that is opened, which is nothing beside reading a large file, and
/// much beside a small one; and there is one decision for a connection. So the
/// files it holds when it is published decide, by their mean.
pub async fn is_for(shown: &Shown, files: &Files) -> bool {
    if shown.is_written() {
        return false;
    }
    // Without an answer, as most volumes are.
    let Ok(held) = files.statfs(InodeNo::ROOT).await else { return false };
    let count = held.files.saturating_sub(held.files_free);
    let bytes = held.blocks.saturating_sub(held.free) * u64::from(held.block_size);
    bytes / count.max(1) >= LARGE_FILE
}
