//! Commit objects: what the store alone knows of a commit.
//!
//! `[version u8][fields][checksum 8 bytes]`: numbers are little-endian, texts
//! and byte strings carry their length as u32, optional fields a flag byte,
//! the checksum is the head of the BLAKE3 hash of all before it.

use bytes::Bytes;

use crate::catalog::{CommitRow, Origin, StoredRoot};
use crate::model::{Commit, CommitId, Repo, RepoKind, Timestamp};

/// What the keys of all commit objects start with, before a slash.
pub const ALL: &str = "commits";

const VERSION: u8 = 1;
const CHECKSUM: usize = 8;

/// Bytes that are no commit object, or one that has been altered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Where the object of a commit is kept.
#[must_use]
pub fn key(commit: &Commit) -> String {
    format!("{}/{}", prefix(&commit.repo), commit.id)
}

/// What the keys of a repo's commit objects start with, before a slash.
pub(super) fn prefix(repo: &Repo) -> String {
    format!("{ALL}/{}/{}.{}", repo.project, repo.name, repo.kind.as_str())
}

/// The commit an object's key is for.
#[must_use]
pub fn commit_of(key: &str) -> Option<Commit> {
    let mut parts = key.strip_prefix("commits/")?.split('/');
    let (project, repo, id) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, kind) = repo.rsplit_once('.')?;
    let kind = [RepoKind::User, RepoKind::Spec, RepoKind::Meta]
        .into_iter()
        .find(|known| known.as_str() == kind)?;
    let repo = Repo { project: project.parse().ok()?, name: name.parse().ok()?, kind };
    match parts.next() {
        None => Some(repo.commit(id.parse().ok()?)),
        Some(_) => None,
    }
}

/// The persisted form of a finished commit; `seq` and `number` are no part of
/// it.
#[must_use]
pub fn encode(row: &CommitRow) -> Bytes {
    let mut out = Writer(vec![VERSION]);
    out.commit(&row.commit);
    out.optional(row.branch.as_ref(), |out, name| out.text(name.as_str()));
    out.optional(row.parent.as_ref(), |out, id| out.0.extend(id.as_bytes()));
    out.0.push(row.origin as u8);
    out.text(&row.description);
    out.text(&row.author);
    out.time(row.started);
    out.optional(row.finished.as_ref(), |out, time| out.time(*time));
    out.optional(row.error.as_ref(), |out, error| out.text(error));
    out.bytes(&row.root.encoded);
    out.0.extend(row.root.files.to_le_bytes());
    out.0.extend(row.root.bytes.to_le_bytes());
    out.length(row.provenance.len());
    row.provenance.iter().for_each(|commit| out.commit(commit));
    let checksum = blake3::hash(&out.0);
    out.0.extend(&checksum.as_bytes()[..CHECKSUM]);
    out.0.into()
}

/// The commit in an object.
pub fn decode(object: &[u8]) -> Result<CommitRow, Malformed> {
    let body = object.len().checked_sub(CHECKSUM).ok_or(Malformed("it is cut short"))?;
    let (body, checksum) = object.split_at(body);
    if blake3::hash(body).as_bytes()[..CHECKSUM] != *checksum {
        return Err(Malformed("its checksum does not match"));
    }
    let mut from = Reader(body);
    if from.byte()? != VERSION {
        return Err(Malformed("its version is not known"));
    }
    let row = from.row()?;
    match from.0.is_empty() {
        true => Ok(row),
        false => Err(Malformed("bytes follow its end")),
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn length(&mut self, length: usize) {
        // Descriptions and roots are bounded far below 4 GiB at the door.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0.extend(length.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend(time.as_nanos().to_le_bytes());
    }

    fn optional<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn commit(&mut self, commit: &Commit) {
        self.text(commit.repo.project.as_str());
        self.text(commit.repo.name.as_str());
        self.0.push(commit.repo.kind as u8);
        self.0.extend(commit.id.as_bytes());
    }
}

struct Reader<'o>(&'o [u8]);

impl<'o> Reader<'o> {
    fn row(&mut self) -> Result<CommitRow, Malformed> {
        Ok(CommitRow {
            commit: self.commit()?,
            seq: 0,
            number: 0,
            branch: self.optional(Self::name)?,
            parent: self.optional(Self::id)?,
            origin: self.origin()?,
            description: self.text()?.to_owned(),
            author: self.text()?.to_owned(),
            started: self.time()?,
            finished: self.optional(Self::time)?,
            error: self.optional(|from| from.text().map(str::to_owned))?,
            root: StoredRoot {
                encoded: Bytes::copy_from_slice(self.bytes()?),
                files: self.number()?,
                bytes: self.number()?,
            },
            provenance: self.provenance()?,
        })
    }

    fn take(&mut self, length: usize) -> Result<&'o [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("it is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it is cut short"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = u32::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| Malformed("a length is out of range"))
    }

    fn bytes(&mut self) -> Result<&'o [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'o str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    fn name<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        self.text()?.parse().map_err(|_| Malformed("a name is invalid"))
    }

    fn id(&mut self) -> Result<CommitId, Malformed> {
        self.array().map(CommitId::new)
    }

    fn time(&mut self) -> Result<Timestamp, Malformed> {
        self.array().map(|nanos| Timestamp::from_nanos(i64::from_le_bytes(nanos)))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    fn origin(&mut self) -> Result<Origin, Malformed> {
        let found = self.byte()?;
        [Origin::User, Origin::Auto, Origin::Fsck]
            .into_iter()
            .find(|known| *known as u8 == found)
            .ok_or(Malformed("its origin is not known"))
    }

    fn commit(&mut self) -> Result<Commit, Malformed> {
        let (project, name) = (self.name()?, self.name()?);
        let found = self.byte()?;
        let kind = [RepoKind::User, RepoKind::Spec, RepoKind::Meta]
            .into_iter()
            .find(|known| *known as u8 == found)
            .ok_or(Malformed("a repo kind is not known"))?;
        Ok(Repo { project, name, kind }.commit(self.id()?))
    }

    fn provenance(&mut self) -> Result<Vec<Commit>, Malformed> {
        // Grows with what is there, not with what a length claims.
        (0..self.length()?).map(|_| self.commit()).collect()
    }
}

#[cfg(test)]
#[path = "object/tests.rs"]
mod tests;
