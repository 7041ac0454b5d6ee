//! What a transaction is about, as its directory tells: `transaction.json`,
//! and the journal that it names.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::journal::{Journal, boot};
use crate::model::{Branch, CommitId, Timestamp, TransactionId};
use crate::tree::Root;
use crate::vfs::VfsError;
use crate::vfs::source::Resolved;

/// What a transaction is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The version of this record, 1.
    pub version: u8,
    /// Names the transaction.
    pub id: TransactionId,
    /// The branch it will be committed to.
    pub branch: Branch,
    /// The commit it started from; `None` on an empty branch.
    pub base: Option<CommitId>,
    /// The tree of that commit, as the caller encodes it, in hex.
    pub root: String,
    /// When it started.
    pub at: Timestamp,
    /// Whose transaction it is, see [`Source::identity`]; nobody else may take
    /// it up.
    ///
    /// [`Source::identity`]: crate::vfs::Source::identity
    #[serde(default)]
    pub server: String,
    /// Which repo of that server it is for, see [`Source::place`].
    ///
    /// [`Source::place`]: crate::vfs::Source::place
    #[serde(default)]
    pub place: String,
    /// The directory it is or was mounted at.
    #[serde(default)]
    pub mounted: String,
    /// The head whose changes give way to those made here.
    #[serde(default)]
    pub replaces: Option<CommitId>,
    /// Why it was given up, if it was.
    #[serde(default)]
    pub ended: Option<String>,
    /// When that was.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl Started {
    /// Whether the transaction started from a branch without files.
    #[must_use]
    pub fn is_empty_base(&self) -> bool {
        self.base.is_none() || Root::empty().encode() == hex::decode(&self.root).unwrap_or_default()
    }

    /// The same transaction as `id`, relative to another commit.
    #[must_use]
    pub fn upon(&self, id: TransactionId, base: Option<&Resolved>) -> Self {
        let root = base.map_or(Root::empty(), |base| base.root);
        Self {
            id,
            base: base.map(|base| base.commit),
            root: hex::encode(root.encode()),
            replaces: None,
            ..self.clone()
        }
    }

    /// The tree the changes are relative to.
    pub fn root(&self) -> Result<Root, VfsError> {
        let damaged = |_| VfsError::Damaged(format!("the root of transaction {}", self.id));
        Ok(Root::decode(&hex::decode(&self.root).map_err(damaged)?)?)
    }
}

const STARTED: &str = "transaction.json";
const JOURNAL: &str = "journal";

/// What `transaction.json` holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Noted {
    #[serde(flatten)]
    pub(super) started: Started,
    /// The number of the journal.
    #[serde(default)]
    pub(super) journal: u64,
    /// The tree that was committed last, in hex, where the changes are relative
    /// to a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) committed: Option<String>,
}

impl Noted {
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let noted: Self = serde_json::from_slice(&fs::read(dir.join(STARTED))?)?;
        let newer =
            || io::Error::new(io::ErrorKind::InvalidData, "a transaction of a newer version");
        (noted.started.version == 1).then_some(noted).ok_or_else(newer)
    }

    /// Writes `transaction.json` so that it is there whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let (new, path) = (dir.join("transaction.json.new"), dir.join(STARTED));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        File::open(dir)?.sync_all()
    }

    pub(super) fn journal(&self, dir: &Path) -> PathBuf {
        match self.journal {
            0 => dir.join(JOURNAL),
            number => dir.join(format!("{JOURNAL}.{number}")),
        }
    }
}

/// What the transaction in `dir` is about, without opening it.
pub fn inspect(dir: &Path) -> io::Result<Started> {
    Noted::read(dir).map(|noted| noted.started)
}

/// Makes `started` what the transaction in `dir` is about, with an empty
/// journal: both at once, or neither. What it held before is in `committed`.
pub(super) fn restart(
    dir: &Path,
    started: &Started,
    committed: Option<&Root>,
) -> io::Result<Journal> {
    let old = Noted::read(dir)?;
    let committed = committed.map(|root| hex::encode(root.encode()));
    let noted = Noted { started: started.clone(), journal: old.journal + 1, committed };
    let path = noted.journal(dir);
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let journal = Journal::create(&path, &boot())?;
    noted.write(dir)?;
    if let Err(error) = fs::remove_file(old.journal(dir)) {
        tracing::debug!(%error, "an old journal was not removed");
    }
    Ok(journal)
}

/// Notes that the transaction in `dir` is over.
pub(super) fn note_end(dir: &Path, reason: &str, now: Timestamp) -> io::Result<()> {
    let mut noted = Noted::read(dir)?;
    noted.started.ended = Some(reason.to_owned());
    noted.started.ended_at = Some(now);
    noted.write(dir)
}
