//! Taking commits out of history: a pure plan over rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{CommitRow, Op};
use crate::model::{Branch, Commit, CommitId};

/// What taking commits out depends on.
#[derive(Debug, Clone, Default)]
pub struct Doomed {
    /// The commits to take out.
    pub rows: BTreeMap<Commit, CommitRow>,
    /// The commits whose parent is one of them.
    pub children: BTreeMap<Commit, Vec<CommitId>>,
    /// The branches whose head is one of them.
    pub branches: BTreeMap<Commit, Vec<Branch>>,
}

impl Doomed {
    /// The children that stay, each with its parent of now.
    pub fn orphans(&self) -> impl Iterator<Item = (Commit, CommitId)> + '_ {
        self.children.iter().flat_map(|(commit, children)| {
            let children = children.iter().map(|id| commit.repo.commit(*id));
            let stays = children.filter(|child| !self.rows.contains_key(child));
            stays.map(|child| (child, commit.id))
        })
    }

    /// The nearest ancestor that stays.
    #[must_use]
    pub fn surviving_parent(&self, commit: &Commit) -> Option<CommitId> {
        let mut at = commit.clone();
        loop {
            let parent = self.rows.get(&at).and_then(|row| row.parent)?;
            at = commit.repo.commit(parent);
            if !self.rows.contains_key(&at) {
                return Some(parent);
            }
        }
    }

    /// Whether some descendant of the commit stays.
    #[must_use]
    pub fn has_heir(&self, commit: &Commit) -> bool {
        let mut open = vec![commit.clone()];
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            for child in self.children.get(&at).into_iter().flatten() {
                let child = at.repo.commit(*child);
                if !self.rows.contains_key(&child) {
                    return true;
                }
                if seen.insert(child.clone()) {
                    open.push(child);
                }
            }
        }
        false
    }

    /// The plan as guarded writes: children and heads to the nearest ancestor
    /// that stays, then the commits themselves, newest first.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        let mut ops = Vec::new();
        for (child, parent) in self.orphans() {
            let new = self.surviving_parent(&child.repo.commit(parent));
            ops.push(Op::Reparent { commit: child, expected: Some(parent), new });
        }
        for (commit, branches) in &self.branches {
            let new = self.surviving_parent(commit);
            let moved = branches.iter().cloned();
            let expected = Some(commit.id);
            ops.extend(moved.map(|branch| Op::MoveHead { branch, expected, new }));
        }
        let mut rows: Vec<_> = self.rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.seq));
        ops.extend(rows.into_iter().map(|row| Op::DeleteCommit(row.commit)));
        ops
    }
}
