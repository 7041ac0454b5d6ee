//! Messages between processes of one machine: JSON, a message a packet, with
//! descriptors.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, accept4, bind, connect, getsockopt, listen, recvmsg, sendmsg, setsockopt, socket,
    socketpair, sockopt,
};
use nix::sys::time::TimeVal;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, in bytes.
pub const LONGEST: usize = 128 << 10;

/// How many descriptors a message can carry.
pub const DESCRIPTORS: usize = 64;

/// How often a message is sent again because too many descriptors are on their
/// way, and how long after.
const ATTEMPTS: u32 = 5000;
const PAUSE: Duration = Duration::from_millis(1);

/// How long a process that has died may take to let go of its socket.
const DYING: Duration = Duration::from_secs(5);

/// One end of a connection. What was sent arrives, also when the sender dies
/// right after.
#[derive(Debug)]
pub struct Packets(OwnedFd);

impl Packets {
    /// Both ends of a new connection.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (one, other) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Connects to whoever listens at `path`, who may accept it later.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let fd = open()?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self(fd))
    }

    /// Lets the next process that is started have this end.
    pub fn pass_on(&self) -> io::Result<RawFd> {
        fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.0.as_raw_fd())
    }

    /// The end that this process was started with as `number`.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        // SAFETY: whoever started this process has opened the descriptor for
        // it; a number that is none is found out by the next call.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self(fd))
    }

    /// The same end once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Has sending and receiving fail that take as long.
    pub fn limit(&self, patience: Option<Duration>) -> io::Result<()> {
        let patience = patience.unwrap_or_default();
        let seconds = patience.as_secs().try_into().unwrap_or(i64::MAX);
        let time = TimeVal::new(seconds, patience.subsec_micros().into());
        setsockopt(&self.0, sockopt::ReceiveTimeout, &time)?;
        Ok(setsockopt(&self.0, sockopt::SendTimeout, &time)?)
    }

    /// Sends one message.
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > LONGEST || fds.len() > DESCRIPTORS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for a message"));
        }
        let raw: Vec<RawFd> = fds.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights };
        let (vectors, flags) = ([IoSlice::new(&text)], MsgFlags::MSG_NOSIGNAL);
        let mut attempts = 0;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &vectors, rights, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                // The other end has yet to receive what was sent before.
                Err(Errno::ETOOMANYREFS) if attempts < ATTEMPTS => {
                    attempts += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message; `None` when the other end is closed. One that cannot
    /// be understood is an error of kind `InvalidData`, after which the next
    /// can be received.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut text = vec![0; LONGEST];
        let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS]);
        let mut vectors = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut vectors, Some(&mut space), flags) {
                Ok(message) => break message,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = Vec::new();
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for us,
                // and nobody else in this process knows them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        match message.bytes {
            0 => Ok(None),
            _ if cut => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a message lost some of itself"))
            }
            size => Ok(Some((serde_json::from_slice(&text[..size])?, fds))),
        }
    }
}

impl From<OwnedFd> for Packets {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?)
}

/// A socket that others connect to. It goes away with this.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    /// Which file it is: another program may have put its own there.
    file: (u64, u64),
    /// Held for as long as this listens.
    _lock: Flock<File>,
}

impl Listener {
    /// Listens at `path`, in place of a socket that a dead process has left, for
    /// this user and root.
    ///
    /// `AddrInUse` when one that lives listens there. The file beside the socket
    /// that says so stays: without it two could listen that both have just come.
    pub fn bind(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket"));
            }
            Ok(_) | Err(_) => {}
        }
        let lock = lock(&beside(path, ".lock"))?;
        // Put there in one step, so that who connects finds one or the other.
        let new = beside(path, ".new");
        drop(fs::remove_file(&new));
        let fd = open()?;
        bind(fd.as_raw_fd(), &UnixAddr::new(&new)?)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        listen(&fd, Backlog::MAXCONN)?;
        let file = identity(&new)?;
        fs::rename(&new, path)?;
        Ok(Self { fd, path: path.to_owned(), file, _lock: lock })
    }

    /// Waits for the next who connects; `None` for somebody who may not.
    pub fn accept(&self) -> io::Result<Option<Packets>> {
        let fd = match accept4(self.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
            Err(Errno::EINTR | Errno::ECONNABORTED) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let peer = getsockopt(&fd, sockopt::PeerCredentials)?.uid();
        let trusted = peer == 0 || peer == nix::unistd::geteuid().as_raw();
        Ok(trusted.then_some(Packets(fd)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // Who connects hears that nobody listens, either way.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Locks the file at `path` for this process alone.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let options = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let (mut file, asked) = (options?, Instant::now());
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) if asked.elapsed() < DYING => file,
            Err((_, Errno::EWOULDBLOCK)) => {
                let reason = "another process listens there; end it, or name another path";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
            }
            Err((_, error)) => return Err(error.into()),
        };
        thread::sleep(PAUSE);
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests;
