//! Attributes and names between fuser and vfs.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use super::options::MountOptions;
use crate::model::Timestamp;
use crate::vfs::{self, Attr, Kind, SetTime, Validity, VfsError};

/// Until an invalidation says otherwise: about a hundred years, which a
/// kernel's arithmetic still takes.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(super) fn ttl(validity: Validity) -> Duration {
    match validity {
        Validity::Forever => FOREVER,
        Validity::Once => Duration::ZERO,
    }
}

pub(super) fn inode(ino: INodeNo) -> vfs::InodeNo {
    vfs::InodeNo(ino.0)
}

/// A name as repos hold it.
pub(super) fn name(name: &OsStr) -> Result<&str, VfsError> {
    name.to_str().ok_or(VfsError::NotUtf8)
}

pub(super) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let distance = Duration::from_nanos(time.as_nanos().unsigned_abs());
    match time.as_nanos() < 0 {
        true => UNIX_EPOCH - distance,
        false => UNIX_EPOCH + distance,
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let nanos = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(match time.duration_since(UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    })
}

/// A time of the kernel as fuser 0.18 passes it on: before 1970 it counts the
/// nanoseconds away from the seconds, instead of to them.
fn told_time(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => timestamp(time),
        Err(before) => {
            let told = before.duration();
            let seconds = i64::try_from(told.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_parts(-seconds, told.subsec_nanos())
        }
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::SpecificTime(time) => SetTime::To(told_time(time)),
        TimeOrNow::Now => SetTime::Now,
    }
}

/// The attributes as this mount shows them.
pub(super) fn file_attr(attr: &Attr, options: &MountOptions) -> FileAttr {
    let mtime = system_time(attr.mtime);
    let granted = match (attr.uid, attr.kind) {
        (Some(_), _) | (None, Kind::Symlink) => 0,
        (None, Kind::File) => options.files,
        (None, Kind::Directory) => options.directories,
    };
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: system_time(attr.atime),
        mtime,
        ctime: system_time(attr.ctime),
        crtime: mtime,
        kind: kind(attr.kind),
        // Twelve bits, so the cast keeps the value.
        perm: ((attr.mode | granted) & 0o7777 & !options.umask) as u16,
        nlink: attr.nlink,
        uid: attr.uid.unwrap_or(options.uid),
        gid: attr.gid.unwrap_or(options.gid),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
