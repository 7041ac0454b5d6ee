//! An agent's side: what it has in its hands, and hands over.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use serde_json::Value;
use tokio::sync::mpsc;

use super::protocol::{ToAgent, ToKeeper, VERSION};
use crate::packets::Packets;

/// How often a keeper that is away is looked for.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a session is gone on with.
#[derive(Debug)]
pub struct Held {
    /// The kernel's first request.
    pub init: Vec<u8>,
    /// What it was answered.
    pub answer: Vec<u8>,
    /// What a successor has to know.
    pub note: Value,
    /// The connection to the kernel.
    pub device: OwnedFd,
    /// The memory with the table of inodes.
    pub table: OwnedFd,
    /// What else there is, by name.
    pub kept: BTreeMap<String, OwnedFd>,
}

impl Held {
    /// The same descriptors once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        let kept = self.kept.iter().map(|(name, fd)| Ok((name.clone(), fd.try_clone()?)));
        Ok(Self {
            init: self.init.clone(),
            answer: self.answer.clone(),
            note: self.note.clone(),
            device: self.device.try_clone()?,
            table: self.table.try_clone()?,
            kept: kept.collect::<io::Result<_>>()?,
        })
    }
}

/// What is kept of all sessions of this process: by a keeper, and here, for a
/// keeper that takes the place of one that ends.
#[derive(Debug)]
pub struct Keeping {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keeper: Option<Packets>,
    sessions: BTreeMap<String, Held>,
}

/// Sessions that a predecessor has left.
pub type Found = Vec<(String, Held)>;

impl Keeping {
    /// Without a keeper: what is served ends with this process.
    #[must_use]
    pub fn alone() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    /// With the keeper at `path`; waits until nobody else serves what it keeps.
    /// Answers what that one has left, and tells `later` of what a keeper has
    /// that comes later: when there is none within `patience` this goes on, and
    /// looks for it.
    pub fn with(
        path: &Path,
        patience: Duration,
        later: mpsc::UnboundedSender<Found>,
    ) -> io::Result<(Arc<Self>, Found)> {
        let keeping = Self::alone();
        let until = Instant::now() + patience;
        let found = loop {
            match keeping.connect(path) {
                Ok(found) => break found,
                Err(error) if Instant::now() >= until => {
                    tracing::warn!(%error, "there is no keeper yet: who uses a volume sees this \
                                            process end");
                    break Vec::new();
                }
                Err(_) => thread::sleep(AGAIN),
            }
        };
        let (this, path) = (Arc::clone(&keeping), path.to_owned());
        thread::Builder::new().name("pfs-keeper".into()).spawn(move || this.watch(path, later))?;
        Ok((keeping, found))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a keeper has what is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.lock().keeper.is_some()
    }

    /// Hands everything over whenever the keeper is another one.
    fn watch(&self, path: PathBuf, later: mpsc::UnboundedSender<Found>) {
        loop {
            let keeper = self.lock().keeper.as_ref().map(Packets::try_clone);
            if let Some(Ok(keeper)) = keeper {
                await_end(&keeper);
                self.lock().keeper = None;
                tracing::warn!("the keeper is gone");
            }
            while let Err(error) = self.connect(&path).map(|found| {
                tracing::info!("a keeper has everything");
                // Nobody need be waiting for more.
                drop(later.send(found));
            }) {
                tracing::debug!(%error, "no keeper");
                thread::sleep(AGAIN);
            }
        }
    }

    /// Connects to the keeper at `path`, and hands over what there is; answers
    /// what it has that is not known here.
    fn connect(&self, path: &Path) -> io::Result<Found> {
        let keeper = Packets::connect(path)?;
        keeper.send(&ToKeeper::Hello { version: VERSION }, &[])?;
        let found = welcome(&keeper)?;
        keeper.limit(Some(PATIENCE))?;
        let mut state = self.lock();
        for (id, held) in &state.sessions {
            hand_over(&keeper, id, held)?;
        }
        let found = found.into_iter().filter(|(id, _)| !state.sessions.contains_key(id));
        let found: Found = found.collect();
        for (id, held) in &found {
            state.sessions.insert(id.clone(), held.try_clone()?);
        }
        state.keeper = Some(keeper);
        Ok(found)
    }

    /// Keeps a session from now on, in place of one of the same id.
    pub fn hold(&self, id: &str, held: Held) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(keeper) = &state.keeper
            && let Err(error) = hand_over(keeper, id, &held)
        {
            tracing::warn!(%error, id, "the keeper does not have a session yet");
            // It is connected to anew, and then told everything.
            let _ = shutdown(keeper.as_fd().as_raw_fd(), Shutdown::Both);
            state.keeper = None;
        }
        state.sessions.insert(id.to_owned(), held);
        Ok(())
    }

    /// What a successor has to know of a session.
    fn note(&self, id: &str, note: Value) {
        let mut state = self.lock();
        let Some(held) = state.sessions.get_mut(id) else { return };
        held.note = note.clone();
        state.say(&ToKeeper::Note { id: id.to_owned(), note }, None);
    }

    fn keep(&self, id: &str, name: &str, fd: OwnedFd) {
        let mut state = self.lock();
        let message = ToKeeper::Keep { id: id.to_owned(), name: name.to_owned() };
        state.say(&message, Some(&fd));
        if let Some(held) = state.sessions.get_mut(id) {
            held.kept.insert(name.to_owned(), fd);
        }
    }

    fn release(&self, id: &str, name: &str) {
        let mut state = self.lock();
        if let Some(held) = state.sessions.get_mut(id) {
            held.kept.remove(name);
        }
        state.say(&ToKeeper::Release { id: id.to_owned(), name: name.to_owned() }, None);
    }

    /// Keeps a session no longer.
    pub fn forget(&self, id: &str) {
        let mut state = self.lock();
        state.sessions.remove(id);
        state.say(&ToKeeper::Forget { id: id.to_owned() }, None);
    }

    /// What there is to say about the session `id`.
    #[must_use]
    pub fn of(self: &Arc<Self>, id: String) -> Keep {
        Keep { keeping: Arc::clone(self), id }
    }
}

impl State {
    /// Says it to the keeper, if there is one. A keeper that is gone is told
    /// everything anew.
    fn say(&self, message: &ToKeeper, fd: Option<&OwnedFd>) {
        let fds: Vec<_> = fd.into_iter().map(AsFd::as_fd).collect();
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.send(message, &fds)
        {
            tracing::debug!(%error, "the keeper does not listen");
        }
    }
}

/// What is kept of one session.
#[derive(Debug, Clone)]
pub struct Keep {
    keeping: Arc<Keeping>,
    id: String,
}

impl Keep {
    /// Keeps `held` as the session, before anybody is answered.
    pub fn hold(&self, held: Held) -> io::Result<()> {
        self.keeping.hold(&self.id, held)
    }

    /// Notes what a successor has to know, in place of what was noted before.
    pub fn note(&self, note: Value) {
        self.keeping.note(&self.id, note);
    }

    /// Has `fd` kept as `name`.
    pub fn keep(&self, name: &str, fd: OwnedFd) {
        self.keeping.keep(&self.id, name, fd);
    }

    /// Has what is kept as `name` let go.
    pub fn release(&self, name: &str) {
        self.keeping.release(&self.id, name);
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the keeper said something else than expected")
}

/// What the keeper has, once nobody else serves it.
fn welcome(keeper: &Packets) -> io::Result<Found> {
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let count = match keeper.receive()?.ok_or_else(ended)? {
        (ToAgent::Welcome { sessions, .. }, _) => sessions,
        (ToAgent::Refused { reason }, _) => return Err(io::Error::other(reason)),
        (ToAgent::Kept { .. } | ToAgent::Session { .. } | ToAgent::Held, _) => {
            return Err(unexpected());
        }
    };
    let (mut found, mut kept) = (Vec::with_capacity(count), BTreeMap::new());
    while found.len() < count {
        let (message, fds) = keeper.receive()?.ok_or_else(ended)?;
        match message {
            ToAgent::Kept { names } => kept.extend(names.into_iter().zip(fds)),
            ToAgent::Session { id, init, answer, note, names } => {
                let mut fds = fds.into_iter();
                let (Some(device), Some(table)) = (fds.next(), fds.next()) else {
                    return Err(unexpected());
                };
                kept.extend(names.into_iter().zip(fds));
                let kept = std::mem::take(&mut kept);
                found.push((id, Held { init, answer, note, device, table, kept }));
            }
            ToAgent::Welcome { .. } | ToAgent::Held | ToAgent::Refused { .. } => {
                return Err(unexpected());
            }
        }
    }
    Ok(found)
}

fn hand_over(keeper: &Packets, id: &str, held: &Held) -> io::Result<()> {
    let Held { init, answer, note, device, table, kept } = held;
    let message = ToKeeper::Hold {
        id: id.to_owned(),
        init: init.clone(),
        answer: answer.clone(),
        note: note.clone(),
    };
    keeper.send(&message, &[device.as_fd(), table.as_fd()])?;
    match keeper.receive()? {
        Some((ToAgent::Held, _)) => {}
        Some((ToAgent::Refused { reason }, _)) => return Err(io::Error::other(reason)),
        Some(_) | None => return Err(unexpected()),
    }
    for (name, fd) in kept {
        let message = ToKeeper::Keep { id: id.to_owned(), name: name.clone() };
        keeper.send(&message, &[fd.as_fd()])?;
    }
    Ok(())
}

/// Waits until the other end is closed; receives nothing.
fn await_end(keeper: &Packets) {
    loop {
        let mut fds = [PollFd::new(keeper.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if !fds[0].any().unwrap_or(true) => {}
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
