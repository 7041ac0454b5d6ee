//! Sockets in the file system, put in place whole and taken away again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// A socket's place; what this process put there is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    inode: u64,
}

/// Listens at `path`, in place of whatever a process before left or has there.
///
/// The socket appears under its name at once and ready: it is bound under
/// another, which begins with a dot, so that nobody who watches the directory
/// takes it for one.
pub(crate) fn bind(path: &Path) -> io::Result<(Bound, UnixListenerStream)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket"));
    };
    fs::create_dir_all(dir)?;
    let early = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    remove(&early)?;
    let listener = UnixListener::bind(&early)?;
    let placed = fs::set_permissions(&early, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::symlink_metadata(&early))
        .and_then(|found| fs::rename(&early, path).map(|()| found.ino()));
    match placed {
        Ok(inode) => {
            Ok((Bound { path: path.to_owned(), inode }, UnixListenerStream::new(listener)))
        }
        Err(error) => {
            remove(&early)?;
            Err(error)
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A successor may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests;
