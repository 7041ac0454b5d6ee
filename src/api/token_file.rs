//! Who a client is: a token in a file, which somebody replaces before it expires.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};

use super::status::with_hint;

/// Names the file.
const VARIABLE: &str = "PFS_TOKEN_FILE";

/// A token in a file, read again when the file changes, as projected tokens
/// do. A cheap clone; shows the file's name only.
#[derive(Clone)]
pub struct TokenFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

/// What the file held when it looked like this.
struct Read {
    stamp: Stamp,
    bearer: AsciiMetadataValue,
}

/// Device, inode, size, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

impl TokenFile {
    /// The token in the file at `path`, which need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, read: Mutex::default() }))
    }

    /// The file that `PFS_TOKEN_FILE` names, if it names one.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
        Some(Self::new(path.into()))
    }

    /// The value of the header `authorization`.
    pub(super) fn bearer(&self) -> Result<AsciiMetadataValue, Status> {
        self.read().map_err(|error| {
            let path = self.0.path.display();
            with_hint(
                Code::Unauthenticated,
                format!("cannot read the token in {path}: {error}"),
                Some(format!("{VARIABLE} names a file with the token of a service account")),
            )
        })
    }

    fn read(&self) -> io::Result<AsciiMetadataValue> {
        let stamp = stamp(&self.0.path)?;
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().filter(|known| known.stamp == stamp) {
            return Ok(known.bearer.clone());
        }
        let text = fs::read_to_string(&self.0.path)?;
        let token = text.trim();
        let none = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if token.is_empty() {
            return Err(none("it is empty"));
        }
        // The error would show the token.
        let bearer = format!("Bearer {token}").parse::<AsciiMetadataValue>();
        let mut bearer = bearer.map_err(|_| none("it holds something else than a token"))?;
        bearer.set_sensitive(true);
        *read = Some(Read { stamp, bearer: bearer.clone() });
        Ok(bearer)
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenFile").field(&self.0.path).finish()
    }
}
