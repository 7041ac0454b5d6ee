//! Commit sets: everything that carries one id. Squash, drop, delete.

use std::collections::{BTreeMap, BTreeSet};

use super::removal::Doomed;
use super::{Attempts, RepoError, Repos, Result};
use crate::catalog::{CommitRow, Origin, Reach};
use crate::model::{Commit, CommitId, RepoKind};

/// The commits of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSet {
    /// The id.
    pub id: CommitId,
    /// Its place in the order of sets, for paging.
    pub seq: u64,
    /// Its commits, upstream first.
    pub commits: Vec<CommitRow>,
}

impl Repos {
    /// The commits of a set, upstream first.
    pub async fn inspect_commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        let rows = self.catalog.commit_set(id).await?;
        match rows.is_empty() {
            true => {
                Err(RepoError::NotFound { kind: "commit set", name: id.to_string(), nearest: None })
            }
            false => Ok(rows),
        }
    }

    /// Commit sets, newest first, those before `before` (a `seq`).
    pub async fn list_commit_sets(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<CommitSet>> {
        let mut sets = Vec::new();
        for (id, seq) in self.catalog.commit_sets(before, limit).await? {
            let commits = self.catalog.commit_set(id).await?;
            sets.push(CommitSet { id, seq, commits });
        }
        Ok(sets)
    }

    /// Removes a set of finished commits that all have children; the data
    /// lives on in the children. Sets that derive from it forbid it, or go too
    /// when `recursive`. Answers what was removed.
    pub async fn squash(&self, id: CommitId, recursive: bool) -> Result<Vec<Commit>> {
        let mut attempts = Attempts::new();
        loop {
            let doomed = self.doomed_sets(id, recursive).await?;
            for (commit, row) in &doomed.rows {
                if row.is_open() {
                    return Err(RepoError::NotFinished { commit: commit.clone() });
                }
                if !doomed.has_heir(commit) {
                    let what = format!("cannot squash {commit}: it has no children");
                    return Err(RepoError::refused(what, "drop it, or commit on top of it first"));
                }
            }
            match self.remove(doomed).await {
                Err(RepoError::Catalog(e)) => attempts.again(e)?,
                done => return done,
            }
        }
    }

    /// Removes a set of commits none of which has a child; heads go back to
    /// the parents. Sets that derive from it forbid it, or go too when
    /// `recursive`. Answers what was removed.
    pub async fn drop_set(&self, id: CommitId, recursive: bool) -> Result<Vec<Commit>> {
        let mut attempts = Attempts::new();
        loop {
            let doomed = self.doomed_sets(id, recursive).await?;
            if let Some((child, parent)) = doomed.orphans().next() {
                let parent = child.repo.commit(parent);
                let what = format!("cannot drop {parent}: {child} is its child");
                return Err(RepoError::refused(what, "squash it, or drop the child first"));
            }
            match self.remove(doomed).await {
                Err(RepoError::Catalog(e)) => attempts.again(e)?,
                done => return done,
            }
        }
    }

    /// Removes one input commit and, with their jobs, all commits derived from
    /// it. Children get its parent as theirs; heads go back to parents.
    /// Answers what was removed.
    pub async fn delete_commit(&self, commit: &Commit) -> Result<Vec<Commit>> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.inspect_commit(commit).await?;
            if row.origin == Origin::Auto || !row.provenance.is_empty() {
                let what = format!("cannot delete {commit}: it derives from other commits");
                return Err(RepoError::refused(what, "delete the input commit it derives from"));
            }
            let mut rows = vec![row];
            for derived in self.catalog.subvenance(commit, Reach::All).await? {
                rows.extend(self.catalog.commit(&derived).await?);
            }
            let doomed = self.doomed(rows).await?;
            match self.remove(doomed).await {
                Err(RepoError::Catalog(e)) => attempts.again(e)?,
                done => return done,
            }
        }
    }

    /// A set, and when `recursive` those that derive from it.
    async fn doomed_sets(&self, id: CommitId, recursive: bool) -> Result<Doomed> {
        let mut rows: BTreeMap<Commit, CommitRow> = BTreeMap::new();
        let mut open = vec![id];
        let mut seen = BTreeSet::from([id]);
        while let Some(set) = open.pop() {
            for row in self.inspect_commit_set(set).await? {
                for derived in self.catalog.subvenance(&row.commit, Reach::Direct).await? {
                    if seen.contains(&derived.id) {
                        continue;
                    }
                    if !recursive {
                        let what = format!("commit {derived} derives from {}", row.commit);
                        let remedy = "remove the sets that derive from it too";
                        return Err(RepoError::refused(what, remedy));
                    }
                    seen.insert(derived.id);
                    open.push(derived.id);
                }
                rows.insert(row.commit.clone(), row);
            }
        }
        self.doomed(rows.into_values().collect()).await
    }

    async fn doomed(&self, rows: Vec<CommitRow>) -> Result<Doomed> {
        let mut doomed = Doomed::default();
        for row in rows {
            let commit = row.commit.clone();
            self.check_spec(&commit).await?;
            let children = self.catalog.children(&commit).await?;
            doomed.children.insert(commit.clone(), children);
            let branches = self.catalog.branches_at(&commit).await?;
            let branches = branches.into_iter().map(|row| row.branch).collect();
            doomed.branches.insert(commit.clone(), branches);
            doomed.rows.insert(commit, row);
        }
        Ok(doomed)
    }

    /// A pipeline's current spec stays.
    async fn check_spec(&self, commit: &Commit) -> Result<()> {
        if commit.repo.kind != RepoKind::Spec {
            return Ok(());
        }
        match self.pipeline_named_as(&commit.repo).await? {
            Some(row) if row.spec_commit == commit.id => {
                let what = format!("commit {commit} is the spec of pipeline {}", row.pipeline);
                Err(RepoError::refused(what, "delete or update the pipeline first"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the commits out; a conflict is the caller's to plan again.
    async fn remove(&self, doomed: Doomed) -> Result<Vec<Commit>> {
        let removed: Vec<_> = doomed.rows.keys().cloned().collect();
        let _removing = self.removing.lock().await;
        let _rewriting = self.rewriting.lock().await;
        // What the store alone knows must not name a parent that is gone.
        let orphans: Vec<_> = doomed.orphans().collect();
        for (child, parent) in &orphans {
            let mut row = self.inspect_commit(child).await?;
            row.parent = doomed.surviving_parent(&child.repo.commit(*parent));
            if !row.is_open() {
                self.write_object(&row).await?;
            }
        }
        let mut ops = doomed.into_ops();
        ops.push(self.note_removal(&removed).await?);
        if let Err(error) = self.catalog.apply(ops).await {
            for (child, _) in &orphans {
                self.restore_object(child).await?;
            }
            return Err(error.into());
        }
        self.delete_objects().await?;
        Ok(removed)
    }
}
