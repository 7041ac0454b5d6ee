//! Files of commits: reading, changing, comparing.
//!
//! Readers work on the tree of any commit, open or finished. Writers collect
//! changes in a [`FileChanges`] and publish them all at once, into the open
//! commit of a branch or as a commit of their own.

mod change;
mod diff;
mod failure;
mod fetch;
mod glob;
mod pending;
mod publish;
mod read;

pub use change::{ChangeNote, FileChanges, NewFile};
pub use diff::{DiffSide, FileChange};
pub use fetch::{Fetch, file_name_of_url};
pub use read::{FileInfo, FileStream};

use bytes::Bytes;

use super::Result;
use crate::catalog::StoredRoot;
use crate::tree::Root;

/// The tree a row holds.
pub(in crate::repo) fn root_of(stored: &StoredRoot) -> Result<Root> {
    match stored.encoded.is_empty() {
        true => Ok(Root::empty()),
        false => Ok(Root::decode(&stored.encoded)?),
    }
}

/// A tree as rows hold it; it must be durable.
pub(in crate::repo) fn stored(root: &Root) -> StoredRoot {
    let totals = root.totals();
    let encoded = if root.is_empty() { Bytes::new() } else { root.encode().into() };
    StoredRoot { encoded, files: totals.files, bytes: totals.bytes }
}

#[cfg(test)]
mod tests;
