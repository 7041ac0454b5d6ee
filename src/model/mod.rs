//! Plain data every layer speaks: ids, names, paths, refs, time.
//!
//! A value of one of these types has been validated; the only way in is
//! `FromStr`/`TryFrom` (or a constructor that cannot fail). Nothing here does
//! I/O, reads the clock or knows any other module.

mod clock;
mod id;
mod key;
mod latency;
mod name;
mod path;
mod reference;

pub use clock::{Clock, SystemClock, Timestamp};
pub use id::{
    ChunkId, CommitId, ContentHash, DatumId, FileSetId, InvalidId, NodeHash, PackId, TransactionId,
};
pub use key::{Branch, Commit, Repo, RepoKind};
pub use latency::{Buckets, Histogram, Latency};
pub use name::{BranchName, InvalidName, PipelineName, ProjectName, RepoName};
pub use path::{InvalidPath, NAME_MAX, PATH_MAX, TreePath};
pub use reference::{FileRef, InvalidRef, Move, Ref, RefBase, RepoRef};

#[cfg(test)]
mod tests;
