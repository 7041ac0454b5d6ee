//! Branches that follow another of their repo on conditions.

use super::graph::Changes;
use super::{Repos, Result};
use crate::catalog::{BranchRow, CommitRow, Op, Trigger};
use crate::model::CommitId;

impl Repos {
    /// Moves the triggered branches of a repo to the commit about to finish,
    /// watched branches before those that watch them. Cron conditions are not
    /// evaluated here.
    pub(super) async fn triggered(
        &self,
        finished: &CommitRow,
        changes: &mut Changes,
    ) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        if finished.error.is_some() {
            return Ok(ops);
        }
        let rows = self.catalog.branches(&finished.commit.repo).await?;
        let mut waiting: Vec<_> = rows.into_iter().filter(|row| row.trigger.is_some()).collect();
        while let Some(at) = waiting.iter().position(|row| watches(row, changes)) {
            let row = waiting.swap_remove(at);
            if changes.heads.contains_key(&row.branch) || !self.fires(&row, finished).await? {
                continue;
            }
            let new = Some(finished.commit.id);
            changes.heads.insert(row.branch.clone(), finished.commit.id);
            ops.push(Op::MoveHead { branch: row.branch, expected: row.head, new });
        }
        Ok(ops)
    }

    async fn fires(&self, row: &BranchRow, finished: &CommitRow) -> Result<bool> {
        let Some(trigger) = &row.trigger else { return Ok(false) };
        let before = match row.head {
            Some(id) => self.catalog.commit(&row.branch.repo.commit(id)).await?,
            None => None,
        };
        let commits = match trigger.commits {
            0 => 0,
            most => self.commits_since(finished, row.head, most).await?,
        };
        let bytes = before.map_or(0, |row| row.root.bytes);
        Ok(holds(trigger, commits, finished.root.bytes.saturating_sub(bytes)))
    }

    /// Commits from the one `until` to the one about to finish, counted up to
    /// `most`.
    async fn commits_since(
        &self,
        finished: &CommitRow,
        until: Option<CommitId>,
        most: u64,
    ) -> Result<u64> {
        let Some(parent) = finished.parent else { return Ok(1) };
        if Some(parent) == until {
            return Ok(1);
        }
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        let parent = finished.commit.repo.commit(parent);
        let older = self.catalog.ancestors(&parent, until, limit).await?;
        Ok(1 + older.len() as u64)
    }
}

/// Whether a branch watches one whose head moves.
fn watches(row: &BranchRow, changes: &Changes) -> bool {
    row.trigger.as_ref().is_some_and(|trigger| {
        let moved = |branch: &crate::model::Branch| {
            branch.repo == row.branch.repo && branch.name.as_str() == trigger.branch
        };
        changes.heads.keys().any(moved)
    })
}

fn holds(trigger: &Trigger, commits: u64, grown: u64) -> bool {
    let timed = !trigger.cron.is_empty() || !trigger.rate_limit.is_empty();
    let mut given = Vec::new();
    if trigger.commits > 0 {
        given.push(commits >= trigger.commits);
    }
    if trigger.size > 0 {
        given.push(grown >= trigger.size);
    }
    match (given.is_empty(), trigger.all) {
        (true, _) => !timed,
        (false, true) => !timed && given.into_iter().all(|holds| holds),
        (false, false) => given.into_iter().any(|holds| holds),
    }
}
