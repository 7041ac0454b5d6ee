//! Asking a holder to have its mount served by another program.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

/// How long a holder listens to somebody who has called it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a holder is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    binary: PathBuf,
}

/// What it answers: why not, or nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    refused: Option<String>,
}

/// The name of a holder's socket; it is no file, and ends with the holder.
fn address(holder: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("pfs-holder-{holder}"))
}

/// Where a holder is asked.
#[derive(Debug)]
pub(super) struct Requests(UnixListener);

/// Somebody who waits for an answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) binary: PathBuf,
    stream: UnixStream,
}

impl Requests {
    pub(super) fn listen() -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The next who asks, when it may.
    pub(super) fn accept(&self) -> Option<Request> {
        let (stream, _) = self.0.accept().ok()?;
        let peer = getsockopt(&stream, PeerCredentials).ok()?.uid();
        if peer != 0 && peer != nix::unistd::geteuid().as_raw() {
            return None;
        }
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).ok()?;
        let Asked { binary } = serde_json::from_str(&line).ok()?;
        Some(Request { binary, stream })
    }
}

impl AsFd for Requests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Request {
    pub(super) fn answer(mut self, outcome: Result<(), String>) {
        let answer = serde_json::to_string(&Answer { refused: outcome.err() });
        // Who has gone away need not be told.
        drop(writeln!(self.stream, "{}", answer.unwrap_or_default()));
    }
}

/// Has the mount that process `holder` holds served by the program `binary`;
/// answers why not when it goes on as it was.
pub fn upgrade(holder: u32, binary: &Path) -> io::Result<Result<(), String>> {
    let mut stream = UnixStream::connect_addr(&address(holder)?)?;
    let peer = getsockopt(&stream, PeerCredentials)?;
    if u32::try_from(peer.pid()).ok() != Some(holder) {
        return Err(io::Error::other("another process answers in place of the holder"));
    }
    writeln!(stream, "{}", serde_json::to_string(&Asked { binary: binary.to_owned() })?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::other("the holder did not answer"));
    }
    let Answer { refused } = serde_json::from_str(&line)?;
    Ok(refused.map_or(Ok(()), Err))
}
