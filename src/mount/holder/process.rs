//! Servers as processes of their holder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};

use super::link::{Link, ToHolder};
use super::remains::Rest;
use super::server::LINK;

/// How long another program may take to prepare.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that servers are started from; the file stays the same one
/// whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Program(File);

/// A server, and what is known of it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) link: Link,
    /// Readable once all threads of the process have ended.
    pidfd: OwnedFd,
    /// Hangs up when the process is killed.
    pub(super) life: Option<OwnedFd>,
    pub(super) started: Instant,
    /// Whether it has answered anybody.
    pub(super) answered: bool,
    /// Since when it serves and heeds signals.
    pub(super) serving: Option<Instant>,
}

impl Program {
    /// The one of this process.
    pub(super) fn this() -> io::Result<Self> {
        File::open("/proc/self/exe").map(Self)
    }

    /// The one at `path`.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        access(path, AccessFlags::X_OK)?;
        File::open(path).map(Self)
    }

    /// Starts a server with the arguments of this process.
    pub(super) fn start(&self) -> io::Result<Server> {
        let (ours, theirs) = Link::pair()?;
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| OsString::from("pfs"));
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg0(name).args(arguments).stdin(Stdio::null());
        command.env(LINK, theirs.pass_on()?.to_string());
        let mut child = command.spawn()?;
        let pidfd = pidfd(&child).inspect_err(|_| end(&mut child))?;
        Ok(Server {
            child,
            link: ours,
            pidfd,
            life: None,
            started: Instant::now(),
            answered: false,
            serving: None,
        })
    }
}

fn end(child: &mut Child) {
    // An error says that it has ended.
    drop(child.kill());
    drop(child.wait());
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers; the child has not been waited for, so that
    // its number is still its own.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let fd = Errno::result(fd)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Server {
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        if let Ok(pid) = pid {
            // It may have ended; it has not been waited for.
            let _ = kill(pid, signal);
        }
    }

    /// The next message that is there.
    pub(super) fn heard(&self) -> io::Result<Option<(ToHolder, Vec<OwnedFd>)>> {
        let mut fds = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => Ok(None),
            // What cannot be understood is no reason to end.
            Ok(_) => Ok(self.link.receive().unwrap_or(None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it says something, or `false` when it ends before.
    pub(super) fn await_word(&self, patience: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(patience.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<_> = self.death().collect();
        fds.push(PollFd::new(self.link.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        fds.pop();
        Ok(!fds.iter().any(|fd| fd.any().unwrap_or(true)))
    }

    /// Waits for the end of the process; answers its exit code.
    pub(super) fn wait(&mut self) -> io::Result<u8> {
        self.child.wait().map(code)
    }

    /// What is ready when the process has died.
    pub(super) fn death(&self) -> impl Iterator<Item = PollFd<'_>> {
        let life = self.life.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        std::iter::once(PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)).chain(life)
    }

    /// Waits until nothing of it, which has died, can take a request any more;
    /// answers its exit code if all of it has ended. None passes for killed: it
    /// was, or all that is left of it uses the mount.
    ///
    /// Threads that use the mount themselves may be left: a request that the
    /// kernel has passed on is waited for by whoever has made it, killed or
    /// not, and only a successor answers it.
    pub(super) fn wait_served_out(&mut self) -> io::Result<Option<u8>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(code(status)));
            }
            match Rest::of(self.child.id()) {
                Rest::Serving => std::thread::sleep(Duration::from_micros(100)),
                Rest::Killed | Rest::Nothing => return Ok(None),
            }
        }
    }

    /// Has it end on the spot, and waits for its death.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.child.kill()?;
        let mut fds: Vec<_> = self.death().collect();
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
        Ok(())
    }

    /// Whether it has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends a server that does not serve yet.
    pub(super) fn discard(&mut self) {
        end(&mut self.child);
    }

    /// What is left of it, to be waited for some time, and what tells when.
    pub(super) fn into_remains(self) -> (Child, OwnedFd) {
        (self.child, self.pidfd)
    }

    /// Waits until it could take over; answers what it would answer the kernel.
    pub(super) fn await_prepared(&mut self) -> Result<Vec<u8>, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it did not get ready in time".into());
            }
            let alive = self.await_word(left).map_err(|error| error.to_string())?;
            match self.heard() {
                Ok(Some((ToHolder::Alive, fds))) => self.life = fds.into_iter().next(),
                Ok(Some((ToHolder::Prepared { answer }, _))) => return Ok(answer),
                Ok(Some((ToHolder::Refused { reason }, _))) => return Err(reason),
                Ok(Some(_)) => {}
                Ok(None) if !alive => {
                    return Err("it ended at once; it may not be able to take over".into());
                }
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Leaves the terminal, the directory and the output of whoever started it.
pub(super) fn leave() -> io::Result<()> {
    // Fails when it leads a session already, which is what is wanted.
    let _ = nix::unistd::setsid();
    nix::unistd::chdir("/")?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    nix::unistd::dup2_stderr(null.as_fd())?;
    Ok(())
}

/// Closes what whoever started it has left open, but for the standard three:
/// it would stay open for as long as the mount.
pub(super) fn close_inherited() {
    // SAFETY: this process has opened nothing yet. An error says that there is
    // nothing to close.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// What lists of processes call this one.
pub(super) fn call_this(name: &str) {
    // A name is all that is lost.
    drop(std::fs::write("/proc/self/comm", name));
}

/// Tells whoever started it.
pub(super) fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Appends to the log of the mount.
pub(super) fn log(file: Option<&Path>, text: &str) {
    if let Some(file) = file
        && let Ok(mut file) = fs::OpenOptions::new().append(true).create(true).open(file)
    {
        // There is nobody else to tell.
        drop(file.write_all(text.as_bytes()));
    }
}

/// Ends the connection behind the mount at `dir`, which stays: threads of dead
/// servers that wait for the mount have it open, and wait for nothing else.
pub(super) fn abort(dir: &Path) {
    // What is open is aborted and not unmounted; to open it so asks nobody.
    let open = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(dir);
    if open.is_ok() {
        // Fails, as it is in use, or because this user may not.
        let _ = umount2(dir, MntFlags::MNT_FORCE);
    }
}

/// What poll(2) waits for at most.
pub(super) fn timeout(left: Duration) -> PollTimeout {
    // A moment later rather than again and again until then.
    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}
