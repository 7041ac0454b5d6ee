//! Commits, pending and there.

use std::collections::BTreeSet;

use super::rows::Rows;
use crate::catalog::{Back, CommitQuery, CommitRow, Result};
use crate::model::{Commit, CommitId, Repo};

/// Commits that are not inserted yet come after all that are.
pub const FRESH: u64 = 1 << 62;

impl Rows {
    pub async fn commit(&self, commit: &Commit) -> Result<Option<CommitRow>> {
        match self.commits.get(commit) {
            Some(row) => Ok(Some(row.clone())),
            None if self.emptied.contains(&commit.repo) => Ok(None),
            None => self.base.commit(commit).await,
        }
    }

    /// Those not inserted yet, oldest first.
    fn fresh(&self) -> Vec<&CommitRow> {
        let mut rows: Vec<_> = self.commits.values().filter(|row| row.seq >= FRESH).collect();
        rows.sort_by_key(|row| row.seq);
        rows
    }

    pub async fn commits(&self, query: &CommitQuery) -> Result<Vec<CommitRow>> {
        let asked = |row: &&CommitRow| {
            row.commit.repo == query.repo
                && query.branch.as_ref().is_none_or(|branch| row.branch.as_ref() == Some(branch))
                && query.origin.is_none_or(|origin| row.origin == origin)
                && query.after.is_none_or(|seq| row.seq > seq)
                && query.before.is_none_or(|seq| row.seq < seq)
        };
        let mut fresh: Vec<_> = self.fresh().into_iter().filter(asked).cloned().collect();
        let mut below = match self.emptied.contains(&query.repo) {
            true => Vec::new(),
            false => self.base.commits(query).await?,
        };
        for row in &mut below {
            if let Some(changed) = self.commits.get(&row.commit) {
                row.clone_from(changed);
            }
        }
        let mut rows = match query.oldest_first {
            true => {
                below.extend(fresh);
                below
            }
            false => {
                fresh.reverse();
                fresh.extend(below);
                fresh
            }
        };
        rows.truncate(query.limit);
        Ok(rows)
    }

    pub async fn commits_by_prefix(
        &self,
        repo: &Repo,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CommitId>> {
        let of_repo = self.commits.keys().filter(|commit| commit.repo == *repo);
        let named = of_repo.filter(|commit| commit.id.to_hex().starts_with(prefix));
        let mut ids: BTreeSet<_> = named.map(|commit| commit.id).collect();
        if !self.emptied.contains(repo) {
            ids.extend(self.base.commits_by_prefix(repo, prefix, limit).await?);
        }
        Ok(ids.into_iter().take(limit).collect())
    }

    pub async fn sets_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CommitId>> {
        let named = self.commits.keys().filter(|commit| commit.id.to_hex().starts_with(prefix));
        let mut ids: BTreeSet<_> = named.map(|commit| commit.id).collect();
        ids.extend(self.base.sets_by_prefix(prefix, limit).await?);
        Ok(ids.into_iter().take(limit).collect())
    }

    pub async fn ancestor(&self, commit: &Commit, back: Back) -> Result<Option<CommitRow>> {
        let (mut at, mut back) = (commit.clone(), back);
        // What is below a commit that is not pending is not pending either.
        while let Some(row) = self.commits.get(&at) {
            if is_it(row, back) {
                return Ok(Some(row.clone()));
            }
            let Some(parent) = row.parent else { return Ok(None) };
            if let Back::Steps(steps) = &mut back {
                *steps -= 1;
            }
            at = at.repo.commit(parent);
        }
        match self.emptied.contains(&at.repo) {
            true => Ok(None),
            false => self.base.ancestor(&at, back).await,
        }
    }

    pub async fn ancestors(
        &self,
        commit: &Commit,
        until: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<CommitRow>> {
        let mut at = commit.clone();
        let mut found = Vec::new();
        while let Some(row) = self.commits.get(&at) {
            if found.len() == limit || Some(at.id) == until {
                return Ok(found);
            }
            found.push(row.clone());
            let Some(parent) = row.parent else { return Ok(found) };
            at = at.repo.commit(parent);
        }
        if !self.emptied.contains(&at.repo) {
            let rest = self.base.ancestors(&at, until, limit - found.len()).await?;
            found.extend(rest);
        }
        Ok(found)
    }

    pub async fn children(&self, commit: &Commit) -> Result<Vec<CommitId>> {
        let mut children = match self.emptied.contains(&commit.repo) {
            true => Vec::new(),
            false => self.base.children(commit).await?,
        };
        let of = |row: &&CommitRow| row.commit.repo == commit.repo && row.parent == Some(commit.id);
        children.extend(self.fresh().into_iter().filter(of).map(|row| row.commit.id));
        Ok(children)
    }

    pub async fn commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        let mut rows = self.base.commit_set(id).await?;
        rows.retain(|row| !self.emptied.contains(&row.commit.repo));
        for row in &mut rows {
            if let Some(changed) = self.commits.get(&row.commit) {
                row.clone_from(changed);
            }
        }
        rows.extend(self.fresh().into_iter().filter(|row| row.commit.id == id).cloned());
        Ok(rows)
    }
}

/// Whether this is the ancestor that is looked for.
fn is_it(row: &CommitRow, back: Back) -> bool {
    match back {
        Back::Steps(steps) => steps == 0,
        Back::Number(number) => row.number == number,
        Back::Good => row.is_good(),
        Back::GoodAt(time) => row.is_good() && row.finished.is_some_and(|at| at <= time),
    }
}
