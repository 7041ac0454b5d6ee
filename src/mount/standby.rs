//! A session that is ready before it has the kernel's connection.
//!
//! It shakes hands over a pair of sockets with the request that the kernel has
//! sent to the first server of the mount. Then the connection takes the place
//! of the socket, under the same number: nothing in the session notices.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use fuser::{Config, Notifier, Session, SessionACL};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{read, write};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::adapter::{Adapter, Late};
use super::device;
use super::gate::{Gate, REQUEST};
use super::options::MountOptions;
use super::passthrough::Passthrough;
use super::push::{Waiting, pushes};
use super::session::{Mounted, forget};
use super::stats::Stats;
use crate::vfs::{Files, WAITING};

/// The notification that has the kernel send again what was not answered.
const RESEND: i32 = 7;

/// The kernel's flag for it, in the second word of flags of its INIT.
const HAS_RESEND: u32 = 1 << 7;

/// Where that word is in the request.
const FLAGS2: usize = 40 + 16;

/// A session without a connection.
pub struct Standby {
    files: Arc<OnceLock<Arc<Files>>>,
    gate: Arc<Gate>,
    served: JoinHandle<io::Result<()>>,
    ended: oneshot::Receiver<()>,
    notifier: Notifier,
    /// The number under which the session has its connection.
    number: RawFd,
    answer: Vec<u8>,
    runtime: Handle,
    stats: Arc<Stats>,
    passthrough: Option<Arc<Passthrough>>,
    pushing: Waiting,
    /// Whether anything is to be pushed.
    push: bool,
}

/// Reads the first request of a new connection.
pub(super) fn first_request(device: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut request = vec![0; REQUEST as usize];
    loop {
        match read(device, &mut request) {
            Ok(size) => {
                request.truncate(size);
                return Ok(request);
            }
            Err(Errno::EINTR | Errno::EAGAIN | Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the kernel that sent `init` sends requests again to a successor.
#[must_use]
pub fn can_take_over(init: &[u8]) -> bool {
    let word = init.get(FLAGS2..).and_then(|rest| rest.first_chunk::<4>());
    word.is_some_and(|word| u32::from_ne_bytes(*word) & HAS_RESEND != 0)
}

impl Standby {
    /// Shakes hands with `init`, the kernel's first request, and brings the
    /// session's threads to where the next thing they do is to serve.
    pub fn new(
        init: &[u8],
        options: &MountOptions,
        writable: bool,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let gate = Arc::new(Gate::new(writable.then_some(options.write)));
        let files = Arc::<OnceLock<_>>::default();
        let stats = Arc::new(Stats::logging(options.slow));
        let (pushes, pushing) = pushes();
        let late = Late::new(&files);
        let backing = options.passthrough.clone().filter(|_| !writable);
        let passthrough =
            backing.map(|backing| Arc::new(Passthrough::new(late.clone(), runtime, backing)));
        let adapter = Adapter {
            files: late,
            runtime: runtime.clone(),
            options: Arc::new(options.clone()),
            pushes: Arc::new(pushes),
            writable,
            direct: false,
            passthrough: passthrough.clone(),
            stats: Arc::clone(&stats),
            gate: Arc::clone(&gate),
        };
        let (ours, kernels) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        write(&kernels, init)?;
        let threads = options.threads.max(1);
        let mut config = Config::default();
        config.n_threads = Some(threads);
        let number = ours.as_raw_fd();
        // The kernel itself keeps others out unless they are allowed in.
        let session = Session::from_fd(adapter, ours, SessionACL::All, config)?;
        let mut answer = vec![0; 4096];
        let size = read(&kernels, &mut answer)?;
        answer.truncate(size);
        let notifier = session.notifier();
        let (end, ended) = oneshot::channel();
        let served = thread::Builder::new().name("pfs-mount".into()).spawn(move || {
            let result = until_unmounted(session.run());
            // Nobody need be waiting.
            let _ = end.send(());
            result
        })?;
        for _ in 0..threads {
            write(&kernels, &Gate::request())?;
        }
        gate.await_threads(threads)?;
        let (runtime, push) = (runtime.clone(), options.push);
        Ok(Self {
            files,
            gate,
            served,
            ended,
            notifier,
            number,
            answer,
            runtime,
            stats,
            passthrough,
            pushing,
            push,
        })
    }

    /// What the kernel is answered to its first request.
    #[must_use]
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Serves `files` over `device` from now on. Nobody else may do so any
    /// more: what a predecessor has not answered is asked again.
    pub fn serve(self, dir: PathBuf, files: &Arc<Files>, device: impl AsFd) -> io::Result<Mounted> {
        drop(self.files.set(Arc::clone(files)));
        self.stats.set_files(files);
        let (tell, told) = mpsc::channel(WAITING);
        let (notifier, pushing) = (self.notifier, self.pushing.stop());
        // From before the first request: nothing that moves is missed.
        self.runtime.spawn(files.follow(tell.clone()));
        if let Some(passthrough) = &self.passthrough {
            passthrough.connect(device.as_fd().try_clone_to_owned()?, files);
        }
        connect(&device, self.number)?;
        answer(&device, &self.answer)?;
        self.gate.open();
        // Programs may have waited for all before this; what comes now is told
        // and pushed a moment later.
        if let (true, Some(number)) = (self.push, device::number(&dir)) {
            self.pushing.start(&dir, number, files, &notifier, &self.runtime)?;
        }
        // Never from a thread that serves: the kernel may hold what it needs.
        let over = Arc::<AtomicBool>::default();
        let forgets = Arc::clone(&over);
        let forget = move || forget(told, &notifier, &forgets);
        thread::Builder::new().name("pfs-forget".into()).spawn(forget)?;
        let (served, ended, stats) = (self.served, self.ended, self.stats);
        Ok(Mounted { dir, served, ended, tell, over, pushing, stats })
    }
}

/// What the threads of a session ended with. The kernel tells one that has just
/// taken a request when the mount goes away that the connection was aborted, and
/// the others that there is none: both are an unmount.
fn until_unmounted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ok(()),
        other => other,
    }
}

/// Gives the session behind `number` its connection.
fn connect(device: &impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: the session owns `number` and goes on owning it; what is behind
    // it is replaced in one step.
    let done = unsafe { libc::dup3(device.as_fd().as_raw_fd(), number, libc::O_CLOEXEC) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}

/// Answers the first request, unless somebody has, and has the kernel send
/// again what nobody has answered.
fn answer(device: &impl AsFd, answer: &[u8]) -> io::Result<()> {
    match write(device, answer) {
        // ENOENT: answered before. ENODEV: unmounted, the threads will see.
        Ok(_) | Err(Errno::ENOENT | Errno::ENODEV) => {}
        Err(error) => return Err(error.into()),
    }
    let mut notification = Vec::with_capacity(16);
    notification.extend(16_u32.to_ne_bytes());
    notification.extend(RESEND.to_ne_bytes());
    notification.extend(0_u64.to_ne_bytes());
    if let Err(error) = write(device, &notification) {
        tracing::debug!(%error, "the kernel sends nothing again");
    }
    Ok(())
}
