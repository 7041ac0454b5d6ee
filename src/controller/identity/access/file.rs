//! The file of rights, read again when it changes.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, InvalidAccess};

/// Rights in a file, or none at all.
#[derive(Debug, Default)]
pub struct AccessFile {
    path: Option<PathBuf>,
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    /// What the file looked like; `None` while it is not there.
    stamp: Option<Stamp>,
    access: Arc<Access>,
}

/// Tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file of rights that gives none.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableAccess {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be understood.
    #[error("{}:{error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        error: InvalidAccess,
    },
}

impl AccessFile {
    /// The file, which must be right now.
    pub fn open(path: &Path) -> Result<Self, UnreadableAccess> {
        let unreadable = |source| UnreadableAccess::Io { path: path.to_owned(), source };
        // Looked at before it is read: what changes in between is read again.
        let stamp = Some(Stamp::of(&fs::metadata(path).map_err(unreadable)?));
        let access = Arc::new(read(path)?);
        Ok(Self { path: Some(path.to_owned()), read: Mutex::new(Read { stamp, access }) })
    }

    /// The rights as the file has them now. While it is not there or makes no
    /// sense, those that it had before; the log says so once.
    pub(in crate::controller::identity) fn current(&self) -> Arc<Access> {
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return Arc::clone(&known.access) };
        let stamp = fs::metadata(path).ok().as_ref().map(Stamp::of);
        if stamp != known.stamp {
            known.stamp = stamp;
            match read(path) {
                Ok(access) => {
                    tracing::info!(path = %path.display(), "what namespaces may do has changed");
                    known.access = Arc::new(access);
                }
                Err(error) => {
                    tracing::error!(%error, "what namespaces may do stays as it was");
                }
            }
        }
        Arc::clone(&known.access)
    }
}

fn read(path: &Path) -> Result<Access, UnreadableAccess> {
    let text = fs::read_to_string(path)
        .map_err(|source| UnreadableAccess::Io { path: path.to_owned(), source })?;
    let invalid = |error| UnreadableAccess::Invalid { path: path.to_owned(), error };
    Access::parse(&text).map_err(invalid)
}
