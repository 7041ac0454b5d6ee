//! The process that outlives the servers of a mount.
//!
//! It keeps the connection to the kernel, the table of live inodes and what
//! else must not end with a server, starts a server, and when that dies by
//! accident starts a successor at once. It is small on purpose: it does nothing
//! that could end it. See docs/adr/0010.

mod brake;
mod link;
mod process;
mod remains;
mod server;
mod spare;
#[cfg(test)]
mod tests;
mod upgrade;

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use pfs_daemonset::limits;

pub use link::Link;
pub use server::{Estate, Preparation, Task, answering, environment, is_called, is_held};
pub use upgrade::upgrade;

use self::brake::{Brake, Death, PAUSE_AT_MOST};
use self::link::{ToHolder, ToServer, VERSION};
use self::process::{Program, Server, timeout};
use self::remains::Leftover;
use self::spare::Spare;
use self::upgrade::{Request, Requests};
use super::device::is_connected;

/// How long a mount is held that nobody serves and that is to end.
const GRACE: Duration = Duration::from_secs(10);

/// What the end of a process says that was killed.
const KILLED: u8 = 128 + Signal::SIGKILL as u8;

/// Holds one mount from beginning to end; the result is the exit code.
#[must_use]
pub fn main() -> u8 {
    process::close_inherited();
    let held = Holder::new().and_then(|mut holder| {
        let code = holder.run();
        holder.drop_spare();
        code
    });
    match held {
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
    /// Signals that a server was sent, and when.
    sent: Vec<(Signal, Instant)>,
    /// Signals for a server that does not heed them yet, and since when there
    /// are some that ask for the end.
    waiting: Vec<Signal>,
    asked: Option<Instant>,
    brake: Brake,
    spare: Option<Spare>,
    leftover: Leftover,
    /// Who waits for the server to serve, and its program.
    upgrading: Option<(Request, Program)>,
    /// The directory, and the log.
    at: Option<(PathBuf, Option<PathBuf>)>,
    /// Why the last one that did not serve did not.
    reason: Option<String>,
}

/// What there is to be done.
enum Event {
    Said(ToHolder, Vec<OwnedFd>),
    Signal(Signal),
    Request,
    Ended,
    /// One that had died before has ended.
    Reaped,
    /// Nobody serves, for too long after the end was asked for.
    Overdue,
}

impl Holder {
    fn new() -> io::Result<Self> {
        let mut heeded = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            heeded.add(signal);
        }
        heeded.thread_block()?;
        process::call_this("pfs-holder");
        // A mount of many repos keeps many.
        limits::raise_descriptors();
        Ok(Self {
            program: Program::this()?,
            signals: SignalFd::with_flags(&heeded, SfdFlags::SFD_CLOEXEC)?,
            requests: None,
            held: None,
            note: serde_json::Value::Null,
            kept: Vec::new(),
            done: false,
            sent: Vec::new(),
            waiting: Vec::new(),
            asked: None,
            brake: Brake::default(),
            spare: None,
            leftover: Leftover::default(),
            upgrading: None,
            at: None,
            reason: None,
        })
    }

    fn run(&mut self) -> io::Result<u8> {
        let mut server = self.program.start()?;
        server.link.send(&ToServer::First, &[])?;
        loop {
            match self.next(&server)? {
                Event::Said(message, fds) => self.heard(&mut server, message, fds)?,
                Event::Signal(signal) if server.serving.is_some() || self.held.is_none() => {
                    self.pass_on(signal, &server);
                }
                Event::Signal(signal) => self.postpone(signal),
                Event::Request => self.requested(&mut server)?,
                Event::Ended => {
                    if let Some(code) = self.ended(&mut server)? {
                        return Ok(code);
                    }
                    let Some(successor) = self.succeed(&server)? else {
                        return Ok(self.give_up(server));
                    };
                    self.leftover.add(mem::replace(&mut server, successor).into_remains());
                }
                Event::Reaped => {}
                Event::Overdue => return Ok(self.give_up(server)),
            }
            self.leftover.reap();
        }
    }

    fn next(&self, server: &Server) -> io::Result<Event> {
        loop {
            let polled = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![polled(server.link.as_fd()), polled(self.signals.as_fd())];
            let deaths = fds.len();
            fds.extend(server.death());
            let requests = fds.len();
            // One after the other.
            let requests_now = self.requests.iter().filter(|_| self.upgrading.is_none());
            fds.extend(requests_now.map(|requests| polled(requests.as_fd())));
            let leftover = fds.len();
            fds.extend(self.leftover.ends());
            let left = self.asked.map(|asked| GRACE.saturating_sub(asked.elapsed()));
            match poll(&mut fds, left.map_or(PollTimeout::NONE, timeout)) {
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
                && let Some(signal) = self.signal()?
            {
                return Ok(Event::Signal(signal));
            }
            if ready[requests..leftover].contains(&true) {
                return Ok(Event::Request);
            }
            if ready[leftover..].contains(&true) {
                return Ok(Event::Reaped);
            }
            if self.is_overdue() {
                return Ok(Event::Overdue);
            }
        }
    }

    /// The next signal, which is there.
    fn signal(&self) -> io::Result<Option<Signal>> {
        let Some(signal) = self.signals.read_signal()? else { return Ok(None) };
        let signal = i32::try_from(signal.ssi_signo).unwrap_or(0);
        Ok(Some(Signal::try_from(signal)?))
    }

    /// Keeps a signal for whoever serves next.
    fn postpone(&mut self, signal: Signal) {
        self.waiting.push(signal);
        // Whether a hang-up asks for the end is for a server to say.
        if signal != Signal::SIGHUP {
            self.asked.get_or_insert_with(Instant::now);
        }
    }

    fn pass_on(&mut self, signal: Signal, server: &Server) {
        self.sent.retain(|(known, _)| *known != signal);
        self.sent.push((signal, Instant::now()));
        server.signal(signal);
    }

    /// Keeps what a server that has died was sent a moment before, and perhaps
    /// never heard.
    fn postpone_sent(&mut self) {
        for (signal, at) in mem::take(&mut self.sent) {
            if at.elapsed() < GRACE {
                self.postpone(signal);
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() >= GRACE)
    }

    /// Waits so long, unless the end is asked for and nobody serves for too
    /// long.
    fn pause(&mut self, pause: Duration) -> io::Result<()> {
        let until = Instant::now() + pause;
        loop {
            let mut left = until.saturating_duration_since(Instant::now());
            if let Some(asked) = self.asked {
                left = left.min(GRACE.saturating_sub(asked.elapsed()));
            }
            if left.is_zero() {
                return Ok(());
            }
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout(left)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    let signal = self.signal()?;
                    signal.into_iter().for_each(|signal| self.postpone(signal));
                }
                Err(error) => return Err(error.into()),
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
            ToHolder::Note { note } => self.noted(note),
            ToHolder::Keep { name } => {
                self.kept.retain(|(known, _)| *known != name);
                self.kept.extend(fds.next().map(|fd| (name, fd)));
            }
            ToHolder::Release { name } => self.kept.retain(|(known, _)| *known != name),
            ToHolder::At { dir, log } => self.at = Some((dir, log)),
            ToHolder::Answering => server.answered = true,
            ToHolder::Serving => {
                server.serving = Some(Instant::now());
                (self.asked, self.reason) = (None, None);
                if let Some((request, program)) = self.upgrading.take() {
                    (self.program, self.brake) = (program, Brake::default());
                    self.drop_spare();
                    request.answer(Ok(()));
                }
                // Whoever has started this one waits no longer.
                process::leave()?;
                mem::take(&mut self.waiting)
                    .into_iter()
                    .for_each(|signal| self.pass_on(signal, server));
                self.keep_a_spare();
            }
            ToHolder::Done => self.done = true,
            // Asked for, and waited for, elsewhere.
            ToHolder::Prepared { .. } => {}
            ToHolder::Refused { reason } => self.reason = Some(reason),
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
        let ended = server.wait_served_out()?;
        let connected = is_connected(&held.device);
        let served = server.serving.map(|since| since.elapsed());
        let killed = ended.is_none_or(|code| code == KILLED);
        let death = Death { served, answered: server.answered, killed };
        self.brake.died(death, Instant::now());
        if let Some((request, _)) = self.upgrading.take() {
            let reason = self.reason.as_deref().unwrap_or("it ended at once");
            request.answer(Err(format!("{reason}; the version before goes on")));
        }
        // Without a mount there is only what the last one has to end.
        let is_over = !connected && (self.kept.is_empty() || self.brake.has_ended());
        self.postpone_sent();
        Ok(is_over.then_some(ended.unwrap_or(KILLED)))
    }

    /// Starts a successor for `server`, which has died, unless there is to be
    /// none.
    fn succeed(&mut self, server: &Server) -> io::Result<Option<Server>> {
        self.pause(self.brake.pause().saturating_sub(server.started.elapsed()))?;
        while !self.is_overdue() && !self.brake.is_hopeless(Instant::now()) {
            // A machine without memory or processes may have some later.
            let Ok((mut successor, is_prepared)) = self.spare_or_new() else {
                self.pause(PAUSE_AT_MOST)?;
                continue;
            };
            let prepared = if is_prepared { Ok(()) } else { self.prepare(&successor) };
            let Err(error) = prepared.and_then(|()| self.go(&successor)) else {
                return Ok(Some(successor));
            };
            successor.discard();
            self.reason = Some(error.to_string());
            self.brake.died(Death::default(), Instant::now());
            self.pause(self.brake.pause())?;
        }
        Ok(None)
    }

    /// Starts the process that will be the next server, if there has to be one,
    /// and has it get ready: both take longer than everything else that a successor
    /// does. What takes memory it makes when it is to serve.
    fn keep_a_spare(&mut self) {
        if self.held.is_none() || self.spare.is_some() {
            return;
        }
        // Without one a successor is started when it is needed.
        let Ok(mut spare) = self.program.start() else { return };
        match self.prepare(&spare) {
            Ok(()) => self.spare = Some(Spare::new(spare, &self.note)),
            Err(_) => spare.discard(),
        }
    }

    fn drop_spare(&mut self) {
        self.spare.take().iter_mut().for_each(Spare::discard);
    }

    /// Keeps a note, for which a spare has to be ready, too.
    fn noted(&mut self, note: serde_json::Value) {
        self.note = note;
        if self.spare.as_ref().is_some_and(|spare| !spare.is_for(&self.note)) {
            self.drop_spare();
            self.keep_a_spare();
        }
    }

    /// The next server, and whether it was prepared.
    fn spare_or_new(&mut self) -> io::Result<(Server, bool)> {
        match self.spare.take().and_then(Spare::into_server) {
            Some(server) => Ok((server, true)),
            None => Ok((self.program.start()?, false)),
        }
    }

    /// Ends without a server; answers the exit code. Who uses the mount is told
    /// so by the kernel, and what was written is in the staging directories.
    fn give_up(&mut self, mut server: Server) -> u8 {
        // An error says that it has ended.
        drop(server.stop());
        let reason = self.reason.take().unwrap_or_else(|| "nobody serves it".into());
        if let Some((request, _)) = self.upgrading.take() {
            request.answer(Err(reason.clone()));
        }
        (self.held, self.requests) = (None, None);
        self.kept.clear();
        self.leftover.add(server.into_remains());
        let Some((dir, log)) = &self.at else { return 1 };
        if self.leftover.reap() {
            process::abort(dir);
        }
        let shown = dir.display();
        let text = format!(
            "error: the mount at {shown} ends, no process can go on with it: {reason}\n\
             hint: pfs umount {shown} says what was written and not committed; \
             mount there again to go on with it\n"
        );
        process::say(&text);
        process::log(log.as_deref(), &text);
        1
    }

    fn prepare(&self, server: &Server) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let (init, note) = (held.init.clone(), self.note.clone());
        let message = ToServer::Prepare { version: VERSION, init, note };
        server.link.send(&message, &[held.table.as_fd()])
    }

    fn go(&self, server: &Server) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        server.link.go(&self.note, [held.device.as_fd(), held.table.as_fd()], &self.kept)
    }

    /// Somebody asks for another program to serve the mount.
    fn requested(&mut self, server: &mut Server) -> io::Result<()> {
        let Some(request) = self.requests.as_ref().and_then(Requests::accept) else {
            return Ok(());
        };
        let program = Program::at(&request.binary)
            .map_err(|error| format!("{}: {error}", request.binary.display()));
        let replaced = program.and_then(|program| self.replace(server, &program).map(|()| program));
        match replaced {
            // Answered when it serves, or has died before.
            Ok(program) => self.upgrading = Some((request, program)),
            Err(reason) => request.answer(Err(reason)),
        }
        Ok(())
    }

    /// Has `program` take over from `server`, if it can.
    fn replace(&mut self, server: &mut Server, program: &Program) -> Result<(), String> {
        let mut successor = program.start().map_err(|error| error.to_string())?;
        if let Err(reason) = self.exchange(server, &mut successor) {
            successor.discard();
            return Err(reason);
        }
        successor.started = Instant::now();
        self.leftover.add(mem::replace(server, successor).into_remains());
        Ok(())
    }

    fn exchange(&mut self, server: &mut Server, successor: &mut Server) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        self.prepare(successor).map_err(failed)?;
        let answer = successor.await_prepared()?;
        if self.held.as_ref().is_none_or(|held| held.answer != answer) {
            return Err("it asks the kernel for other options; unmount, and mount again".into());
        }
        server.stop().map_err(failed)?;
        if self.ended(server).map_err(failed)?.is_some() {
            return Err("it was unmounted meanwhile".into());
        }
        self.go(successor).map_err(failed)
    }
}
