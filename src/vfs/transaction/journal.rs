//! The record of what a transaction has done to names, one line of history
//! after the other.
//!
//! The file starts with [`MAGIC`] and the version byte. Each record is its
//! length (u32, little endian), the first four bytes of the BLAKE3 hash of
//! its body, and the body, JSON. A torn record at the end is what a crash
//! leaves: reading stops there and the next append overwrites it.
//!
//! What a process wrote outlives it, but not the machine: there records may
//! reach the disk before the content that they tell of. So after another start
//! of the machine only what [`Record::Synced`] vouches for counts.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Timestamp, TreePath};

/// The first bytes of a journal.
const MAGIC: &[u8; 8] = b"pfs txn\n";

/// The version of the encoding.
const VERSION: u8 = 3;

/// The first version: a file was neither a copy nor had attributes. In the
/// second one small files were like others.
const FIRST: u8 = 1;

/// The longest record body: two paths, or an extended attribute, and what is
/// around them.
const RECORD_MAX: usize = 256 * 1024;

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
    /// The file at `path`, which was empty, holds `size` bytes that are kept from
    /// `start` among those of small files.
    Small { path: TreePath, start: u64, size: u64, at: Timestamp },
    /// Blocks of a staged file that hold data of their own.
    Blocks { file: u64, first: u64, count: u64 },
    /// Only so many bytes of what the file held show through.
    Clip { file: u64, base: u64 },
    /// So many bytes of what the file is a copy of show through.
    Show { file: u64, base: u64 },
    /// The file at `path` holds what `from` holds in the tree `root`.
    Copy { path: TreePath, root: String, from: TreePath, at: Timestamp },
    /// The file at `path` is staged file `file`, through which the first `base`
    /// bytes show of what `from` holds in the tree `root`.
    CopyPart { path: TreePath, root: String, from: TreePath, file: u64, base: u64 },
    /// An extended attribute, its value in hex; without one it is gone.
    Xattr { path: TreePath, name: String, value: Option<String> },
    /// Everything before is durable; what follows is written during the run of
    /// the machine that is called `boot`.
    Opened { boot: String },
    /// Everything in the first `until` bytes of the journal is durable, with
    /// the content it tells of.
    Synced { until: u64 },
}

/// An open journal, written at its end.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    end: u64,
    /// Whether the machine was started since it was written.
    cut: bool,
}

/// The run of the machine since it was last started.
pub(super) fn boot() -> String {
    // Without a name every run looks like the same one.
    let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    name.trim().to_owned()
}

impl Journal {
    /// Starts an empty journal at `path`, which must not exist. Durable but for
    /// its name.
    pub(super) fn create(path: &Path, boot: &str) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&[VERSION])?;
        let mut journal = Self { file, end: MAGIC.len() as u64 + 1, cut: false };
        journal.append(&Record::Opened { boot: boot.to_owned() })?;
        journal.file.sync_all()?;
        Ok(journal)
    }

    /// Opens the journal at `path` and answers its records up to the first
    /// torn one, or those that are durable when the machine was started since;
    /// the rest is cut off.
    pub(super) fn open(path: &Path, boot: &str) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let found = entries(&bytes)?;
        if bytes.get(MAGIC.len()) != Some(&VERSION) {
            file.write_all_at(&[VERSION], MAGIC.len() as u64)?;
        }
        let cut = durable(&found, boot).unwrap_or(u64::MAX);
        let kept = found.iter().take_while(|(_, end)| *end <= cut);
        let end = kept.last().map_or(MAGIC.len() as u64 + 1, |(_, end)| *end);
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        let mut journal = Self { file, end, cut: cut < u64::MAX };
        if journal.cut {
            let lost = found.iter().filter(|(_, at)| *at > end).count();
            tracing::warn!(lost, "the machine was started anew: changes never synced are gone");
            journal.file.sync_all()?;
            journal.append(&Record::Opened { boot: boot.to_owned() })?;
            journal.file.sync_all()?;
        }
        let kept = found.into_iter().take_while(|(_, at)| *at <= end).map(|(record, _)| record);
        let kept = kept.filter(|r| !matches!(r, Record::Opened { .. } | Record::Synced { .. }));
        Ok((journal, kept.collect()))
    }

    /// Opens the journal that this run of the machine has written at `path` and
    /// cuts off what comes after `until`.
    pub(super) fn cut(path: &Path, until: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let end = file.metadata()?.len().min(until);
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { file, end, cut: false })
    }

    /// Adds a record; it survives the death of the process, and once a handle
    /// is synced that of the machine.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let bytes = encode(record)?;
        let written = self.file.write_all(&bytes);
        match written {
            Ok(()) => self.end += bytes.len() as u64,
            Err(_) => {
                // A full disk may have taken half of it; what follows must not
                // come after a torn record.
                self.file.set_len(self.end)?;
                self.file.seek(SeekFrom::Start(self.end))?;
            }
        }
        written
    }

    /// Whether the machine was started since it was written, and it was cut off
    /// where it was durable.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes in the journal.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// A handle on which `sync_data` makes everything appended durable.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Whether the journal at `path` may tell of any change.
pub(super) fn is_begun(path: &Path) -> bool {
    /// So much that the first change is in there, were there one.
    const ENOUGH: u64 = 2 * RECORD_MAX as u64;
    let first = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(ENOUGH).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>((entries(&bytes)?, bytes.len() as u64))
    };
    let is_change =
        |record: &Record| !matches!(record, Record::Opened { .. } | Record::Synced { .. });
    // What cannot be read may hold anything.
    first().map_or(true, |(found, size)| size == ENOUGH || found.iter().any(|(r, _)| is_change(r)))
}

/// Up to where the journal is durable if it was written before the machine was
/// started last; `None` when this run has written it.
fn durable(found: &[(Record, u64)], boot: &str) -> Option<u64> {
    let (last, opened) = found.iter().rev().find_map(|(record, end)| {
        let Record::Opened { boot } = record else { return None };
        Some((boot, *end))
    })?;
    let synced = found.iter().filter_map(|(record, _)| {
        let Record::Synced { until } = record else { return None };
        Some(*until)
    });
    (last != boot).then(|| synced.fold(opened, u64::max))
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
    let found = entries(bytes)?;
    let end = found.last().map_or(MAGIC.len() + 1, |(_, end)| *end as usize);
    Ok((found.into_iter().map(|(record, _)| record).collect(), end))
}

/// The whole records of a journal file, each with where it ends.
fn entries(bytes: &[u8]) -> io::Result<Vec<(Record, u64)>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| invalid("not a transaction journal"))?;
    match rest.first() {
        Some(FIRST..=VERSION) => {}
        Some(_) => return Err(invalid("a transaction journal of a newer version")),
        None => return Err(invalid("a transaction journal without version")),
    }
    let mut end = MAGIC.len() + 1;
    let mut records = Vec::new();
    while let Some((record, size)) = decode_one(&bytes[end..]) {
        end += size;
        records.push((record, end as u64));
    }
    Ok(records)
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
        let mut journal = Journal::create(&file, "boot").unwrap();
        journal.append(&remove("a")).unwrap();
        journal.append(&remove("b")).unwrap();
        let size = std::fs::metadata(&file).unwrap().len();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(size - 3).unwrap();
        let (mut journal, records) = Journal::open(&file, "boot").unwrap();
        assert_eq!(records, [remove("a")]);
        journal.append(&remove("c")).unwrap();
        let (_, records) = Journal::open(&file, "boot").unwrap();
        assert_eq!(records, [remove("a"), remove("c")]);
    }

    #[test]
    fn another_start_of_the_machine_leaves_what_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal");
        let remove = |text| Record::Remove { path: path(text) };
        let mut journal = Journal::create(&file, "one").unwrap();
        journal.append(&remove("a")).unwrap();
        let until = journal.end();
        journal.append(&remove("b")).unwrap();
        journal.append(&Record::Synced { until }).unwrap();
        journal.append(&remove("c")).unwrap();
        let (_, records) = Journal::open(&file, "one").unwrap();
        assert_eq!(records, [remove("a"), remove("b"), remove("c")]);
        let (mut journal, records) = Journal::open(&file, "two").unwrap();
        assert_eq!(records, [remove("a")]);
        journal.append(&remove("d")).unwrap();
        let (_, records) = Journal::open(&file, "two").unwrap();
        assert_eq!(records, [remove("a"), remove("d")]);
        let (_, records) = Journal::open(&file, "three").unwrap();
        assert_eq!(records, [remove("a")]);
    }

    #[test]
    fn a_journal_is_begun_with_its_first_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal");
        assert!(is_begun(&file), "nobody knows");
        let mut journal = Journal::create(&file, "one").unwrap();
        journal.append(&Record::Synced { until: journal.end() }).unwrap();
        let (mut journal, _) = Journal::open(&file, "two").unwrap();
        assert!(!is_begun(&file));
        journal.append(&Record::Remove { path: path("a") }).unwrap();
        assert!(is_begun(&file));
        std::fs::write(&file, "something else").unwrap();
        assert!(is_begun(&file));
    }

    #[test]
    fn foreign_and_newer_files_are_refused() {
        assert!(decode(b"something else").is_err());
        assert!(decode(b"pfs txn\n\x04").is_err());
        assert!(decode(b"pfs txn\n").is_err());
    }
}
