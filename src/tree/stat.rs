//! Entries without their contents.

use super::node::{Record, RecordKind};
use super::{Entry, EntryKind};
use crate::model::{ContentHash, Timestamp};

/// What a directory listing says of an entry.
///
/// Unlike an [`Entry`](super::Entry) it never costs a read of its own, however
/// large the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Directory, file or symbolic link.
    pub kind: StatKind,
    /// Permission bits.
    pub mode: u32,
    /// Last modification.
    pub mtime: Timestamp,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatKind {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// The hash of its content.
        hash: ContentHash,
    },
    /// A symbolic link with its target.
    Symlink(String),
}

impl Stat {
    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        match self.kind {
            StatKind::Dir => true,
            StatKind::File { .. } | StatKind::Symlink(_) => false,
        }
    }

    /// As [`Entry::size`](super::Entry::size).
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            StatKind::Dir => 0,
            StatKind::File { size, .. } => *size,
            StatKind::Symlink(target) => target.len() as u64,
        }
    }
}

impl From<&Record> for Stat {
    fn from(record: &Record) -> Self {
        let kind = match &record.kind {
            RecordKind::Dir => StatKind::Dir,
            RecordKind::File(content) => {
                StatKind::File { size: content.size(), hash: content.hash() }
            }
            RecordKind::Long(long) => StatKind::File { size: long.size, hash: long.hash },
            RecordKind::Symlink(target) => StatKind::Symlink(target.clone()),
        };
        Self { kind, mode: record.mode, mtime: record.mtime }
    }
}

impl From<&Entry> for Stat {
    fn from(entry: &Entry) -> Self {
        let kind = match &entry.kind {
            EntryKind::Dir => StatKind::Dir,
            EntryKind::File(content) => {
                StatKind::File { size: content.size(), hash: content.hash() }
            }
            EntryKind::Symlink(target) => StatKind::Symlink(target.clone()),
        };
        Self { kind, mode: entry.mode, mtime: entry.mtime }
    }
}
