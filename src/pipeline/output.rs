//! Merging the outputs of datums into one tree.

use std::collections::BTreeMap;

use crate::model::{DatumId, TreePath};
use crate::pipeline::spec::OnConflict;

/// Two datums wrote one path, and the spec does not say what then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("datums {first} and {second} both wrote {path}{}", if *.mixed {
    ", one a file and the other a directory"
} else {
    ""
})]
pub struct OutputConflict {
    /// The path.
    pub path: TreePath,
    /// The datum with the smaller id.
    pub first: DatumId,
    /// The other.
    pub second: DatumId,
    /// Whether one has a file where the other has a directory.
    pub mixed: bool,
}

/// Who writes what, as it becomes known.
///
/// Directories may be shared. A path that is a file for one datum and a
/// directory for another is a conflict under every policy.
#[derive(Debug)]
pub struct OutputClaims {
    policy: OnConflict,
    claims: BTreeMap<TreePath, Claim>,
}

#[derive(Debug, Clone)]
struct Claim {
    is_dir: bool,
    datums: Vec<DatumId>,
}

impl OutputClaims {
    /// No claims yet.
    #[must_use]
    pub const fn new(policy: OnConflict) -> Self {
        Self { policy, claims: BTreeMap::new() }
    }

    /// Records that `datum` wrote `path`, a directory or something else.
    ///
    /// # Errors
    /// When another datum's claim stands against it.
    pub fn claim(
        &mut self,
        datum: DatumId,
        path: &TreePath,
        is_dir: bool,
    ) -> Result<(), OutputConflict> {
        let Some(claim) = self.claims.get_mut(path) else {
            self.claims.insert(path.clone(), Claim { is_dir, datums: vec![datum] });
            return Ok(());
        };
        if claim.datums.contains(&datum) {
            return Ok(());
        }
        // A claim is made by at least one datum.
        let other = claim.datums[0];
        let mixed = claim.is_dir != is_dir;
        let refused = match self.policy {
            OnConflict::Fail => !is_dir || mixed,
            OnConflict::Concat | OnConflict::Last => mixed,
        };
        if refused {
            let (first, second) = (datum.min(other), datum.max(other));
            return Err(OutputConflict { path: path.clone(), first, second, mixed });
        }
        claim.datums.push(datum);
        Ok(())
    }

    /// For each path, in order, whether it is a directory and the datums whose
    /// contents make it up, in the order to join them.
    pub fn into_merged(self) -> impl Iterator<Item = (TreePath, bool, Vec<DatumId>)> {
        let policy = self.policy;
        self.claims.into_iter().map(move |(path, mut claim)| {
            claim.datums.sort_unstable();
            if policy == OnConflict::Last || claim.is_dir {
                claim.datums = claim.datums.split_off(claim.datums.len() - 1);
            }
            (path, claim.is_dir, claim.datums)
        })
    }
}
