//! What the catalog keeps of the past, and for how long.

use super::{Repos, Result};
use crate::catalog::{EventRow, Op};

/// The newest events stay, so many of them.
const EVENTS_KEPT: u64 = 100_000;
/// Events that one sweep drops at most.
const SWEEP: u64 = 10_000;

/// Events, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The events, in order.
    pub rows: Vec<EventRow>,
    /// Whether events before these are gone: what they were about must be
    /// looked at without them.
    pub missed: bool,
}

impl Repos {
    /// Drops the oldest events beyond the newest 100,000, at most 10,000 of
    /// them at a time.
    pub async fn trim_events(&self) -> Result<()> {
        self.trim_events_to(EVENTS_KEPT).await
    }

    async fn trim_events_to(&self, keep: u64) -> Result<()> {
        Ok(self.catalog.apply(vec![Op::TrimEvents { keep, most: SWEEP }]).await?)
    }

    /// Events after `seq`, up to `limit`.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Events> {
        let rows = self.catalog.events(seq, limit).await?;
        // Numbers have no gaps but where the oldest were dropped.
        let missed = rows.first().is_some_and(|row| row.seq > seq + 1);
        Ok(Events { rows, missed })
    }
}

#[cfg(test)]
#[path = "retention/tests.rs"]
mod tests;
