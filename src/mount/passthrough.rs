//! Large files that the kernel reads by itself, from a file of the cache
//! directory.
//!
//! The kernel wants all handles of an inode to be of one kind: those it reads
//! for, from one backing file, or those it asks and caches for. So handles of
//! large files are counted, in the memory that outlives this process. A count
//! that is too low fails an open, one that is too high keeps an inode in the kind
//! it is until the kernel forgets it. So an answer is sent before anything else is
//! counted: each process leaves one request at most that it has counted and the
//! kernel sends again, and that one is noted.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fuser::{FileHandle, FopenFlags, INodeNo};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::adapter::Late;
use super::attr::inode;
use super::backing::Backing;
use super::once::Once;
use super::reply::{ReplyEmpty, ReplyOpen};
use crate::vfs::{Files, Handles, InodeNo, LargeFile};

/// The handle of a file whose handles are counted; others have 0.
const COUNTED: FileHandle = FileHandle(1);

/// How many files the kernel has open for us at most.
const MOST: usize = 4096;

/// How many files wait to lie whole in the cache directory; more have to be
/// opened again.
const WAITING: usize = 64;

/// What a mount has for files that the kernel reads by itself.
#[derive(Debug)]
pub(super) struct Passthrough {
    backing: Arc<dyn Backing>,
    device: OnceLock<OwnedFd>,
    /// Held while handles are counted, and until that is answered.
    open: Mutex<Open>,
    /// The kernel has refused a file, and will refuse the next.
    refused: AtomicBool,
    wanted: mpsc::Sender<LargeFile>,
    waiting: Arc<Waiting>,
    _keeping: AbortOnDropHandle<()>,
}

/// What the kernel has open for us.
#[derive(Debug, Default)]
struct Open {
    /// How many files.
    files: usize,
    /// Numbers that it has yet to let go of. They are, before there is another
    /// one: the one that a process before may not have noted must not be given
    /// to a file by then.
    unclosed: Vec<u32>,
}

/// The files that are to lie whole in the cache directory.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashSet<InodeNo>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashSet<InodeNo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a file is opened that the kernel asks for.
pub(super) fn cached() -> FopenFlags {
    FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH
}

impl Passthrough {
    pub(super) fn new(files: Late, runtime: &Handle, backing: Arc<dyn Backing>) -> Self {
        let (wanted, waiting) = (mpsc::channel(WAITING), Arc::<Waiting>::default());
        let keeping = runtime.spawn(keep(files, wanted.1, Arc::clone(&waiting)));
        Self {
            backing,
            device: OnceLock::new(),
            open: Mutex::default(),
            refused: AtomicBool::new(false),
            wanted: wanted.0,
            waiting,
            _keeping: AbortOnDropHandle::new(keeping),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection to the kernel, and ends what a process before has
    /// left half done. Nobody else serves it.
    pub(super) fn connect(&self, device: OwnedFd, files: &Files) {
        drop(self.device.set(device));
        let mut open = self.lock();
        files.begin_counting();
        let backed = files.backed();
        // One that it had made but not noted: numbers go up.
        let unnoted = files.newest_backing().wrapping_add(1);
        if backed.iter().all(|(_, handles)| handles.backing != unnoted) {
            self.close(unnoted, &mut open);
        }
        for (ino, Handles { count, backing }) in backed {
            open.files += 1;
            if count == 0 {
                self.end(files, ino, backing, &mut open);
            }
        }
    }

    /// What `ino` is to be read from when it is opened now. If there is nothing
    /// yet, there may be later.
    pub(super) async fn whole(&self, files: &Files, ino: INodeNo) -> Option<File> {
        let handles = files.handles(inode(ino))?;
        if handles.backing != 0 || self.refused.load(Ordering::Acquire) {
            return None;
        }
        let large = match files.large_file(inode(ino)).await {
            Ok(large) => large?,
            Err(error) => {
                tracing::debug!(%error, "a large file is read as others are");
                return None;
            }
        };
        let found = files.whole(&large);
        if found.is_none() {
            self.want(large);
        }
        found.filter(|_| handles.count == 0)
    }

    fn want(&self, large: LargeFile) {
        let ino = large.ino;
        if self.waiting.lock().insert(ino) && self.wanted.try_send(large).is_err() {
            self.waiting.lock().remove(&ino);
        }
    }

    /// Answers an open of a file whose handles are counted.
    pub(super) fn open(
        &self,
        files: &Files,
        (once, ino): (Once, INodeNo),
        whole: Option<File>,
        reply: ReplyOpen,
    ) {
        let ino = inode(ino);
        let mut open = self.lock();
        let Some(handles) = files.handles(ino) else {
            return reply.opened(FileHandle(0), cached());
        };
        let backing = match (handles, whole) {
            (Handles { backing: 0, count: 0 }, Some(whole)) if open.files < MOST => {
                self.back(files, ino, &whole, &mut open)
            }
            (Handles { backing: 0, .. }, _) => None,
            (Handles { backing, .. }, _) => Some(backing),
        };
        if !once.was_counted(files) {
            files.opened(ino, once.number());
        }
        match backing {
            Some(backing) => {
                reply.opened_passthrough(COUNTED, FopenFlags::FOPEN_NOFLUSH, backing);
            }
            None => reply.opened(COUNTED, cached()),
        }
        files.answered(once.number());
    }

    /// Gives the kernel `whole` to read, under the number that is noted; `None`
    /// when that cannot be.
    fn back(&self, files: &Files, ino: InodeNo, whole: &File, open: &mut Open) -> Option<u32> {
        self.close_left(open);
        let device = self.device.get().filter(|_| open.unclosed.is_empty())?;
        match self.backing.open(device.as_fd(), whole.as_fd()) {
            Ok(number) => {
                files.set_backing(ino, number);
                open.files += 1;
                Some(number)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                // It may have been opened, with the answer lost.
                open.unclosed.push(files.newest_backing().wrapping_add(1));
                None
            }
            Err(error) => {
                if !self.refused.swap(true, Ordering::AcqRel) {
                    tracing::warn!(
                        %error,
                        "the kernel does not read from the cache directory by itself; \
                         it has to be on a file system like ext4 or xfs"
                    );
                }
                None
            }
        }
    }

    /// Answers that a handle is gone.
    pub(super) fn release(
        &self,
        files: &Files,
        (once, ino): (Once, INodeNo),
        handle: FileHandle,
        reply: ReplyEmpty,
    ) {
        if handle != COUNTED {
            return reply.ok();
        }
        let ino = inode(ino);
        let mut open = self.lock();
        if !once.was_counted(files) {
            files.released(ino, once.number());
        }
        if let Some(Handles { count: 0, backing: backing @ 1.. }) = files.handles(ino) {
            self.end(files, ino, backing, &mut open);
        }
        reply.ok();
        files.answered(once.number());
    }

    /// Takes lookups back. A kernel that knows an inode no more has no handle of
    /// it, whatever was counted.
    pub(super) fn forget(&self, files: &Files, ino: InodeNo, count: u64) {
        if files.handles(ino).is_none_or(|handles| handles.backing == 0) {
            return files.forget(ino, count);
        }
        let mut open = self.lock();
        if let Some(Handles { backing: backing @ 1.., .. }) = files.handles(ino)
            && files.is_last(ino, count)
        {
            files.all_released(ino);
            self.end(files, ino, backing, &mut open);
        }
        files.forget(ino, count);
    }

    /// Has the kernel close what nobody has open. Who is killed in between
    /// leaves a file without handles, which its successor ends.
    fn end(&self, files: &Files, ino: InodeNo, number: u32, open: &mut Open) {
        self.close(number, open);
        files.set_backing(ino, 0);
        open.files = open.files.saturating_sub(1);
    }

    fn close(&self, number: u32, open: &mut Open) {
        open.unclosed.push(number);
        self.close_left(open);
    }

    /// Has the kernel let go of what it still has, unless nobody can be asked.
    fn close_left(&self, open: &mut Open) {
        let Some(device) = self.device.get() else { return };
        while let Some(number) = open.unclosed.last() {
            match self.backing.close(device.as_fd(), *number) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => tracing::debug!(%error, number, "nothing to close"),
            }
            open.unclosed.pop();
        }
    }
}

/// Has one file after the other lie whole in the cache directory.
async fn keep(files: Late, mut wanted: mpsc::Receiver<LargeFile>, waiting: Arc<Waiting>) {
    while let Some(large) = wanted.recv().await {
        match files.keep_whole(&large).await {
            Ok(kept) => tracing::debug!(ino = large.ino.0, kept, "a large file was looked after"),
            Err(error) => tracing::debug!(%error, "a large file cannot be kept whole"),
        }
        waiting.lock().remove(&large.ino);
    }
}

/// Has the kernel take part in it, if it can.
pub(super) fn agree(config: &mut fuser::KernelConfig) -> io::Result<bool> {
    if config.add_capabilities(fuser::InitFlags::FUSE_PASSTHROUGH).is_err() {
        tracing::warn!("this kernel reads no files by itself; the mount goes on without that");
        return Ok(false);
    }
    // One below ours, so that a mount can still be below an overlay.
    config.set_max_stack_depth(1).map_err(|most| io::Error::other(format!("at most {most}")))?;
    Ok(true)
}
