//! Which transactions there are.

use super::HELD;
use crate::catalog::{TransactionRow, TransactionState};
use crate::model::{Branch, Timestamp};
use crate::repo::{Repos, Result};

/// Which transactions to list.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Only those in one of these states; in any when empty.
    pub states: Vec<TransactionState>,
    /// Only those of this branch.
    pub branch: Option<Branch>,
    /// Only those whose lease has not lapsed.
    pub held: bool,
}

impl TransactionFilter {
    /// The states in which the catalog may have what is seen in one that is
    /// wanted.
    fn stored_states(&self) -> Vec<TransactionState> {
        let mut states = self.states.clone();
        if states.contains(&TransactionState::Orphaned) {
            states.extend(HELD);
        }
        states
    }

    fn takes(&self, row: &TransactionRow, now: Timestamp) -> bool {
        (self.states.is_empty() || self.states.contains(&row.state))
            && self.branch.as_ref().is_none_or(|branch| row.branch == *branch)
            && (!self.held || row.lease_until >= now)
    }
}

impl Repos {
    /// The transactions that are `wanted`; oldest first.
    pub async fn list_transactions(
        &self,
        wanted: &TransactionFilter,
    ) -> Result<Vec<TransactionRow>> {
        let rows = self.catalog.transactions(&wanted.stored_states()).await?;
        let rows = rows.into_iter().map(|row| self.seen_now(row));
        let now = self.clock.now();
        Ok(rows.filter(|row| wanted.takes(row, now)).collect())
    }
}
