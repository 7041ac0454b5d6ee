//! The kernel's table of mounts, as `proc_pid_mountinfo(5)` describes it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// What stands between the fields every mount has and those of its type.
const OURS: &[u8] = b" - fuse.pfs ";

/// One mount of this program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The directory it is mounted on; any bytes may be in it.
    pub point: PathBuf,
    /// Major and minor number of what is mounted.
    pub device: (u64, u64),
    /// What it says it shows.
    pub source: String,
    /// Whether it follows unmounting elsewhere.
    pub hears: bool,
}

/// This program's mounts in the mount namespace of `table`'s process or
/// thread, in the order they were mounted.
pub(super) fn read(table: &Path) -> io::Result<Vec<Mount>> {
    Ok(std::fs::read(table)?.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// The device number of what is mounted last on `point` in this process's
/// namespace.
pub(super) fn device(point: &Path) -> Option<(u64, u64)> {
    let found = read(Path::new("/proc/self/mountinfo")).ok()?;
    found.into_iter().rev().find(|mount| mount.point == point).map(|mount| mount.device)
}

/// A line that tells of one of this program's mounts.
fn parse(line: &[u8]) -> Option<Mount> {
    let at = line.windows(OURS.len()).position(|part| part == OURS)?;
    let (head, tail) = (&line[..at], &line[at + OURS.len()..]);
    let fields: Vec<&[u8]> = head.split(|byte| *byte == b' ').collect();
    let (major, minor) = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?;
    let source = unescape(tail.split(|byte| *byte == b' ').next()?);
    Some(Mount {
        point: OsString::from_vec(unescape(fields.get(4)?)).into(),
        device: (major.parse().ok()?, minor.parse().ok()?),
        source: String::from_utf8_lossy(&source).into_owned(),
        hears: fields.iter().skip(6).any(|field| field.starts_with(b"master:")),
    })
}

/// Blanks, line ends and backslashes stand there as a backslash and three
/// octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        match (first, octal(behind)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &behind[3..];
            }
            _ => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

/// The byte that three octal digits stand for.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3).filter(|three| three.iter().all(u8::is_ascii_digit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}
