//! The process that outlives the servers of a mount.
//!
//! It keeps the connection to the kernel, the table of live inodes and what
//! else must not end with a server, starts a server, and when that dies by
//! accident starts a successor at once. It is small on purpose: it does nothing
//! that could end it. See docs/adr/0010.

mod link;
mod process;
mod server;
mod upgrade;

use std::env;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use link::Link;
pub use server::{Estate, Preparation, Task};
pub use upgrade::upgrade;

use self::link::{ToHolder, ToServer, VERSION};
use self::process::{Program, Server};
use self::upgrade::Requests;

/// Set for a process that is to be a holder.
const HOLDER: &str = "PFS_MOUNT_HOLDER";

/// A server that has served this long did not die of what it did first.
const STEADY: Duration = Duration::from_millis(2);

/// How long a program that was asked to take over may take to serve.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many successors in a row are started without waiting.
const AT_ONCE: u32 = 3;

/// How long to wait before the first that is, and at most.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);

/// How often a server is started that has only to end what it has begun.
const ENDINGS: u32 = 5;

/// What to set in the environment of a process so that it is a holder.
#[must_use]
pub fn environment() -> (&'static str, &'static str) {
    (HOLDER, "1")
}

/// Whether this process is to be a holder. Ask before anything else is
/// initialised.
#[must_use]
pub fn is_called() -> bool {
    env::var_os(HOLDER).is_some() && env::var_os(server::LINK).is_none()
}

/// Whether this process serves a mount for a holder.
#[must_use]
pub fn is_held() -> bool {
    env::var_os(server::LINK).is_some()
}

/// Holds one mount from beginning to end; the result is the exit code.
#[must_use]
pub fn main() -> u8 {
    process::close_inherited();
    match Holder::new().and_then(|mut holder| holder.run()) {
        Ok(code) => code,
        Err(error) => {
            process::say(&format!("error: the holder of the mount failed: {error}\n"));
            1
        }
    }
}

/// What a successor needs.
struct Held {
    init: Vec<u8>,
    answer: Vec<u8>,
    device: OwnedFd,
    table: OwnedFd,
}

struct Holder {
    program: Program,
    signals: SignalFd,
    requests: Option<Requests>,
    held: Option<Held>,
    note: serde_json::Value,
    kept: Vec<(String, OwnedFd)>,
    /// Whether the server has said that its end will not be an accident.
    done: bool,
    /// Signals for a server that does not heed them yet.
    waiting: Vec<Signal>,
    /// Servers in a row that have died young.
    deaths: u32,
    /// Servers of which something waits for what a successor answers.
    leftover: Vec<Child>,
}

/// What there is to be done.
enum Event {
    Said(ToHolder, Vec<OwnedFd>),
    Signal(Signal),
    Request,
    Ended,
}

impl Holder {
    fn new() -> io::Result<Self> {
        let mut heeded = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            heeded.add(signal);
        }
        heeded.thread_block()?;
        process::call_this("pfs-holder");
        Ok(Self {
            program: Program::this()?,
            signals: SignalFd::with_flags(&heeded, SfdFlags::SFD_CLOEXEC)?,
            requests: None,
            held: None,
            note: serde_json::Value::Null,
            kept: Vec::new(),
            done: false,
            waiting: Vec::new(),
            deaths: 0,
            leftover: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<u8> {
        let mut server = self.program.start()?;
        server.link.send(&ToServer::First, &[])?;
        loop {
            match self.next(&server)? {
                Event::Said(message, fds) => self.heard(&mut server, message, fds)?,
                Event::Signal(signal) if server.serving.is_some() || self.held.is_none() => {
                    server.signal(signal);
                }
                Event::Signal(signal) => self.waiting.push(signal),
                Event::Request => self.requested(&mut server)?,
                Event::Ended => {
                    if let Some(code) = self.ended(&mut server)? {
                        return Ok(code);
                    }
                    let successor = self.succeed(&server)?;
                    self.leftover.push(mem::replace(&mut server, successor).into_child());
                }
            }
            self.leftover.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
    }

    fn next(&self, server: &Server) -> io::Result<Event> {
        loop {
            let polled = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![polled(server.link.as_fd()), polled(self.signals.as_fd())];
            let deaths = fds.len();
            fds.extend(server.death());
            let requests = fds.len();
            fds.extend(self.requests.iter().map(|requests| polled(requests.as_fd())));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            // What a server has said counts before its death.
            if ready[0]
                && let Some((message, fds)) = server.heard()?
            {
                return Ok(Event::Said(message, fds));
            }
            if ready[deaths..requests].contains(&true) {
                return Ok(Event::Ended);
            }
            if ready[1]
                && let Some(signal) = self.signals.read_signal()?
            {
                let signal = i32::try_from(signal.ssi_signo).unwrap_or(0);
                return Ok(Event::Signal(Signal::try_from(signal)?));
            }
            if ready[requests..].contains(&true) {
                return Ok(Event::Request);
            }
        }
    }

    fn heard(
        &mut self,
        server: &mut Server,
        message: ToHolder,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut fds = fds.into_iter();
        match message {
            ToHolder::Alive => server.life = fds.next(),
            ToHolder::Hold { init, answer } => {
                let (Some(device), Some(table)) = (fds.next(), fds.next()) else {
                    return Ok(());
                };
                self.held = Some(Held { init, answer, device, table });
                self.requests = Requests::listen().ok();
            }
            ToHolder::Note { note } => self.note = note,
            ToHolder::Keep { name } => {
                self.kept.retain(|(known, _)| *known != name);
                self.kept.extend(fds.next().map(|fd| (name, fd)));
            }
            ToHolder::Release { name } => self.kept.retain(|(known, _)| *known != name),
            ToHolder::Serving => {
                server.serving = Some(Instant::now());
                // Whoever has started this one waits no longer.
                process::leave()?;
                self.waiting.drain(..).for_each(|signal| server.signal(signal));
            }
            ToHolder::Done => self.done = true,
            // Asked for, and waited for, elsewhere.
            ToHolder::Prepared { .. } => {}
            ToHolder::Refused { reason } => tracing::warn!(reason, "no successor"),
        }
        Ok(())
    }

    /// The server has ended: with which code this process ends, too, unless
    /// there has to be a successor.
    fn ended(&mut self, server: &mut Server) -> io::Result<Option<u8>> {
        // Everything it has said is taken in before the end is looked at.
        while let Some((message, fds)) = server.heard()? {
            self.heard(server, message, fds)?;
        }
        let Some(held) = self.held.as_ref().filter(|_| !self.done) else {
            return server.wait().map(Some);
        };
        let code = server.wait_served_out()?.unwrap_or(1);
        let connected = process::is_connected(&held.device);
        let steady = server.serving.is_some_and(|since| since.elapsed() >= STEADY);
        self.deaths = if steady { 0 } else { self.deaths + 1 };
        // Without a mount there is only what the last one has to end.
        Ok((!connected && (self.kept.is_empty() || self.deaths > ENDINGS)).then_some(code))
    }

    /// Starts a successor for `server`, which has died.
    fn succeed(&mut self, server: &Server) -> io::Result<Server> {
        let again = self.deaths.saturating_sub(AT_ONCE);
        if again > 0 {
            let pause = PAUSE.saturating_mul(1 << again.min(16)).min(PAUSE_AT_MOST);
            std::thread::sleep(pause.saturating_sub(server.started.elapsed()));
        }
        loop {
            match self.start_successor() {
                Ok(server) => return Ok(server),
                // A machine without memory or processes may have some later.
                Err(_) => std::thread::sleep(PAUSE_AT_MOST),
            }
        }
    }

    fn start_successor(&self) -> io::Result<Server> {
        let successor = self.program.start()?;
        self.prepare(&successor)?;
        self.go(&successor)?;
        Ok(successor)
    }

    fn prepare(&self, server: &Server) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let (init, note) = (held.init.clone(), self.note.clone());
        let message = ToServer::Prepare { version: VERSION, init, note };
        server.link.send(&message, &[held.table.as_fd()])
    }

    fn go(&self, server: &Server) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let mut fds = vec![held.device.as_fd(), held.table.as_fd()];
        fds.extend(self.kept.iter().map(|(_, fd)| fd.as_fd()));
        let kept = self.kept.iter().map(|(name, _)| name.clone()).collect();
        server.link.send(&ToServer::Go { note: self.note.clone(), kept }, &fds)
    }

    /// Somebody asks for another program to serve the mount.
    fn requested(&mut self, server: &mut Server) -> io::Result<()> {
        let Some(request) = self.requests.as_ref().and_then(Requests::accept) else {
            return Ok(());
        };
        let outcome = match Program::at(&request.binary) {
            Ok(program) => self.replace(server, program),
            Err(error) => Err(format!("{}: {error}", request.binary.display())),
        };
        request.answer(outcome);
        Ok(())
    }

    /// Has `program` take over from `server`, if it can.
    fn replace(&mut self, server: &mut Server, program: Program) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let mut successor = program.start().map_err(failed)?;
        self.prepare(&successor).map_err(failed)?;
        let answer = successor.await_prepared();
        let same = |answer: &Vec<u8>| self.held.as_ref().is_some_and(|held| held.answer == *answer);
        if let Err(reason) = answer.and_then(|answer| match same(&answer) {
            true => Ok(()),
            false => Err("it asks the kernel for other options; unmount, and mount again".into()),
        }) {
            successor.discard();
            return Err(reason);
        }
        server.stop().map_err(failed)?;
        let code = self.ended(server).map_err(failed)?;
        if code.is_some() {
            successor.discard();
            return Err("it was unmounted meanwhile".into());
        }
        self.go(&successor).map_err(failed)?;
        successor.started = Instant::now();
        self.leftover.push(mem::replace(server, successor).into_child());
        self.await_serving(server)?;
        (self.deaths, self.program) = (0, program);
        Ok(())
    }

    /// Waits until a successor serves; another one follows if it does not.
    fn await_serving(&mut self, server: &mut Server) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while server.serving.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !server.await_word(left).map_err(|error| error.to_string())? {
                return Err("it ended at once; the version before goes on".into());
            }
            if let Some((message, fds)) = server.heard().map_err(|error| error.to_string())? {
                self.heard(server, message, fds).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}
