//! What an operation has waited for: noted where it waits, read where it ends.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Content: the object store, or the cache directory.
    Content,
    /// An answer of the server.
    Server,
}

/// How long an operation has waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// For content.
    pub content: Duration,
    /// For the server.
    pub server: Duration,
}

tokio::task_local! {
    static WAITS: Cell<Waits>;
}

/// Does `work` as one operation: what it waits for itself is noted. What tasks
/// that it starts wait for is not.
pub fn observed<F: Future>(work: F) -> impl Future<Output = F::Output> {
    WAITS.scope(Cell::default(), work)
}

/// Notes the time that `work` takes as waiting, where somebody observes.
pub async fn on<F: Future>(what: WaitFor, work: F) -> F::Output {
    let began = Instant::now();
    let output = work.await;
    // Without an observer nobody wants to know.
    let _ = WAITS.try_with(|noted| {
        let mut waits = noted.get();
        match what {
            WaitFor::Content => waits.content += began.elapsed(),
            WaitFor::Server => waits.server += began.elapsed(),
        }
        noted.set(waits);
    });
    output
}

/// What the present operation has waited for; `None` where it is not observed.
#[must_use]
pub fn so_far() -> Option<Waits> {
    WAITS.try_with(Cell::get).ok()
}
