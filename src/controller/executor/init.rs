//! The first process of a program's process namespace.
//!
//! Three processes: the runner, which the server sees; its child, the init,
//! whose end the kernel makes the end of everything in the namespace; and the
//! init's child, the program. The init ends when the program does, when the
//! runner does, and when the runner is told to by SIGTERM.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, setsid};

use super::runner::{COULD_NOT_START, StartError, Step as _, end_with_parent};

/// Starts the init of a namespace that this process has made for its
/// children, and in it a process that calls `become_program`. In the runner it
/// does not return but ends as the program ends.
///
/// # Errors
/// In whichever process a step failed, which is to end then.
pub(super) fn start_program(
    become_program: impl FnOnce() -> Result<Infallible, StartError>,
) -> Result<Infallible, StartError> {
    let what = || "cannot start a process".to_owned();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).step(what)?;
    let mut told = SigSet::empty();
    told.add(Signal::SIGTERM);
    told.add(Signal::SIGCHLD);
    // What comes before the runner listens waits for it.
    let before = told.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).step(what)?;
    // SAFETY: a runner has one thread, so the child may do what it likes.
    match unsafe { fork() }.step(what)? {
        ForkResult::Parent { child } => {
            drop(writer);
            supervise(child, reader, &told)
        }
        ForkResult::Child => {
            drop(reader);
            before.thread_set_mask().step(what)?;
            be_init(writer, become_program)
        }
    }
}

/// Waits in the runner until the init, and with it all of the program, is
/// gone; then ends as the program ended.
fn supervise(init: Pid, report: OwnedFd, told: &SigSet) -> Result<Infallible, StartError> {
    let what = || "cannot wait for the program".to_owned();
    let status = loop {
        match told.wait().step(what)? {
            // It may be gone already.
            Signal::SIGTERM => drop(kill(init, Signal::SIGKILL)),
            _ => match waitpid(init, Some(WaitPidFlag::WNOHANG)).step(what)? {
                WaitStatus::StillAlive => {}
                status => break status,
            },
        }
    };
    let mut written = [0; 4];
    match std::fs::File::from(report).read_exact(&mut written) {
        Ok(()) => end_as(i32::from_ne_bytes(written)),
        Err(_) => match status {
            WaitStatus::Exited(_, code) => std::process::exit(code),
            WaitStatus::Signaled(_, signal, _) => end_as(signal as i32),
            _ => std::process::exit(COULD_NOT_START.into()),
        },
    }
}

/// Ends this process as one with this wait status ended.
fn end_as(status: i32) -> ! {
    if libc::WIFSIGNALED(status)
        && let Ok(signal) = Signal::try_from(libc::WTERMSIG(status))
    {
        // The program has left a core where it wanted to; this one's is of no
        // use to anybody.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        let mut this = SigSet::empty();
        this.add(signal);
        // SAFETY: the default action is not a handler, so nothing runs in it.
        let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
        let _ = this.thread_unblock();
        let _ = raise(signal);
    }
    std::process::exit(libc::WEXITSTATUS(status))
}

/// Starts the program and waits for it, taking in every orphan meanwhile.
fn be_init(
    report: OwnedFd,
    become_program: impl FnOnce() -> Result<Infallible, StartError>,
) -> Result<Infallible, StartError> {
    let what = || "cannot start the program's process".to_owned();
    end_with_parent().step(what)?;
    // The runner may have ended before that: then nobody reads the report.
    let mut watched = [PollFd::new(report.as_fd(), PollFlags::empty())];
    if poll(&mut watched, PollTimeout::ZERO).step(what)? > 0 {
        std::process::exit(COULD_NOT_START.into());
    }
    // Where the machine does not allow it, programs see its processes.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    // SAFETY: this process has one thread, so the child may do what it likes.
    let program = match unsafe { fork() }.step(what)? {
        ForkResult::Child => {
            drop(report);
            setsid().step(what)?;
            return become_program();
        }
        ForkResult::Parent { child } => child,
    };
    let status = reap_until(program).step(what)?;
    // A runner that is gone has no use for it.
    let _ = std::fs::File::from(report).write_all(&status.to_ne_bytes());
    std::process::exit(0)
}

/// The raw wait status of `program`, once it has ended.
fn reap_until(program: Pid) -> nix::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a local of the right type.
        match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, 0) }) {
            Ok(ended) if ended == program.as_raw() => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
