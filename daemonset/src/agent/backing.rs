//! Files that the kernel is to read by itself: an agent has them, but to have the
//! kernel open one takes a privilege that only a driver has.
//!
//! A driver connects and stays connected; the agent asks over that connection,
//! one thing after the other, with the descriptors that it is about.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::{Answer, Asked, Request, VERSION};
use crate::packets::Packets;

/// How long a driver may take for an answer: a program waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after an agent was not there it is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// What an agent asks: the device comes along, and the file to open.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Open,
    Close(u32),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Opened(u32),
    Closed,
    /// With the system's number of the error.
    Failed(i32),
}

/// Whichever driver is connected, as an agent sees it.
#[derive(Debug, Default)]
pub struct Openers(Mutex<Option<Packets>>);

impl Openers {
    fn lock(&self) -> MutexGuard<'_, Option<Packets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `driver` is asked, instead of the one before.
    pub(super) fn take(&self, driver: Packets) -> io::Result<()> {
        driver.limit(Some(PATIENCE))?;
        driver.send(&Answer::Done, &[])?;
        *self.lock() = Some(driver);
        Ok(())
    }

    /// Has `file` opened for `device`; answers the kernel's number. An error of
    /// kind `NotConnected` when no driver answers, whatever it has done.
    pub fn open(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32> {
        match self.ask(&Wanted::Open, &[device, file])? {
            Outcome::Opened(number) => Ok(number),
            Outcome::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Outcome::Closed => Err(io::Error::other("the driver closed what was to be opened")),
        }
    }

    /// Has a number closed. Errors as of [`Openers::open`].
    pub fn close(&self, device: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        match self.ask(&Wanted::Close(number), &[device])? {
            Outcome::Closed => Ok(()),
            Outcome::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Outcome::Opened(_) => Err(io::Error::other("the driver opened what was to be closed")),
        }
    }

    /// Who does not answer in time is asked no more: its answer could be taken
    /// for that to another question.
    fn ask(&self, wanted: &Wanted, fds: &[BorrowedFd<'_>]) -> io::Result<Outcome> {
        let mut connected = self.lock();
        let driver = connected.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let answered = driver.send(wanted, fds).and_then(|()| driver.receive());
        match answered {
            Ok(Some((outcome, _))) => Ok(outcome),
            lost => {
                tracing::info!(?lost, "the driver that opens files for the kernel is gone");
                *connected = None;
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
}

/// What a driver is asked to do.
#[derive(Debug)]
pub enum Ask<'a> {
    /// To have the kernel open a file for a device; answered with its number.
    Open(BorrowedFd<'a>, BorrowedFd<'a>),
    /// To have it let go of a number of a device; any answer will do.
    Close(BorrowedFd<'a>, u32),
}

/// Does for the agent at `path`, and for those that come after it, what `carry_out`
/// does, for as long as this process runs.
pub fn open_for(
    path: &Path,
    carry_out: impl Fn(Ask<'_>) -> io::Result<u32> + Send + 'static,
) -> io::Result<()> {
    let path = path.to_owned();
    let work = move || {
        loop {
            if let Err(error) = follow(&path, &carry_out) {
                tracing::debug!(%error, "no agent to open files for");
            }
            thread::sleep(AGAIN);
        }
    };
    thread::Builder::new().name("pfs-backing".into()).spawn(work).map(drop)
}

/// Does what one agent asks until it is gone.
fn follow(path: &Path, carry_out: &impl Fn(Ask<'_>) -> io::Result<u32>) -> io::Result<()> {
    let agent = Packets::connect(path)?;
    agent.limit(Some(PATIENCE))?;
    agent.send(&Asked { version: VERSION, request: Request::OpenFiles }, &[])?;
    match agent.receive()? {
        Some((Answer::Done, _)) => {}
        Some(_) | None => return Err(io::Error::other("the agent needs nobody to open files")),
    }
    agent.limit(None)?;
    while let Some((wanted, fds)) = agent.receive()? {
        agent.send(&answer(&wanted, &fds, carry_out), &[])?;
    }
    Ok(())
}

fn answer(
    wanted: &Wanted,
    fds: &[OwnedFd],
    carry_out: &impl Fn(Ask<'_>) -> io::Result<u32>,
) -> Outcome {
    let done = match (wanted, fds) {
        (Wanted::Open, [device, file]) => {
            carry_out(Ask::Open(device.as_fd(), file.as_fd())).map(Outcome::Opened)
        }
        (Wanted::Close(number), [device]) => {
            carry_out(Ask::Close(device.as_fd(), *number)).map(|_| Outcome::Closed)
        }
        (Wanted::Open | Wanted::Close(_), _) => Err(io::ErrorKind::InvalidInput.into()),
    };
    done.unwrap_or_else(|error| Outcome::Failed(error.raw_os_error().unwrap_or(libc::EIO)))
}
