//! The one table from file-system errors to error numbers.

use std::io;

use crate::vfs::VfsError;

/// The error number that a program sees for `error`.
#[must_use]
pub fn errno(error: &VfsError) -> i32 {
    match error {
        VfsError::NotFound => libc::ENOENT,
        VfsError::Exists => libc::EEXIST,
        VfsError::NotDirectory => libc::ENOTDIR,
        VfsError::IsDirectory => libc::EISDIR,
        VfsError::NotEmpty => libc::ENOTEMPTY,
        VfsError::ReadOnly => libc::EROFS,
        VfsError::Invalid(_) => libc::EINVAL,
        VfsError::NameTooLong => libc::ENAMETOOLONG,
        VfsError::NotUtf8 => libc::EILSEQ,
        VfsError::TooLarge => libc::EFBIG,
        VfsError::Unsupported(_) => libc::EOPNOTSUPP,
        VfsError::Never => libc::ENOSYS,
        VfsError::NoAttribute => libc::ENODATA,
        VfsError::CrossesRepos => libc::EXDEV,
        VfsError::NotPermitted(_) => libc::EPERM,
        VfsError::Stale | VfsError::Conflict(_) | VfsError::Gone(_) => libc::ESTALE,
        VfsError::Damaged(_) | VfsError::Unavailable(_) | VfsError::Unsettled(_) => libc::EIO,
        VfsError::NoSpace(_) => libc::ENOSPC,
        VfsError::Staging(error) => staging(error),
    }
}

/// What the staging directory's file system said, when it said so itself.
fn staging(error: &io::Error) -> i32 {
    match error.raw_os_error() {
        // The program did nothing wrong with its own file.
        Some(libc::ENOENT | libc::EACCES | libc::EPERM) | None => libc::EIO,
        Some(number) => number,
    }
}

/// The same for replies; what is a fault of ours or of the machine is logged.
pub(super) fn reply(error: &VfsError) -> fuser::Errno {
    match error {
        VfsError::Damaged(_)
        | VfsError::Unavailable(_)
        | VfsError::Unsettled(_)
        | VfsError::Staging(_)
        | VfsError::NoSpace(_)
        | VfsError::Gone(_)
        | VfsError::Conflict(_) => tracing::warn!(%error, "a file operation failed"),
        VfsError::NotFound
        | VfsError::Exists
        | VfsError::NotDirectory
        | VfsError::IsDirectory
        | VfsError::NotEmpty
        | VfsError::ReadOnly
        | VfsError::Invalid(_)
        | VfsError::NameTooLong
        | VfsError::NotUtf8
        | VfsError::TooLarge
        | VfsError::Unsupported(_)
        | VfsError::Never
        | VfsError::NoAttribute
        | VfsError::CrossesRepos
        | VfsError::NotPermitted(_)
        | VfsError::Stale => {}
    }
    fuser::Errno::from_i32(errno(error))
}
