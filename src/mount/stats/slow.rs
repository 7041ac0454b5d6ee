//! The log of operations that took too long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Operation;
use crate::store::waits::{self, Waits};

/// How many are remembered.
const RECENT: usize = 8;

/// How many lines are logged in a [`SPAN`]; what comes beyond is counted.
const LINES: u32 = 10;
const SPAN: Duration = Duration::from_secs(10);

/// The longest end of a path that is shown.
const SHOWN: usize = 200;

/// Operations that took too long.
#[derive(Debug)]
pub(super) struct SlowLog {
    threshold: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: u64,
    recent: VecDeque<Slow>,
    /// When the present span began, lines in it, and those held back.
    span: Instant,
    lines: u32,
    held: u64,
}

#[derive(Debug)]
struct Slow {
    operation: Operation,
    path: String,
    took: Duration,
    waits: Option<Waits>,
    ended: Instant,
}

impl SlowLog {
    /// Notes what takes `threshold` or longer; nothing when that is zero.
    pub(super) fn new(threshold: Duration) -> Self {
        let (recent, span) = (VecDeque::new(), Instant::now());
        let state = State { count: 0, recent, span, lines: 0, held: 0 };
        Self { threshold, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an operation when it was slow. Called where it ends.
    pub(super) fn ended(
        &self,
        operation: Operation,
        took: Duration,
        path: impl FnOnce() -> Option<String>,
    ) {
        if self.threshold.is_zero() || took < self.threshold {
            return;
        }
        let (path, waits) =
            (path().unwrap_or_else(|| "a file that is gone".to_owned()), waits::so_far());
        let slow = Slow { operation, path: end_of(&path), took, waits, ended: Instant::now() };
        let mut state = self.lock();
        state.count += 1;
        if let Some(held) = state.may_log(slow.ended) {
            slow.log(held);
        }
        state.recent.truncate(RECENT - 1);
        state.recent.push_front(slow);
    }

    /// How many there were, and the last of them.
    pub(super) fn read(&self) -> SlowOperations {
        let state = self.lock();
        SlowOperations {
            count: state.count,
            recent: state.recent.iter().map(Slow::value).collect(),
        }
    }
}

/// The end of a path that is too long to be shown.
fn end_of(path: &str) -> String {
    let from = (path.len().saturating_sub(SHOWN)..).find(|at| path.is_char_boundary(*at));
    path[from.unwrap_or(0)..].to_owned()
}

impl State {
    /// Whether a line may be logged, and how many were not before it.
    fn may_log(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.span) >= SPAN {
            (self.span, self.lines) = (now, 0);
        }
        if self.lines == LINES {
            self.held += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held))
    }
}

impl Slow {
    fn log(&self, held: u64) {
        let waits = self.waits.unwrap_or_default();
        tracing::warn!(
            operation = self.operation.name(),
            path = self.path,
            took = ?self.took,
            for_content = ?waits.content,
            for_server = ?waits.server,
            not_logged_before = held,
            "a slow operation"
        );
    }

    fn value(&self) -> Value {
        let millis = |span: Duration| span.as_millis() as u64;
        json!({
            "operation": self.operation.name(),
            "path": self.path,
            "took_ms": millis(self.took),
            "for_content_ms": self.waits.map(|waits| millis(waits.content)),
            "for_server_ms": self.waits.map(|waits| millis(waits.server)),
            "seconds_ago": self.ended.elapsed().as_secs(),
        })
    }
}

/// Operations that took too long: how many, and the last ones.
#[derive(Debug, Clone, Default)]
pub struct SlowOperations {
    /// How many.
    pub count: u64,
    /// The last ones as JSON, the newest first.
    pub recent: Vec<Value>,
}
