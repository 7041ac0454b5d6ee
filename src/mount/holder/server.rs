//! What a server says to its holder.

use std::collections::HashMap;
use std::env;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::unistd::pipe2;
use serde_json::Value;

use super::link::{Link, ToHolder, ToServer, VERSION};
use super::process::call_this;

/// Set for a process that is to be a holder.
const HOLDER: &str = "PFS_MOUNT_HOLDER";

/// The number of the link's descriptor, for a server.
pub(super) const LINK: &str = "PFS_MOUNT_LINK";

/// Whom [`answering`] tells, and whether it has.
static LINKED: OnceLock<Link> = OnceLock::new();
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// What to set in the environment of a process so that it is a holder.
#[must_use]
pub fn environment() -> (&'static str, &'static str) {
    (HOLDER, "1")
}

/// Whether this process is to be a holder. Ask before anything else is
/// initialised.
#[must_use]
pub fn is_called() -> bool {
    env::var_os(HOLDER).is_some() && env::var_os(LINK).is_none()
}

/// Whether this process serves a mount for a holder.
#[must_use]
pub fn is_held() -> bool {
    env::var_os(LINK).is_some()
}

/// Somebody is about to be answered. The holder, if there is one, hears of the
/// first time: what is killed later is not killed by what every server does.
pub fn answering() {
    if !ANSWERED.load(Ordering::Relaxed)
        && !ANSWERED.swap(true, Ordering::Relaxed)
        && let Some(link) = LINKED.get()
    {
        // A holder that is gone starts no successor.
        drop(link.send(&ToHolder::Answering, &[]));
    }
}

/// What a server was started for.
#[derive(Debug)]
pub enum Task {
    /// To mount as the command line says.
    Mount,
    /// To take over from another one.
    TakeOver(Preparation),
}

/// What a successor knows before it may serve.
#[derive(Debug)]
pub struct Preparation {
    /// The kernel's first request to the mount.
    pub init: Vec<u8>,
    /// What the predecessor has noted so far.
    pub note: Value,
    /// The table of inodes, still in use.
    pub table: OwnedFd,
}

/// What a successor serves with.
#[derive(Debug)]
pub struct Estate {
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// The table of inodes.
    pub table: OwnedFd,
    /// What the predecessor has noted last.
    pub note: Value,
    /// What it has kept, by name.
    pub kept: HashMap<String, OwnedFd>,
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the holder said something else than expected")
}

impl Link {
    /// The link of a server to the holder that has started it, and what for;
    /// `None` when none has.
    pub fn of_server() -> io::Result<Option<(Self, Task)>> {
        let Some(number) = env::var(LINK).ok().and_then(|text| text.parse().ok()) else {
            return Ok(None);
        };
        // The holder waits for signals with all of them blocked.
        SigSet::empty().thread_set_mask()?;
        let link = Self::inherited(number)?;
        link.show_life()?;
        // Only what a holder has started has a link, and only one.
        drop(LINKED.set(link.try_clone()?));
        // Without a name of its own it would be called as a number is.
        call_this("pfs-spare");
        let (message, mut fds) = link.receive()?.ok_or_else(unexpected)?;
        match message {
            ToServer::First => {
                call_this("pfs");
                Ok(Some((link, Task::Mount)))
            }
            ToServer::Prepare { version: VERSION, init, note } => {
                let table = fds.pop().ok_or_else(unexpected)?;
                Ok(Some((link, Task::TakeOver(Preparation { init, note, table }))))
            }
            ToServer::Prepare { version, .. } => {
                link.refuse(&format!("it does not speak version {version} of the holder"));
                Err(unexpected())
            }
            ToServer::Kept { .. } | ToServer::Go { .. } => Err(unexpected()),
        }
    }

    /// Has a thread keep open what hangs up when this process is killed.
    ///
    /// Threads that wait for the mount itself outlive that, and with them every
    /// descriptor of the process; so the thread has descriptors of its own. It
    /// takes no signal: a handler would run without those that it tells by.
    fn show_life(&self) -> io::Result<()> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        self.send(&ToHolder::Alive, &[theirs.as_fd()])?;
        let number = ours.as_raw_fd().unsigned_abs();
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("pfs-alive".into()).spawn(move || {
            let kept = SigSet::all()
                .thread_block()
                .and_then(|()| unshare(CloneFlags::CLONE_FILES))
                .map(|()| close_all_but(number));
            let is_kept = kept.is_ok();
            // Whoever started this thread waits for it.
            let _ = tell.send(kept);
            if is_kept {
                loop {
                    thread::park();
                }
            }
        })?;
        match told.recv().map_err(io::Error::other)? {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the holder will hear late of a death");
                mem::forget(ours);
            }
        }
        Ok(())
    }

    /// Hands over what a successor needs: from now on there will be one.
    pub fn hold(&self, init: &[u8], answer: &[u8], fds: [BorrowedFd<'_>; 2]) -> io::Result<()> {
        let (init, answer) = (init.to_vec(), answer.to_vec());
        self.send(&ToHolder::Hold { init, answer }, &fds)
    }

    /// Notes what a successor has to know, in place of what was noted before.
    pub fn note(&self, note: &Value) -> io::Result<()> {
        self.send(&ToHolder::Note { note: note.clone() }, &[])
    }

    /// Has `fd` kept open as `name` for a successor.
    pub fn keep(&self, name: &str, fd: impl AsFd) -> io::Result<()> {
        self.send(&ToHolder::Keep { name: name.to_owned() }, &[fd.as_fd()])
    }

    /// A successor will not need `name`.
    pub fn release(&self, name: &str) -> io::Result<()> {
        self.send(&ToHolder::Release { name: name.to_owned() }, &[])
    }

    /// Says that this process could take over, and waits until it is to.
    pub fn prepared(&self, answer: &[u8]) -> io::Result<Estate> {
        self.send(&ToHolder::Prepared { answer: answer.to_vec() }, &[])?;
        let mut found = HashMap::new();
        let (note, kept, fds) = loop {
            let (message, fds) = self.receive()?.ok_or_else(unexpected)?;
            match message {
                ToServer::Kept { kept } => found.extend(kept.into_iter().zip(fds)),
                ToServer::Go { note, kept } => break (note, kept, fds),
                ToServer::First | ToServer::Prepare { .. } => return Err(unexpected()),
            }
        };
        call_this("pfs");
        let mut fds = fds.into_iter();
        let (device, table) = (fds.next(), fds.next());
        let (device, table) = (device.ok_or_else(unexpected)?, table.ok_or_else(unexpected)?);
        found.extend(kept.into_iter().zip(fds));
        Ok(Estate { device, table, note, kept: found })
    }

    /// Says where the mount is, and where it logs to.
    pub fn at(&self, dir: &Path, log: Option<&Path>) -> io::Result<()> {
        let (dir, log) = (dir.to_owned(), log.map(Path::to_owned));
        self.send(&ToHolder::At { dir, log }, &[])
    }

    /// Says why this process cannot take over.
    pub fn refuse(&self, reason: &str) {
        // A holder that is gone needs no reason.
        drop(self.send(&ToHolder::Refused { reason: reason.to_owned() }, &[]));
    }

    /// Says that requests are answered and signals heeded.
    pub fn serving(&self) -> io::Result<()> {
        self.send(&ToHolder::Serving, &[])
    }

    /// Waits until the holder ends, which says nothing to a server that serves.
    pub fn await_end(&self) {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
    }

    /// Says that the end of this process will not be an accident.
    pub fn done(&self) {
        // Without a holder nobody would start a successor.
        drop(self.send(&ToHolder::Done, &[]));
    }
}

/// Closes every descriptor but `number` in the table of this thread, which is
/// its alone.
fn close_all_but(number: u32) {
    let close = |first: u32, last: u32| {
        // SAFETY: nothing on this thread uses a descriptor, and no other
        // thread has this table. An error says that there is none to close.
        unsafe { libc::close_range(first, last, 0) }
    };
    if number > 0 {
        close(0, number - 1);
    }
    close(number + 1, u32::MAX);
}
