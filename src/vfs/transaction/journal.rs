//! The record of what a transaction has done to names, one line of history
//! after the other.
//!
//! The file starts with [`MAGIC`] and the version byte. Each record is its
//! length (u32, little endian), the first four bytes of the BLAKE3 hash of
//! its body, and the body, JSON. A torn record at the end is what a crash
//! leaves: reading stops there and the next append overwrites it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Timestamp, TreePath};

/// The first bytes of a journal.
const MAGIC: &[u8; 8] = b"pfs txn\n";

/// The version of the encoding.
const VERSION: u8 = 1;

/// The longest record body: two paths and what is around them.
const RECORD_MAX: usize = 64 * 1024;

/// One step of a transaction. Paths are those of that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are what their names say")]
pub enum Record {
    /// A new empty file.
    File { path: TreePath, mode: u32, at: Timestamp },
    /// A new directory.
    Directory { path: TreePath, mode: u32, at: Timestamp },
    /// A new symbolic link.
    Symlink { path: TreePath, target: String, at: Timestamp },
    /// One more name for a file.
    Link { path: TreePath, new: TreePath },
    /// A name less: a file, a link or an empty directory.
    Remove { path: TreePath },
    /// Another name, replacing what was there.
    Rename { from: TreePath, to: TreePath },
    /// Two names swapped.
    Exchange { one: TreePath, other: TreePath },
    /// New attributes; those absent stay.
    Attributes {
        path: TreePath,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        mtime: Option<Timestamp>,
    },
    /// The content of the file at `path` is staged file `file` from now on,
    /// `base` bytes of what it held showing through where nothing is staged.
    Stage { path: TreePath, file: u64, base: u64 },
    /// Blocks of a staged file that hold data of their own.
    Blocks { file: u64, first: u64, count: u64 },
    /// Only so many bytes of what the file held show through.
    Clip { file: u64, base: u64 },
}

/// An open journal, written at its end.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    /// Starts an empty journal at `path`, which must not exist.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&[VERSION])?;
        Ok(Self(file))
    }

    /// Opens the journal at `path` and answers its records up to the first
    /// torn one, which is cut off.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, end) = decode(&bytes)?;
        file.set_len(end as u64)?;
        file.seek(SeekFrom::Start(end as u64))?;
        Ok((Self(file), records))
    }

    /// Adds a record; it survives the death of the process, and after
    /// [`Journal::sync`] that of the machine.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let start = self.0.stream_position()?;
        let written = self.0.write_all(&encode(record)?);
        if written.is_err() {
            // A full disk may have taken half of it; what follows must not
            // come after a torn record.
            self.0.set_len(start)?;
            self.0.seek(SeekFrom::Start(start))?;
        }
        written
    }

    /// A handle on which `sync_data` makes everything appended durable.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// Whether the journal at `path` holds anything.
pub(super) fn is_begun(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() > (MAGIC.len() + 1) as u64)
}

/// One record as the file holds it.
fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(record)?;
    let mut bytes = Vec::with_capacity(8 + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&blake3::hash(&body).as_bytes()[..4]);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The records of a journal file and where the last whole one ends.
pub fn decode(bytes: &[u8]) -> io::Result<(Vec<Record>, usize)> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| invalid("not a transaction journal"))?;
    match rest.first() {
        Some(&VERSION) => {}
        Some(_) => return Err(invalid("a transaction journal of a newer version")),
        None => return Err(invalid("a transaction journal without version")),
    }
    let mut end = MAGIC.len() + 1;
    let mut records = Vec::new();
    while let Some((record, size)) = decode_one(&bytes[end..]) {
        records.push(record);
        end += size;
    }
    Ok((records, end))
}

fn decode_one(bytes: &[u8]) -> Option<(Record, usize)> {
    let size = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    let check = bytes.get(4..8)?;
    let body = bytes.get(8..8usize.checked_add(size).filter(|_| size <= RECORD_MAX)?)?;
    if blake3::hash(body).as_bytes()[..4] != *check {
        return None;
    }
    Some((serde_json::from_slice(body).ok()?, 8 + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    #[test]
    fn the_encoding_stays() {
        let record = Record::Stage { path: path("a/b"), file: 7, base: 12 };
        let body = br#"{"stage":{"path":"a/b","file":7,"base":12}}"#;
        let encoded = encode(&record).unwrap();
        assert_eq!(&encoded[..4], &(body.len() as u32).to_le_bytes());
        assert_eq!(hex::encode(&encoded[4..8]), "c6456dda");
        assert_eq!(&encoded[8..], body);
    }

    #[test]
    fn a_torn_record_is_cut_off_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal");
        let remove = |text| Record::Remove { path: path(text) };
        let mut journal = Journal::create(&file).unwrap();
        journal.append(&remove("a")).unwrap();
        journal.append(&remove("b")).unwrap();
        let size = std::fs::metadata(&file).unwrap().len();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(size - 3).unwrap();
        let (mut journal, records) = Journal::open(&file).unwrap();
        assert_eq!(records, [remove("a")]);
        journal.append(&remove("c")).unwrap();
        let (_, records) = Journal::open(&file).unwrap();
        assert_eq!(records, [remove("a"), remove("c")]);
    }

    #[test]
    fn foreign_and_newer_files_are_refused() {
        assert!(decode(b"something else").is_err());
        assert!(decode(b"pfs txn\n\x02").is_err());
        assert!(decode(b"pfs txn\n").is_err());
    }
}
