//! What a file operation can answer besides success.

use std::io;

use crate::model::InvalidPath;

/// Why a file operation failed; `mount::errno` has the table to numbers.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// No such file or directory.
    #[error("not found")]
    NotFound,
    /// The name is taken.
    #[error("exists already")]
    Exists,
    /// A component that must be a directory is not one.
    #[error("not a directory")]
    NotDirectory,
    /// The operation does not take a directory.
    #[error("is a directory")]
    IsDirectory,
    /// The directory still holds entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The view, or the sealed transaction, takes no writes.
    #[error("read-only")]
    ReadOnly,
    /// The argument makes no sense here, such as a directory moved into itself.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// A name or path is longer than a repo can hold.
    #[error("name too long")]
    NameTooLong,
    /// A name is not UTF-8.
    #[error("name is not UTF-8")]
    NotUtf8,
    /// The file would be larger than a repo can hold.
    #[error("file too large")]
    TooLarge,
    /// The operation does not exist here: devices, sockets, foreign xattrs.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// The operation does not exist on this mount: a kernel need not ask again.
    #[error("never supported here")]
    Never,
    /// No extended attribute of that name.
    #[error("no such attribute")]
    NoAttribute,
    /// The operation crosses from one repo into another.
    #[error("crosses repos")]
    CrossesRepos,
    /// Only a transaction's owner may do this.
    #[error("not permitted: {0}")]
    NotPermitted(&'static str),
    /// The inode is not, or no longer, known.
    #[error("stale inode")]
    Stale,
    /// What a commit needs is no longer there; the transaction is kept.
    #[error("{0}")]
    Gone(String),
    /// The commit lost against another one; the transaction is kept.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The commit may have gone through; committing again tells.
    #[error("the commit is not settled: {0}")]
    Unsettled(String),
    /// Stored data is missing or does not match its hash.
    #[error("data damaged: {0}")]
    Damaged(String),
    /// The server or the store does not answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The store is full.
    #[error("no space: {0}")]
    NoSpace(String),
    /// The staging directory failed; a full disk is among these.
    #[error("staging directory: {0}")]
    Staging(#[from] io::Error),
}

impl From<InvalidPath> for VfsError {
    fn from(_: InvalidPath) -> Self {
        // Kernels never send the other rules' violations: names come without
        // slash or NUL, and "." and ".." are resolved above the file system.
        Self::NameTooLong
    }
}
