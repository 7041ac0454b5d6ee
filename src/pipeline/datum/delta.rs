//! Changes between two sets.

use std::collections::HashSet;
use std::hash::Hash;

/// What takes an old set to a new one. A changed member is removed in its old
/// form and added in its new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta<T> {
    /// In the old set only.
    pub removed: Vec<T>,
    /// In the new set only.
    pub added: Vec<T>,
}

impl<T> Default for Delta<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), added: Vec::new() }
    }
}

impl<T> Delta<T> {
    /// Whether old and new are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

impl<T: Clone + Eq + Hash> Delta<T> {
    /// Compares two sets.
    #[must_use]
    pub fn between(old: &[T], new: &[T]) -> Self {
        let (before, after) = (set(old), set(new));
        Self {
            removed: old.iter().filter(|one| !after.contains(one)).cloned().collect(),
            added: new.iter().filter(|one| !before.contains(one)).cloned().collect(),
        }
    }

    /// The members in both sets, given the new one.
    #[must_use]
    pub fn kept(&self, new: &[T]) -> Vec<T> {
        let added = set(&self.added);
        new.iter().filter(|one| !added.contains(one)).cloned().collect()
    }

    /// The old set, given the new one. Order is not kept.
    #[must_use]
    pub fn old(&self, new: &[T]) -> Vec<T> {
        let mut old = self.kept(new);
        old.extend(self.removed.iter().cloned());
        old
    }
}

fn set<T: Eq + Hash>(members: &[T]) -> HashSet<&T> {
    members.iter().collect()
}
