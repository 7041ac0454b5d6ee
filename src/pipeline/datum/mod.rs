//! Datums: what one run of a program gets to see, and how it is identified.

mod delta;
mod evaluate;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use delta::Delta;
pub use evaluate::{LeafMatches, evaluate, evaluate_all, needs_full};

use crate::model::{BranchName, DatumId, Repo, TreePath};
use crate::pipeline::spec::{Input, Leaf};

/// What a datum holds, whatever its id: equal hashes mean equal work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatumHash(DatumId);

impl DatumHash {
    /// Wraps raw bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(DatumId::new(bytes))
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for DatumHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DatumHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatumHash({self})")
    }
}

/// A file or directory that a leaf's glob selected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Match {
    /// Where it is in the repo.
    pub path: TreePath,
    /// Whether it is a directory, with everything below it.
    pub is_dir: bool,
    /// The logical hash of the file, or of the whole directory.
    pub hash: [u8; 32],
    /// Bytes in the file, or below the directory.
    pub size: u64,
    /// What the leaf's `join_on` says about it.
    pub join_key: Arc<str>,
    /// What the leaf's `group_by` says about it.
    pub group_key: Arc<str>,
}

impl Match {
    /// A match of `leaf`, its keys worked out from the path.
    #[must_use]
    pub fn new(leaf: Leaf<'_>, path: TreePath, is_dir: bool, hash: [u8; 32], size: u64) -> Self {
        let key = |template: &str, pfs: &crate::pipeline::spec::PfsInput| -> Arc<str> {
            match template {
                "" => "".into(),
                _ => pfs.glob.key(&path, template).unwrap_or_default().into(),
            }
        };
        let (join_key, group_key) = match leaf {
            Leaf::Pfs(pfs) => (key(&pfs.join_on, pfs), key(&pfs.group_by, pfs)),
            Leaf::Cron(_) => ("".into(), "".into()),
        };
        Self { path, is_dir, hash, size, join_key, group_key }
    }
}

/// One match within a datum.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatumInput {
    /// Which leaf of the input tree, in the order of [`Input::leaves`].
    pub leaf: usize,
    /// What was selected there.
    pub found: Arc<Match>,
}

/// What one run of the program gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Datum {
    /// The matches, in the order of the leaves.
    pub inputs: Arc<[DatumInput]>,
}

impl Datum {
    /// Bytes of all inputs together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inputs.iter().map(|input| input.found.size).sum()
    }

    /// Largest first, then by path: the order in which datums are started.
    #[must_use]
    pub fn cmp_for_start(&self, other: &Self) -> Ordering {
        let paths = |datum: &Self| -> Vec<TreePath> {
            datum.inputs.iter().map(|input| input.found.path.clone()).collect()
        };
        other.size().cmp(&self.size()).then_with(|| paths(self).cmp(&paths(other)))
    }
}

/// Where a leaf's matches come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The directory under `/pfs`.
    pub name: String,
    /// The repo.
    pub repo: Repo,
    /// The branch.
    pub branch: BranchName,
    /// Whether content is left out of the datum's hash.
    pub reference: bool,
    /// Whether files appear without their contents.
    pub empty_files: bool,
}

/// The leaves of an input tree, to identify its datums by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

/// A datum with its id and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Says which datum of the pipeline it is: stays when contents change.
    pub id: DatumId,
    /// Says what it holds: changes with contents and salt.
    pub hash: DatumHash,
    /// The datum.
    pub datum: Datum,
}

impl Origins {
    /// The leaves of `input`.
    #[must_use]
    pub fn of(input: &Input) -> Self {
        let origin = |leaf: Leaf<'_>| Origin {
            name: leaf.name().to_owned(),
            repo: leaf.repo().clone(),
            branch: leaf.branch(),
            reference: matches!(leaf, Leaf::Pfs(pfs) if pfs.reference),
            empty_files: matches!(leaf, Leaf::Pfs(pfs) if pfs.empty_files),
        };
        Self(input.leaves().into_iter().map(origin).collect())
    }

    /// The origin of a datum's input.
    #[must_use]
    pub fn get(&self, input: &DatumInput) -> &Origin {
        // Datums are only made by evaluating the input tree these came from.
        &self.0[input.leaf]
    }

    /// The leaves in order.
    #[must_use]
    pub fn all(&self) -> &[Origin] {
        &self.0
    }

    /// Works out a datum's id and hash.
    ///
    /// The id covers name, repo, branch and path of every input; the hash adds
    /// the salt and the contents. Neither depends on the order of inputs.
    #[must_use]
    pub fn identify(&self, datum: Datum, salt: &str) -> Identified {
        let mut inputs: Vec<(&Origin, &Match)> =
            datum.inputs.iter().map(|input| (self.get(input), &*input.found)).collect();
        inputs.sort_by(|(a, x), (b, y)| {
            (&a.name, &a.repo, &a.branch, &x.path).cmp(&(&b.name, &b.repo, &b.branch, &y.path))
        });
        let mut id = blake3::Hasher::new_derive_key("pfs datum id v1");
        for (origin, found) in &inputs {
            field(&mut id, origin.name.as_bytes());
            field(&mut id, origin.repo.project.as_str().as_bytes());
            field(&mut id, origin.repo.name.as_str().as_bytes());
            field(&mut id, origin.repo.kind.as_str().as_bytes());
            field(&mut id, origin.branch.as_str().as_bytes());
            field(&mut id, found.path.as_str().as_bytes());
        }
        let id = id.finalize();
        let mut hash = blake3::Hasher::new_derive_key("pfs datum hash v1");
        hash.update(id.as_bytes());
        field(&mut hash, salt.as_bytes());
        for (origin, found) in &inputs {
            let seen: &[u8] = if origin.reference { &[] } else { &found.hash };
            field(&mut hash, seen);
        }
        let (id, hash) = (DatumId::new(id.into()), DatumHash::new(hash.finalize().into()));
        Identified { id, hash, datum }
    }
}

/// Hashes a field so that neighbouring fields cannot run together.
fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
