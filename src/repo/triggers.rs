//! Branches that follow another of their repo on conditions.

use std::collections::BTreeMap;

use super::graph::Changes;
use super::{Attempts, RepoError, Repos, Result};
use crate::catalog::{Back, BranchRow, CommitRow, Op, PipelineRow, Trigger};
use crate::model::{Branch, CommitId, Timestamp};
use crate::pipeline::spec::is_of_input;
use crate::pipeline::trigger::{Growth, check, holds};

impl Repos {
    /// Moves the triggered branches of a repo to the commit about to finish,
    /// watched branches before those that watch them. Schedules are for
    /// [`Repos::move_by_schedule`].
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
        let bytes = before.as_ref().map_or(0, |row| row.root.bytes);
        let growth = Growth {
            commits,
            bytes: finished.root.bytes.saturating_sub(bytes),
            before: before.and_then(|row| row.finished),
            now: finished.finished.unwrap_or(finished.started),
        };
        Ok(holds(trigger, &growth))
    }

    /// Refuses triggers that make no sense, and those that lead in a circle.
    pub(super) async fn check_trigger(
        &self,
        branch: &Branch,
        trigger: &Trigger,
        provenance: &[Branch],
    ) -> Result<()> {
        check(trigger)?;
        if !provenance.is_empty() {
            let what = format!("branch {branch} derives from others and cannot have a trigger");
            return Err(RepoError::refused(what, "trigger another branch"));
        }
        let rows = self.catalog.branches(&branch.repo).await?;
        let mut watched = trigger.branch.clone();
        // A chain without a circle is no longer than there are branches.
        for _ in 0..=rows.len() {
            if watched == branch.name.as_str() {
                let what = format!("branch {branch} cannot trigger itself");
                return Err(RepoError::refused(what, "name another branch of the repo"));
            }
            let row = rows.iter().find(|row| row.branch.name.as_str() == watched);
            match row.and_then(|row| row.trigger.as_ref()) {
                Some(next) => watched.clone_from(&next.branch),
                None => break,
            }
        }
        Ok(())
    }

    /// Branches that a schedule moves, oldest first.
    pub async fn scheduled_branches(&self) -> Result<Vec<BranchRow>> {
        let scheduled =
            |row: &BranchRow| row.trigger.as_ref().is_some_and(|trigger| !trigger.cron.is_empty());
        let rows = self.catalog.triggered_branches().await?;
        Ok(rows.into_iter().filter(scheduled).collect())
    }

    /// Moves a branch with a schedule to the newest commit that the branch it
    /// watches had finished at `tick`, and derives what follows. `None` when it
    /// is there or further on already.
    pub async fn move_by_schedule(
        &self,
        branch: &Branch,
        tick: Timestamp,
    ) -> Result<Option<CommitRow>> {
        let mut attempts = Attempts::new();
        loop {
            let Some(row) = self.catalog.branch(branch).await? else { return Ok(None) };
            let Some(target) = self.due_at(&row, tick).await? else { return Ok(None) };
            let new = Some(target.commit.id);
            let mut changes = Changes::default();
            changes.heads.insert(branch.clone(), target.commit.id);
            let triggered = self.triggered(&target, &mut changes).await?;
            let derived = self.derive(&changes, self.clock.commit_id()).await?;
            let mut ops = derived.guards;
            ops.push(Op::MoveHead { branch: branch.clone(), expected: row.head, new });
            ops.extend(triggered);
            ops.extend(derived.plan.into_ops());
            match self.catalog.apply(ops).await {
                Ok(()) => return Ok(Some(target)),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// The commit a scheduled branch goes to, if that is ahead of its head.
    async fn due_at(&self, row: &BranchRow, tick: Timestamp) -> Result<Option<CommitRow>> {
        let repo = &row.branch.repo;
        let watched = row.trigger.as_ref().filter(|trigger| !trigger.cron.is_empty());
        let Some(Ok(watched)) = watched.map(|trigger| trigger.branch.parse()) else {
            return Ok(None);
        };
        let watched = self.catalog.branch(&repo.branch(watched)).await?;
        let Some(head) = watched.and_then(|row| row.head) else { return Ok(None) };
        let target = self.catalog.ancestor(&repo.commit(head), Back::GoodAt(tick)).await?;
        let before = match row.head {
            Some(head) => self.catalog.commit(&repo.commit(head)).await?,
            None => None,
        };
        let before = before.map(|row| row.finished);
        Ok(target.filter(|target| before.is_none_or(|before| before < target.finished)))
    }

    /// Creates the branches that inputs wait on, and gives them their triggers.
    pub(super) async fn put_triggers(
        &self,
        triggers: &BTreeMap<Branch, Trigger>,
    ) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        for (branch, trigger) in triggers {
            let before = self.catalog.branch(branch).await?;
            let provenance = before.as_ref().map_or(&[][..], |row| &row.provenance);
            self.check_trigger(branch, trigger, provenance).await?;
            if before.as_ref().is_none_or(|row| row.trigger.as_ref() != Some(trigger)) {
                let trigger = Some(trigger);
                ops.extend(self.put_branch(branch, before.as_ref(), None, provenance, trigger));
            }
        }
        Ok(ops)
    }

    /// Deletes the branches that inputs of the pipeline waited on, but for
    /// those in `keep` and those that somebody else reads.
    pub(super) async fn drop_waiting(&self, row: &PipelineRow, keep: &[Branch]) -> Result<Vec<Op>> {
        let own: Vec<Branch> = self.wiring_of(row, true).into_keys().collect();
        let mut ops = Vec::new();
        for branch in row.inputs.iter().filter(|branch| !keep.contains(branch)) {
            if !is_of_input(row.pipeline.name.as_str(), &branch.name) {
                continue;
            }
            let Some(found) = self.catalog.branch(branch).await? else { continue };
            let below = self.catalog.downstream(std::slice::from_ref(branch)).await?;
            let reads = |other: &BranchRow| other.provenance.contains(branch);
            if !below.iter().any(|other| reads(other) && !own.contains(&other.branch)) {
                ops.push(Op::DeleteBranch { branch: branch.clone(), expected: found.head });
            }
        }
        Ok(ops)
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
