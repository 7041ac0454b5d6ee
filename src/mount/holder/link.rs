//! What a holder and its servers say to each other: JSON, a message a packet,
//! with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the messages. A server of another one cannot take over.
pub(super) const VERSION: u32 = 1;

/// The longest message, in bytes.
const LONGEST: usize = 128 << 10;

/// How many descriptors a message can carry.
const DESCRIPTORS: usize = 64;

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
pub struct Link(OwnedFd);

impl Link {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (one, other) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Lets the next process that is started have this end.
    pub(super) fn pass_on(&self) -> io::Result<RawFd> {
        fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.0.as_raw_fd())
    }

    /// The end that this process was started with.
    pub(super) fn inherited(number: RawFd) -> io::Result<Self> {
        // SAFETY: whoever started this process has opened the descriptor for
        // it; a number that is none is found out by the next call.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self(fd))
    }

    pub(super) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > LONGEST || fds.len() > DESCRIPTORS {
            return Err(io::Error::other("too much for a holder to keep"));
        }
        let raw: Vec<RawFd> = fds.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights };
        let (vectors, flags) = ([IoSlice::new(&text)], MsgFlags::MSG_NOSIGNAL);
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &vectors, rights, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
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
        let mut text = vec![0; LONGEST];
        let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS]);
        let mut vectors = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut vectors, Some(&mut space), flags) {
                Ok(message) => break message,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for us,
                // and nobody else in this process knows them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        match message.bytes {
            0 => Ok(None),
            size => Ok(Some((serde_json::from_slice(&text[..size])?, fds))),
        }
    }
}

impl From<OwnedFd> for Link {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
