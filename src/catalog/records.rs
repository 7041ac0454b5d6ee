//! Rows of what is kept beside repos and work: gathered calls, file sets,
//! secrets, packs, leases.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::rows::StoredRoot;
use crate::model::{CommitId, FileSetId, PackId, Timestamp};

/// Calls gathered one by one, to be carried out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheredRow {
    /// Its id, and that of every commit it will make.
    pub id: CommitId,
    /// The calls, as the layer that makes them encodes them.
    pub calls: Bytes,
    /// Grows with every change.
    pub version: u64,
    /// When the first was waited for.
    pub started: Timestamp,
}

/// A tree outside of any commit, kept for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSetRow {
    /// Its id.
    pub id: FileSetId,
    /// Its tree.
    pub root: StoredRoot,
    /// When it was made.
    pub created: Timestamp,
    /// When it counts as gone, unless renewed.
    pub until: Timestamp,
}

/// A secret: named values for programs. Not shown in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its name, unique.
    pub name: String,
    /// What it is, e.g. `Opaque`.
    pub kind: String,
    /// Its values by key.
    pub values: BTreeMap<String, Bytes>,
    /// When it was created.
    pub created: Timestamp,
}

impl fmt::Debug for SecretRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.values.keys().collect();
        f.debug_struct("SecretRow").field("name", &self.name).field("keys", &keys).finish()
    }
}

/// A pack object of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// Its id.
    pub id: PackId,
    /// The size of the object in bytes.
    pub bytes: u64,
    /// When it was recorded.
    pub created: Timestamp,
}

/// A named lease, e.g. the right to run the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// When it lapses unless renewed.
    pub until: Timestamp,
}
