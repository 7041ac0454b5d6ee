//! The process that keeps what must not end with the one that serves.
//!
//! For every session that is the connection to the kernel, the kernel's first
//! request and what it was answered, the memory with the table of inodes, other
//! descriptors by name, and a note. It serves nobody and does nothing that could
//! end it. Whoever serves is connected to it, one at a time: the next is let in
//! when the connection of the one before has closed, which is when its last
//! thread has ended and nobody can take a request any more. See docs/adr/0014.

pub mod hands;
mod protocol;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::protocol::{ToAgent, ToKeeper, VERSION};
use crate::limits;
use crate::packets::{DESCRIPTORS, Listener, Packets};

/// How long somebody may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of a session.
struct Session {
    init: Vec<u8>,
    answer: Vec<u8>,
    note: serde_json::Value,
    device: OwnedFd,
    table: OwnedFd,
    kept: Vec<(String, OwnedFd)>,
}

/// Keeps what agents hand over at `socket`, until there is something to read, or
/// the end of it, at `stop`.
pub fn run(socket: &Path, stop: BorrowedFd<'_>) -> io::Result<()> {
    limits::raise_descriptors();
    Keeper { listener: Listener::bind(socket)?, sessions: BTreeMap::new() }.keep(&stop)
}

struct Keeper {
    listener: Listener,
    sessions: BTreeMap<String, Session>,
}

impl Keeper {
    fn keep(&mut self, stop: &BorrowedFd<'_>) -> io::Result<()> {
        while is_next(&self.listener, stop)? {
            let agent = match self.listener.accept() {
                Ok(Some(agent)) => agent,
                Ok(None) => continue,
                Err(error) => {
                    // Out of descriptors or memory, for one: there may be some later.
                    tracing::warn!(%error, "nobody can connect");
                    std::thread::sleep(PATIENCE);
                    continue;
                }
            };
            match self.serve(&agent, stop) {
                Ok(Served::Left) => {}
                Ok(Served::Stopped) => return Ok(()),
                Err(error) => tracing::warn!(%error, "an agent could not be served"),
            }
            // Whoever still has it hears that nobody listens any more.
            drop(agent);
        }
        Ok(())
    }

    /// Serves one agent for as long as it is connected.
    fn serve(&mut self, agent: &Packets, stop: &BorrowedFd<'_>) -> io::Result<Served> {
        agent.limit(Some(PATIENCE))?;
        match agent.receive()? {
            Some((ToKeeper::Hello { version: VERSION }, _)) => {}
            Some(_) => {
                let reason = format!("this keeper speaks version {VERSION}");
                agent.send(&ToAgent::Refused { reason }, &[])?;
                return Ok(Served::Left);
            }
            None => return Ok(Served::Left),
        }
        agent.send(&ToAgent::Welcome { version: VERSION, sessions: self.sessions.len() }, &[])?;
        for (id, session) in &self.sessions {
            session.hand_over(id, agent)?;
        }
        tracing::info!(sessions = self.sessions.len(), "an agent serves");
        agent.limit(None)?;
        while is_next(agent, stop)? {
            match agent.receive() {
                Ok(Some((message, fds))) => self.heard(agent, message, fds)?,
                Ok(None) => {
                    tracing::info!(sessions = self.sessions.len(), "the agent is gone");
                    return Ok(Served::Left);
                }
                // Said by another version, perhaps; no reason to end.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(%error, "an agent was not understood");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Served::Stopped)
    }

    fn heard(&mut self, agent: &Packets, message: ToKeeper, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut fds = fds.into_iter();
        match message {
            ToKeeper::Hello { .. } => {}
            ToKeeper::Hold { id, init, answer, note } => {
                let (Some(device), Some(table)) = (fds.next(), fds.next()) else {
                    let reason = format!("no descriptors came with {id}");
                    return agent.send(&ToAgent::Refused { reason }, &[]);
                };
                let kept = Vec::new();
                let session = Session { init, answer, note, device, table, kept };
                self.sessions.insert(id, session);
                return agent.send(&ToAgent::Held, &[]);
            }
            ToKeeper::Note { id, note } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.note = note;
                }
            }
            ToKeeper::Keep { id, name } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.kept.retain(|(known, _)| *known != name);
                    session.kept.extend(fds.next().map(|fd| (name, fd)));
                }
            }
            ToKeeper::Release { id, name } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.kept.retain(|(known, _)| *known != name);
                }
            }
            ToKeeper::Forget { id } => drop(self.sessions.remove(&id)),
        }
        Ok(())
    }
}

impl Session {
    fn hand_over(&self, id: &str, agent: &Packets) -> io::Result<()> {
        let names = |some: &[(String, OwnedFd)]| -> Vec<String> {
            some.iter().map(|(name, _)| name.clone()).collect()
        };
        let (rest, before) = self.kept.split_at(self.kept.len().min(DESCRIPTORS - 2));
        for some in before.chunks(DESCRIPTORS) {
            let fds: Vec<_> = some.iter().map(|(_, fd)| fd.as_fd()).collect();
            agent.send(&ToAgent::Kept { names: names(some) }, &fds)?;
        }
        let own = [self.device.as_fd(), self.table.as_fd()];
        let fds: Vec<_> = own.into_iter().chain(rest.iter().map(|(_, fd)| fd.as_fd())).collect();
        let message = ToAgent::Session {
            id: id.to_owned(),
            init: self.init.clone(),
            answer: self.answer.clone(),
            note: self.note.clone(),
            names: names(rest),
        };
        agent.send(&message, &fds)
    }
}

enum Served {
    Left,
    Stopped,
}

/// Waits until there is something to receive; answers `false` when this process
/// is to stop.
fn is_next(from: &impl AsFd, stop: &BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        let mut fds = [
            PollFd::new(from.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[1].any().unwrap_or(false) {
            return Ok(false);
        }
        if fds[0].any().unwrap_or(false) {
            return Ok(true);
        }
    }
}
