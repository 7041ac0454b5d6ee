//! Holes in staged files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// The parts of `range` of `file` that hold data, in order; holes shorter than
/// `least` count as data.
pub(super) fn data_in(file: &File, range: Range<u64>, least: u64) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        // Nobody else uses the position of a staged file.
        let start = match lseek(file, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(Errno::ENXIO) => break, // a hole up to the end
            // This file system does not tell.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => at,
            Err(error) => return Err(error.into()),
        };
        if start >= range.end {
            break;
        }
        let end = match lseek(file, start as i64, Whence::SeekHole) {
            Ok(end) => (end as u64).min(range.end),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => range.end,
            Err(error) => return Err(error.into()),
        };
        match found.last_mut().filter(|last| start - last.end < least) {
            Some(last) => last.end = end,
            None => found.push(start..end),
        }
        at = end;
    }
    Ok(found)
}

/// Gives the room of `range` of `file` back, where the file system can.
pub(super) fn punch(file: &File, range: &Range<u64>) -> nix::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, flags, range.start as i64, (range.end - range.start) as i64)
}

/// Makes `range` of `file`, which lies within it, zeros; gives its room back
/// where the file system can.
pub(super) fn zero(file: &File, range: Range<u64>) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = range.start;
    match punch(file, &range) {
        Ok(()) => return Ok(()),
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    while at < range.end {
        let count = (range.end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
