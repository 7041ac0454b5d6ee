//! Hands the kernel what it is about to ask for.
//!
//! Nothing but a listing through the mount itself makes names known to a
//! kernel, so that is how it is done; contents are stored by a notification.
//! Both happen on threads of their own: storing waits for pages that a read
//! holds until it is answered, and must never wait on the thread that answers.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use fuser::{INodeNo, Notifier};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use tokio::runtime::Handle;

use super::queue::Queue;
use crate::vfs::{Files, InodeNo, Push, Pushed, Wait, What};

/// How many threads push.
const THREADS: usize = 2;

/// How many entries of a directory are listed at most.
const LISTED: usize = 64 << 10;

/// How long a read waits for a push at most. Nothing depends on it but speed:
/// whoever pushes may have to wait for somebody who waits for that read.
const PAUSE: Duration = Duration::from_millis(50);

/// What may be pushed is so much of the memory that is free.
const SHARE: u64 = 4;

/// Where to say what is to be pushed.
#[derive(Debug)]
pub(super) struct Pushes {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Drop for Pushes {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the threads that push share with those that serve.
#[derive(Debug, Default)]
struct Shared {
    /// The thread ids of those that push, 0 before they run.
    own: [AtomicU32; THREADS],
    /// Set when the directory is about to be unmounted.
    stopped: AtomicBool,
    /// Set when nothing is to be pushed ever again.
    over: AtomicBool,
}

/// The threads' side, until they are started.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

/// Keeps the pushing of one mount from getting into the way of its unmount.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<Shared>);

impl Stop {
    /// Ends what is being pushed and lets nothing begin any more, or lets it
    /// begin again.
    pub(super) fn set(&self, stopped: bool) {
        self.0.stopped.store(stopped, Ordering::Relaxed);
    }

    /// Ends it, and lets nothing begin ever again.
    pub(super) fn for_good(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Both sides.
pub(super) fn pushes() -> (Pushes, Waiting) {
    let (queue, shared) = (Arc::<Queue>::default(), Arc::<Shared>::default());
    let waiting = Waiting { queue: Arc::clone(&queue), shared: Arc::clone(&shared) };
    (Pushes { queue, shared }, waiting)
}

impl Pushes {
    /// Whether a request comes from a thread that pushes.
    pub(super) fn is_own(&self, pid: u32) -> bool {
        self.shared.own.iter().any(|own| own.load(Ordering::Relaxed) == pid)
    }

    /// Has `pushes` done, if somebody has time.
    pub(super) fn begin(&self, files: &Files, pushes: impl IntoIterator<Item = Push>) {
        for push in pushes {
            let refused = self.queue.add(push);
            refused.into_iter().for_each(|push| leave_out(files, push));
        }
    }

    /// Begins what the read of `ino` leads to, and waits a little for what it
    /// would come in the way of.
    pub(super) async fn before_read(&self, files: &Files, ino: InodeNo) {
        let (push, wait) = files.will_read(ino);
        self.begin(files, push);
        is_over(files, ino, wait).await;
    }

    /// Waits a little before a name is looked up in `dir`.
    pub(super) async fn before_lookup(&self, files: &Files, dir: InodeNo) {
        is_over(files, dir, files.will_look_up(dir)).await;
    }

    /// The same before `dir` is listed from its beginning; answers whether the
    /// kernel knows by now what is in it.
    pub(super) async fn before_list(&self, files: &Files, dir: InodeNo) -> bool {
        is_over(files, dir, files.will_list(dir)).await
    }
}

/// Waits a little with a request about `ino`, if it is to wait; answers whether
/// it has seen the end.
async fn is_over(files: &Files, ino: InodeNo, wait: Option<Wait>) -> bool {
    let Some(wait) = wait else { return false };
    let over = tokio::time::timeout(PAUSE, wait.over()).await.is_ok();
    if !over {
        files.waited(ino);
    }
    over
}

/// Says that `push` is not done, nor what would follow it.
fn leave_out(files: &Files, push: Push) {
    let mut next = Some(push);
    while let Some(push) = next {
        next = files.pushed(&push, 0);
    }
}

impl Waiting {
    pub(super) fn stop(&self) -> Stop {
        Stop(Arc::clone(&self.shared))
    }

    /// Starts the threads for the mount at `dir`, which the kernel knows as
    /// `device`. They end with the last [`Pushes`].
    pub(super) fn start(
        self,
        dir: &Path,
        device: u64,
        files: &Arc<Files>,
        notifier: &Notifier,
        runtime: &Handle,
    ) -> io::Result<()> {
        for slot in 0..THREADS {
            let pusher = Pusher {
                dir: dir.to_owned(),
                device,
                // The session's end must not wait for these threads.
                files: Arc::clone(files),
                notifier: notifier.clone(),
                runtime: runtime.clone(),
                queue: Arc::clone(&self.queue),
                shared: Arc::clone(&self.shared),
            };
            thread::Builder::new().name("pfs-push".into()).spawn(move || {
                let own = nix::unistd::gettid().as_raw().unsigned_abs();
                pusher.shared.own[slot].store(own, Ordering::Relaxed);
                while let Some(push) = pusher.queue.next() {
                    let mut following = Some(push);
                    while let Some(push) = following {
                        following = pusher.push(&push);
                    }
                }
            })?;
        }
        Ok(())
    }
}

struct Pusher {
    dir: PathBuf,
    device: u64,
    files: Arc<Files>,
    notifier: Notifier,
    runtime: Handle,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Pusher {
    fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed) || self.shared.over.load(Ordering::Relaxed)
    }

    /// Answers what to push next.
    fn push(&self, push: &Push) -> Option<Push> {
        let pushed = match (&push.what, self.is_stopped()) {
            (_, true) => Ok(0),
            (What::Listing | What::Contents { .. }, false) if !self.files.begins(push) => Ok(0),
            (What::Listing, false) => self.list(push),
            (What::Contents { .. }, false) => self.store(push),
            (What::Following { after, count, contents }, false) => {
                self.follow(push, (after, *count), *contents)
            }
        };
        let entries = pushed.unwrap_or_else(|error| {
            // Whoever asks for it hears what is wrong.
            tracing::debug!(%error, ?push, "could not be pushed");
            0
        });
        self.files.pushed(push, entries)
    }

    /// Has others pushed that a program will come to.
    fn follow(&self, push: &Push, next: (&str, usize), contents: bool) -> io::Result<usize> {
        let following = self.runtime.block_on(self.files.following(push, next, contents));
        for push in following.map_err(io::Error::other)? {
            let refused = self.queue.add_last(push);
            refused.into_iter().for_each(|push| leave_out(&self.files, push));
        }
        Ok(0)
    }

    /// Lists the directory through the mount.
    fn list(&self, push: &Push) -> io::Result<usize> {
        let Some(path) = self.files.pushed_dir(push) else { return Ok(0) };
        let dir = open(&self.dir, &path)?;
        // Something else may be mounted over it by now.
        if dir.metadata()?.dev() != self.device {
            return Ok(0);
        }
        let mut buffer = vec![0_u8; 128 << 10];
        let mut entries = 0;
        while entries < LISTED && !self.is_stopped() {
            match read_entries(&dir, &mut buffer)? {
                0 => break,
                more => entries += more,
            }
        }
        Ok(entries)
    }

    /// Hands over the contents of small files.
    fn store(&self, push: &Push) -> io::Result<usize> {
        let fits = self.files.bytes_around(push) <= room();
        let Some((after, most)) = push.what.reach(fits) else { return Ok(0) };
        let mut after = after.map(str::to_owned);
        let (mut entries, mut bytes) = (0, 0);
        let mut buffer = Vec::new();
        loop {
            let page = self.files.contents_to_push(push, after.as_deref());
            let page = self.runtime.block_on(page).map_err(io::Error::other)?;
            for (ino, content) in &page.known {
                self.give(push, *ino, content);
                bytes += content.len() as u64;
            }
            bytes += self.store_chunks(push, &page, &mut buffer)?;
            entries += page.known.len() + page.chunks.len();
            after = page.next;
            if after.is_none() || bytes >= most || self.is_stopped() {
                return Ok(entries);
            }
        }
    }

    /// Hands over files that are a chunk each; answers how many bytes.
    fn store_chunks(&self, push: &Push, page: &Pushed, buffer: &mut Vec<u8>) -> io::Result<u64> {
        let Some(blobs) = &page.blobs else { return Ok(0) };
        let (inodes, places): (Vec<_>, Vec<_>) = page.chunks.iter().copied().unzip();
        let mut done = vec![false; places.len()];
        blobs.read_near(&places, buffer, |number, plain| {
            done[number] = true;
            self.give(push, inodes[number], plain);
        });
        let rest = done.iter().zip(inodes.iter().zip(&places)).filter(|(done, _)| !**done);
        for (_, (ino, place)) in rest {
            if self.is_stopped() {
                break;
            }
            let plain = self.runtime.block_on(blobs.read(place)).map_err(io::Error::other)?;
            self.give(push, *ino, &plain);
        }
        Ok(places.iter().map(|place| u64::from(place.len)).sum())
    }

    fn give(&self, push: &Push, ino: InodeNo, content: &[u8]) {
        if self.is_stopped() || !self.files.may_store(push, ino) {
            return;
        }
        if let Err(error) = self.notifier.store(INodeNo(ino.0), 0, content) {
            tracing::debug!(%error, ?ino, "the kernel did not take a file");
        }
    }
}

/// Opens a directory below the mount at `dir`.
///
/// Where it may it does so in a copy of the mount that is nowhere attached: an
/// open file of our own must not keep anybody from unmounting.
fn open(dir: &Path, below: &str) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = match detached(dir) {
        Ok(copy) => openat(&copy, below, flags, Mode::empty()),
        Err(_) => nix::fcntl::open(&dir.join(below), flags, Mode::empty()),
    };
    Ok(File::from(opened?))
}

/// A copy of the mount at `dir`; it goes away with the last file open in it.
fn detached(dir: &Path) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the path is a string with an end that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Reads directory entries and answers how many, 0 at the end. What they say
/// is for the kernel, not for us.
fn read_entries(dir: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let (fd, room) = (dir.as_raw_fd(), buffer.len());
    // SAFETY: the buffer is ours, and the kernel writes at most `room` bytes.
    let read = unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), room) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // Each begins with an inode number and an offset of eight bytes, and its
    // own length of two.
    let (mut at, mut count) = (0, 0);
    while let Some([low, high]) = buffer[..read].get(at + 16..at + 18) {
        at += usize::from(u16::from_ne_bytes([*low, *high])).max(18);
        count += 1;
    }
    Ok(count)
}

/// How many bytes the kernel may be given to keep: it counts them to this
/// process's control group.
fn room() -> u64 {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|table| {
        let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    let free = free.map_or(0, |kib| kib << 10);
    pfs_daemonset::cgroup::free().map_or(free, |left| left.min(free)) / SHARE
}
