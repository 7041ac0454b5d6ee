//! The persistent sorted tree of file entries behind every commit.
//!
//! A [`Root`] names an immutable tree; [`Tree`] reads one, [`apply`] makes the
//! next one from sorted edits at a cost that follows the edits. Nodes are
//! blobs in packs and carry a logical hash without places and times: equal
//! content gives equal nodes, whatever the history, so [`diff`] and [`merge`]
//! skip what two trees share.
//!
//! Format and measurements: docs/adr/0002-tree-nodes.md.

mod apply;
mod boundary;
mod codec;
mod cursor;
mod diff;
mod edit;
mod error;
mod key;
mod level;
mod long;
mod merge;
mod node;
mod nodes;
mod prune;
mod read;
mod references;
mod root;
mod stat;
mod wire;

use std::iter::Sum;

use crate::chunk::Content;
use crate::model::Timestamp;

pub use apply::{ApplyOptions, apply};
#[doc(hidden)]
pub use codec::fuzz_decode;
pub use diff::{Change, StatChange, diff, diff_stats};
pub use edit::Edit;
pub use error::TreeError;
pub use merge::{Conflict, Merge, merge};
pub use nodes::{NodeCache, NodeStats, Nodes};
pub use read::Tree;
pub use references::{Reference, references};
pub use root::Root;
pub use stat::{Stat, StatKind};

/// The permission bits of a mode, set-id and sticky bits included.
pub const MODE_MASK: u32 = 0o7777;

/// The longest target of a symbolic link, in bytes.
pub const LINK_MAX: usize = 4095;

/// What a tree holds under a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Directory, file or symbolic link.
    pub kind: EntryKind,
    /// Permission bits, within [`MODE_MASK`].
    pub mode: u32,
    /// Last modification; part of no logical hash.
    pub mtime: Timestamp,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryKind {
    /// A directory; what is in it are the entries below its path.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target, kept as written.
    Symlink(String),
}

impl Entry {
    /// A directory of mode 0755.
    #[must_use]
    pub fn dir(mtime: Timestamp) -> Self {
        Self { kind: EntryKind::Dir, mode: 0o755, mtime }
    }

    /// A file of mode 0644.
    #[must_use]
    pub fn file(content: Content, mtime: Timestamp) -> Self {
        Self { kind: EntryKind::File(content), mode: 0o644, mtime }
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(target: String, mtime: Timestamp) -> Self {
        Self { kind: EntryKind::Symlink(target), mode: 0o777, mtime }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        match self.kind {
            EntryKind::Dir => true,
            EntryKind::File(_) | EntryKind::Symlink(_) => false,
        }
    }

    /// Bytes a reader of the file gets; 0 for a directory, the length of the
    /// target for a symbolic link.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            EntryKind::Dir => 0,
            EntryKind::File(content) => content.size(),
            EntryKind::Symlink(target) => target.len() as u64,
        }
    }
}

/// Sums over entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files and symbolic links.
    pub files: u64,
    /// Directories, not counting the root.
    pub dirs: u64,
    /// Bytes of all files; symbolic links count nothing.
    pub bytes: u64,
}

impl Totals {
    /// The entries that are in `self` and not in `part`.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            files: self.files.saturating_sub(part.files),
            dirs: self.dirs.saturating_sub(part.dirs),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }
}

impl Sum for Totals {
    /// Saturates: a damaged node may claim anything.
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |a, b| Self {
            files: a.files.saturating_add(b.files),
            dirs: a.dirs.saturating_add(b.dirs),
            bytes: a.bytes.saturating_add(b.bytes),
        })
    }
}

#[cfg(test)]
mod tests;
