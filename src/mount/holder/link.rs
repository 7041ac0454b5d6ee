//! What a holder and its servers say to each other: JSON, a message a packet,
//! with descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use pfs_daemonset::{DESCRIPTORS, Packets};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the messages. A server of another one cannot take over.
pub(super) const VERSION: u32 = 1;

/// What a server says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToHolder {
    /// With a descriptor that hangs up when the server dies, whatever is left
    /// of it.
    Alive,
    /// The directory is mounted. With its connection and the table of inodes.
    Hold { init: Vec<u8>, answer: Vec<u8> },
    /// What a successor has to know, in place of what was said before.
    Note { note: serde_json::Value },
    /// With a descriptor, to be kept under this name.
    Keep { name: String },
    /// What was kept is no longer needed.
    Release { name: String },
    /// The successor could serve, and would answer the kernel this.
    Prepared { answer: Vec<u8> },
    /// It could not, or cannot.
    Refused { reason: String },
    /// Where it mounts, and what it logs to.
    At { dir: PathBuf, log: Option<PathBuf> },
    /// Somebody is about to be answered, for the first time.
    Answering,
    /// Requests are answered, signals are heeded.
    Serving,
    /// Whatever there was to do has been done: what follows is the end.
    Done,
}

/// What a holder says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToServer {
    /// Mount as the command line says.
    First,
    /// Prepare to take over. With the table, to look at.
    Prepare { version: u32, init: Vec<u8>, note: serde_json::Value },
    /// With some of what was kept, by name: more than fits into what follows.
    Kept { kept: Vec<String> },
    /// Take over. With the connection, the table, and the rest, by name.
    Go { note: serde_json::Value, kept: Vec<String> },
}

/// One end of the connection between a holder and a server.
#[derive(Debug)]
pub struct Link(Packets);

impl Link {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Packets::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Lets the next process that is started have this end.
    pub(super) fn pass_on(&self) -> io::Result<RawFd> {
        self.0.pass_on()
    }

    /// The end that this process was started with.
    pub(super) fn inherited(number: RawFd) -> io::Result<Self> {
        Packets::inherited(number).map(Self)
    }

    pub(super) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.send(message, fds)
    }

    /// Has a server that has prepared itself take over, with all that was kept.
    pub(super) fn go(
        &self,
        note: &serde_json::Value,
        [device, table]: [BorrowedFd<'_>; 2],
        kept: &[(String, OwnedFd)],
    ) -> io::Result<()> {
        let names =
            |some: &[(String, OwnedFd)]| some.iter().map(|(name, _)| name.clone()).collect();
        let (rest, before) = kept.split_at(kept.len().min(DESCRIPTORS - 2));
        for some in before.chunks(DESCRIPTORS) {
            let fds: Vec<_> = some.iter().map(|(_, fd)| fd.as_fd()).collect();
            self.send(&ToServer::Kept { kept: names(some) }, &fds)?;
        }
        let fds: Vec<_> =
            [device, table].into_iter().chain(rest.iter().map(|(_, fd)| fd.as_fd())).collect();
        self.send(&ToServer::Go { note: note.clone(), kept: names(rest) }, &fds)
    }

    /// The same end once more.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The next message; `None` when the other end is closed.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        self.0.receive()
    }
}

impl From<OwnedFd> for Link {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
