//! A directory of a program's, read without following a link out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};

use crate::model::Timestamp;
use crate::tree::MODE_MASK;

/// What overlayfs calls the attribute of a directory that hides those below.
const OPAQUE: [&std::ffi::CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];

/// A directory and what is in it; nothing outside of it can be reached.
pub(super) struct Directory(OwnedFd);

/// Something in a directory.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub kind: ThingKind,
    /// Permission bits.
    pub mode: u32,
    pub mtime: Timestamp,
    pub size: u64,
}

/// What it is.
#[derive(Debug, Clone)]
pub(super) enum ThingKind {
    Dir,
    File,
    Link(OsString),
    /// Stands for something that overlayfs no longer shows.
    Whiteout,
    /// Nothing that a repo can hold.
    Other(&'static str),
}

impl Directory {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?))
    }

    /// Opens what is at a path without `..`; links on the way are an error.
    fn open_at(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        loop {
            match openat2(&self.0, path, how) {
                Err(Errno::EINTR) => {}
                outcome => return outcome,
            }
        }
    }

    /// What is at a path, if anything.
    pub fn look(&self, path: &Path) -> io::Result<Option<Thing>> {
        let fd = match self.open_at(path, OFlag::O_PATH) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = File::from(fd.try_clone()?).metadata()?;
        let kind = match found.file_type() {
            kind if kind.is_dir() => ThingKind::Dir,
            kind if kind.is_file() => ThingKind::File,
            kind if kind.is_symlink() => ThingKind::Link(readlinkat(&fd, c"")?),
            kind if kind.is_char_device() && found.rdev() == 0 => ThingKind::Whiteout,
            kind if kind.is_fifo() => ThingKind::Other("a named pipe"),
            kind if kind.is_socket() => ThingKind::Other("a socket"),
            _ => ThingKind::Other("a device"),
        };
        // The kernel's nanoseconds lie in 0..10^9.
        let mtime = Timestamp::from_parts(found.mtime(), found.mtime_nsec() as u32);
        Ok(Some(Thing { kind, mode: found.mode() & MODE_MASK, mtime, size: found.len() }))
    }

    /// The names in the directory at a path.
    pub fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut dir = Dir::from_fd(self.open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(OsStr::from_bytes(name).to_owned()),
            }
        }
        Ok(names)
    }

    /// The regular file at a path.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        // What took a file's place meanwhile must not keep us waiting.
        let fd = self.open_at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let file = File::from(fd);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is no regular file any more")),
        }
    }

    /// Whether the directory at a path hides those that overlayfs has below.
    pub fn is_opaque(&self, path: &Path) -> io::Result<bool> {
        let fd = self.open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let has = |name: &std::ffi::CStr| {
            let mut value = [0_u8; 1];
            // SAFETY: the name ends with NUL and the buffer is as long as is said.
            let length = unsafe {
                libc::fgetxattr(
                    fd.as_raw_fd(),
                    name.as_ptr(),
                    value.as_mut_ptr().cast(),
                    value.len(),
                )
            };
            length == 1 && value == *b"y"
        };
        Ok(OPAQUE.into_iter().any(has))
    }
}
