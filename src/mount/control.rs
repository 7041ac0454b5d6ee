//! Asking and telling a mount from another process, by extended attributes.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::table;

/// The longest value the kernel passes on, in bytes.
const VALUE_MAX: usize = 64 << 10;

fn text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// The value of an extended attribute of `path`.
pub fn read(path: &Path, name: &str) -> io::Result<String> {
    let (path, name) = (text(path.as_os_str().as_bytes())?, text(name.as_bytes())?);
    let mut value = vec![0_u8; VALUE_MAX];
    // SAFETY: both strings end in NUL and the buffer is as long as said; the
    // call keeps none of them.
    let size = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    let size = usize::try_from(size).map_err(|_| io::Error::last_os_error())?;
    value.truncate(size);
    String::from_utf8(value).map_err(io::Error::other)
}

/// Sets an extended attribute of `path`.
pub fn write(path: &Path, name: &str, value: &str) -> io::Result<()> {
    let (path, name) = (text(path.as_os_str().as_bytes())?, text(name.as_bytes())?);
    // SAFETY: both strings end in NUL and the value is as long as said; the
    // call keeps none of them.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The mount points of this program, in the order they were mounted.
pub fn mount_points() -> io::Result<Vec<PathBuf>> {
    Ok(mounts()?.into_iter().map(|(point, _)| point).collect())
}

/// The same, with the server that each shows.
pub fn mounts() -> io::Result<Vec<(PathBuf, String)>> {
    let found = table::read(Path::new("/proc/self/mountinfo"))?;
    Ok(found.into_iter().map(|mount| (mount.point, mount.source)).collect())
}

/// Mount points of this program whose unmounting elsewhere the mount namespace
/// of this thread would not hear of.
pub fn unheard() -> io::Result<Vec<PathBuf>> {
    let found = table::read(Path::new("/proc/thread-self/mountinfo"))?;
    Ok(found.into_iter().filter(|mount| !mount.hears).map(|mount| mount.point).collect())
}
