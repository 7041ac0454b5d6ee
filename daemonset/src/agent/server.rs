//! An agent's side.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::backing::Openers;
use super::protocol::{Answer, Asked, Request, VERSION};
use crate::node::{Device, Node, Volumes};
use crate::packets::{Listener, Packets};
use crate::publish::{Code, Refusal};

/// How long who connects may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody is let in when nobody can be.
const PAUSE: Duration = Duration::from_millis(100);

/// Requests that are being answered.
#[derive(Debug, Default)]
pub struct Calls {
    under_way: AtomicUsize,
    ended: Notify,
}

/// One of them.
struct Call(Arc<Calls>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

impl Calls {
    fn begin(self: &Arc<Self>) -> Call {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        Call(Arc::clone(self))
    }

    /// Returns when none is under way.
    pub async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Has `node` answer whoever connects, for as long as this process runs. A driver
/// that opens files for the kernel is given to `openers`.
pub fn serve<V: Volumes>(
    listener: Listener,
    node: Arc<Node<V>>,
    openers: Arc<Openers>,
) -> io::Result<Arc<Calls>> {
    let (calls, runtime) = (Arc::<Calls>::default(), Handle::current());
    let begun = Arc::clone(&calls);
    thread::Builder::new().name("pfs-agent".into()).spawn(move || {
        loop {
            match listener.accept() {
                Ok(Some(driver)) => {
                    let (node, call) = (Arc::clone(&node), begun.begin());
                    let openers = Arc::clone(&openers);
                    runtime.spawn(async move {
                        if let Err(error) = answer(driver, &node, &openers).await {
                            tracing::debug!(%error, "a driver was not answered");
                        }
                        drop(call);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody can connect");
                    thread::sleep(PAUSE);
                }
            }
        }
    })?;
    Ok(calls)
}

async fn answer<V: Volumes>(
    driver: Packets,
    node: &Arc<Node<V>>,
    openers: &Openers,
) -> io::Result<()> {
    driver.limit(Some(PATIENCE))?;
    let asked = tokio::task::spawn_blocking(move || {
        let asked = driver.receive::<Asked>();
        asked.map(|asked| (driver, asked))
    });
    let (driver, asked) = asked.await.map_err(io::Error::other)??;
    let Some((Asked { version, request }, fds)) = asked else { return Ok(()) };
    let answers = match version {
        VERSION => match carry_out(node, request, fds).await {
            Ok(Some(answers)) => answers,
            Ok(None) => return openers.take(driver),
            Err(refusal) => refuse(refusal),
        },
        _ => {
            let what = format!("this agent speaks version {VERSION}, not {version}");
            refuse(Refusal::new(Code::FailedPrecondition, what))
        }
    };
    let sent = tokio::task::spawn_blocking(move || {
        answers.iter().try_for_each(|answer| driver.send(answer, &[]))
    });
    sent.await.map_err(io::Error::other)?
}

fn refuse(refusal: Refusal) -> Vec<Answer> {
    vec![Answer::Refused(refusal)]
}

/// What a request is answered with; `None` when the driver offers to open files,
/// for which its connection is kept.
async fn carry_out<V: Volumes>(
    node: &Arc<Node<V>>,
    request: Request,
    fds: Vec<OwnedFd>,
) -> Result<Option<Vec<Answer>>, Refusal> {
    Ok(Some(match request {
        Request::Prepare(publish) => vec![Answer::Prepared(node.prepare(*publish).await?)],
        Request::Attach { key, connection } => {
            let missing = || Refusal::invalid("no connection came along");
            let fd = fds.into_iter().next().ok_or_else(missing)?;
            node.attach(&key, Device { fd, connection }).await?;
            vec![Answer::Done]
        }
        Request::Unpublish(key) => {
            node.unpublish(&key).await?;
            vec![Answer::Done]
        }
        Request::OpenFiles => return Ok(None),
        Request::Ready => vec![Answer::Ready(node.is_ready())],
        Request::Stats(key) => vec![Answer::Stats(node.stats(&key).await?)],
        Request::List => {
            let listed = node.list().into_iter().map(|one| Answer::Listed(Box::new(one)));
            listed.chain([Answer::Done]).collect()
        }
    }))
}
