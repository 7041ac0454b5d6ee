//! A driver's side.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{Answer, Asked, Request, VERSION};
use crate::node::{Device, Listed, Mounting, Stats};
use crate::packets::Packets;
use crate::publish::{Code, Key, Publish, Refusal};

/// How long an agent may be away: it is replaced from time to time.
const AWAY: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(20);

/// How long an answer may take. Who asks for it has given up before.
const PATIENCE: Duration = Duration::from_secs(150);

/// Asks the agent that listens at a socket.
#[derive(Debug, Clone)]
pub struct AgentClient {
    path: PathBuf,
}

impl AgentClient {
    /// Asks at `path`, where somebody need not listen yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Has a volume prepared; answers how to mount it.
    pub async fn prepare(&self, publish: Publish) -> Result<Mounting, Refusal> {
        match self.ask_one(Request::Prepare(Box::new(publish)), None).await? {
            Answer::Prepared(mounting) => Ok(mounting),
            other => Err(unexpected(other)),
        }
    }

    /// Has a prepared volume served over `device`, the connection of its mount.
    pub async fn attach(&self, key: Key, device: Device) -> Result<(), Refusal> {
        let Device { fd, connection } = device;
        done(self.ask_one(Request::Attach { key, connection }, Some(fd)).await?)
    }

    /// Has a volume end, whose mount was taken away.
    pub async fn unpublish(&self, key: Key) -> Result<(), Refusal> {
        done(self.ask_one(Request::Unpublish(key), None).await?)
    }

    /// Asks what a volume uses.
    pub async fn stats(&self, key: Key) -> Result<Stats, Refusal> {
        match self.ask_one(Request::Stats(key), None).await? {
            Answer::Stats(stats) => Ok(stats),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for all volumes.
    pub async fn list(&self) -> Result<Vec<Listed>, Refusal> {
        let mut listed = Vec::new();
        for answer in self.ask(Request::List, None).await? {
            match answer {
                Answer::Listed(one) => listed.push(*one),
                Answer::Done => {}
                other => return Err(unexpected(other)),
            }
        }
        Ok(listed)
    }

    /// Asks whether volumes can be prepared.
    pub async fn is_ready(&self) -> Result<bool, Refusal> {
        match self.ask_one(Request::Ready, None).await? {
            Answer::Ready(ready) => Ok(ready),
            other => Err(unexpected(other)),
        }
    }

    async fn ask_one(&self, request: Request, fd: Option<OwnedFd>) -> Result<Answer, Refusal> {
        let mut answers = self.ask(request, fd).await?;
        answers.pop().ok_or_else(|| Refusal::internal("the agent did not answer"))
    }

    async fn ask(&self, request: Request, fd: Option<OwnedFd>) -> Result<Vec<Answer>, Refusal> {
        let path = self.path.clone();
        let asked = Asked { version: VERSION, request };
        let answered = tokio::task::spawn_blocking(move || {
            let until = Instant::now() + AWAY;
            loop {
                match ask(&path, &asked, fd.as_ref()) {
                    Err(error) if is_away(&error) && Instant::now() < until => {
                        thread::sleep(AGAIN);
                    }
                    answered => return answered.map_err(|error| away(&path, &error)),
                }
            }
        });
        let answers = answered.await.map_err(|error| Refusal::internal(error.to_string()))??;
        match answers.into_iter().map(refused).collect() {
            Ok(answers) => Ok(answers),
            Err(refusal) => Err(refusal),
        }
    }
}

fn refused(answer: Answer) -> Result<Answer, Refusal> {
    match answer {
        Answer::Refused(refusal) => Err(refusal),
        Answer::Prepared(_)
        | Answer::Stats(_)
        | Answer::Listed(_)
        | Answer::Ready(_)
        | Answer::Done => Ok(answer),
    }
}

fn done(answer: Answer) -> Result<(), Refusal> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: Answer) -> Refusal {
    drop(answer);
    Refusal::internal("the agent answered something else than asked for")
}

/// Whether the agent is not there, or has ended before it answered: everything
/// can be asked again.
fn is_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
    )
}

fn away(path: &Path, error: &io::Error) -> Refusal {
    let what = format!("the node agent at {} does not answer: {error}", path.display());
    Refusal::new(Code::Unavailable, what)
}

/// Asks, and takes answers up to the end.
fn ask(path: &Path, asked: &Asked, fd: Option<&OwnedFd>) -> io::Result<Vec<Answer>> {
    let agent = Packets::connect(path)?;
    agent.limit(Some(PATIENCE))?;
    let fds: Vec<_> = fd.into_iter().map(|fd| fd.as_fd()).collect();
    agent.send(asked, &fds)?;
    let mut answers = Vec::new();
    loop {
        let Some((answer, _)) = agent.receive()? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let more = matches!(answer, Answer::Listed(_));
        answers.push(answer);
        if !more {
            return Ok(answers);
        }
    }
}
