//! The thread that writes: one transaction and one sync for all that waits.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::read;
use super::schema::Lock;
use crate::catalog::{CatalogError, Result};

/// The most batches that share one transaction: bounds how long the first of
/// them waits.
const GROUP: usize = 256;

/// A batch: runs in a savepoint, if there is one, and says what to do once its
/// fate is known.
type Work = Box<dyn FnOnce(Result<&Connection>) -> Done + Send>;

/// What a batch came to.
struct Done {
    keep: bool,
    reply: Box<dyn FnOnce(Result<()>) + Send>,
}

/// The handle to the writing thread; dropping it waits until the thread has
/// closed the database and released the lock.
pub struct Writer {
    queue: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `newest` is told the newest event after each commit.
    pub fn start(conn: Connection, lock: Lock, newest: watch::Sender<u64>) -> Result<Self> {
        let (queue, work) = channel();
        let thread = std::thread::Builder::new()
            .name("catalog-writer".into())
            .spawn(move || {
                serve(&conn, &work, &newest);
                drop(conn);
                drop(lock);
            })
            .map_err(|e| CatalogError::Failed { message: e.to_string() })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` as one atomic step; when it answers an error nothing of it
    /// was written. Durable once this returns.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |conn| {
            let result = conn.and_then(work);
            // A caller that has gone away no longer wants the answer.
            Done {
                keep: result.is_ok(),
                reply: Box::new(move |committed| {
                    // A batch that failed by itself knows best why: a full disk,
                    // say, that made the database give up the whole group.
                    drop(answer.send(result.and_then(|done| committed.map(|()| done))));
                }),
            }
        });
        let gone = || CatalogError::Failed { message: "the catalog writer has ended".into() };
        self.queue.as_ref().ok_or_else(gone)?.send(work).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already.
            drop(thread.join());
        }
    }
}

fn serve(conn: &Connection, work: &Receiver<Work>, newest: &watch::Sender<u64>) {
    while let Ok(first) = work.recv() {
        let group = std::iter::once(first).chain(work.try_iter()).take(GROUP);
        let mut replies = Vec::new();
        let outcome = commit_group(conn, group, &mut replies);
        if outcome.is_ok() {
            announce(conn, newest);
        }
        for reply in replies {
            reply(outcome.clone());
        }
    }
}

type Replies = Vec<Box<dyn FnOnce(Result<()>) + Send>>;

/// Runs every batch in its own savepoint of one transaction. Batches after a
/// failure of the transaction itself stay in the queue.
fn commit_group(
    conn: &Connection,
    group: impl Iterator<Item = Work>,
    replies: &mut Replies,
) -> Result<()> {
    let begun = conn.execute_batch("BEGIN IMMEDIATE").map_err(CatalogError::from);
    for work in group {
        let ran = match &begun {
            Ok(()) => run_batch(conn, work, replies),
            Err(e) => {
                replies.push(work(Err(e.clone())).reply);
                Err(e.clone())
            }
        };
        if ran.is_err() {
            abandon(conn);
            return ran;
        }
    }
    conn.execute_batch("COMMIT").map_err(|e| {
        abandon(conn);
        e.into()
    })
}

/// Runs one batch; an error is one of the transaction, not of the batch.
fn run_batch(conn: &Connection, work: Work, replies: &mut Replies) -> Result<()> {
    let opened = conn.execute_batch("SAVEPOINT batch").map_err(CatalogError::from);
    let done = work(opened.clone().map(|()| conn));
    replies.push(done.reply);
    opened?;
    let end = match done.keep {
        true => "RELEASE batch",
        false => "ROLLBACK TO batch; RELEASE batch",
    };
    Ok(conn.execute_batch(end)?)
}

fn abandon(conn: &Connection) {
    if !conn.is_autocommit() {
        // The next BEGIN reports a transaction that cannot be left.
        drop(conn.execute_batch("ROLLBACK"));
    }
}

fn announce(conn: &Connection, newest: &watch::Sender<u64>) {
    // Followers look again at the next event when this look fails.
    if let Ok(seq) = read::records::newest_event(conn) {
        newest.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }
}
