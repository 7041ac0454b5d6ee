//! Mounting and unmounting: mount(2) for root, fusermount3 for others.

use std::fs::OpenOptions;
use std::io::{self, IoSliceMut, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::options::MountOptions;
use super::table;

/// Why a directory could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel has no FUSE, or this container hides it.
    #[error("this machine cannot mount: {0} (load the fuse module, or pass /dev/fuse in)")]
    NoFuse(String),
    /// The directory cannot be a mount point.
    #[error("{} cannot be mounted on: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// fusermount3, which mounts for users other than root, failed.
    #[error("{0}")]
    Helper(String),
    /// Something still uses the mount.
    #[error("{} is in use by a program", dir.display())]
    Busy {
        /// The mount point.
        dir: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("{} is not a mount point", dir.display())]
    NotMounted {
        /// The directory.
        dir: PathBuf,
    },
    /// The session with the kernel failed.
    #[error("the mount failed: {0}")]
    Session(#[from] io::Error),
}

/// Mounts `dir` and answers the connection to the kernel.
pub(super) fn attach(
    dir: &Path,
    options: &MountOptions,
    writable: bool,
) -> Result<OwnedFd, MountError> {
    let directory = |source| MountError::Directory { dir: dir.to_owned(), source };
    let found = std::fs::metadata(dir).map_err(directory)?;
    if !found.is_dir() {
        return Err(directory(io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    match direct(dir, found.mode(), options, writable) {
        Err(Errno::EPERM | Errno::EACCES) if !nix::unistd::geteuid().is_root() => {
            helper(dir, options, writable)
        }
        Ok(fd) => Ok(fd),
        Err(error @ (Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::EPERM)) => {
            Err(MountError::NoFuse(format!("/dev/fuse: {}", error.desc())))
        }
        Err(error) => Err(directory(error.into())),
    }
}

fn direct(dir: &Path, mode: u32, options: &MountOptions, writable: bool) -> Result<OwnedFd, Errno> {
    let mut open = OpenOptions::new();
    let open = open.read(true).write(true).custom_flags(libc::O_CLOEXEC);
    let device = open.open("/dev/fuse");
    let device = device.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let mut data = format!(
        "fd={},rootmode={:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        mode & libc::S_IFMT,
        nix::unistd::getuid(),
        nix::unistd::getgid(),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_RDONLY, !writable);
    mount(Some(options.source.as_str()), dir, Some("fuse.pfs"), flags, Some(data.as_str()))?;
    Ok(device.into())
}

/// Lets the set-uid helper mount and pass the connection back.
fn helper(dir: &Path, options: &MountOptions, writable: bool) -> Result<OwnedFd, MountError> {
    let access = if writable { "rw" } else { "ro" };
    let mut list = format!(
        "{access},nosuid,nodev,noatime,default_permissions,fsname={},subtype=pfs",
        options.source.replace(',', "\\,")
    );
    if options.allow_other {
        list.push_str(",allow_other");
    }
    let (ours, theirs) = UnixStream::pair()?;
    // The child must inherit its end.
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(io::Error::from)?;
    let mut command = Command::new("fusermount3");
    command.arg("-o").arg(list).arg("--").arg(dir);
    command.env("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
    let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = "fusermount3 is not installed; mounting as a user other than root needs it";
            return Err(MountError::Helper(what.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    drop(theirs);
    let received = receive(&ours);
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    child.wait()?;
    received?.ok_or_else(|| MountError::Helper(said.trim().to_owned()))
}

/// The descriptor that arrives on `socket`, if one does.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut vectors = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us, and
            // nobody else in this process knows it.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    Ok(None)
}

/// Whether the mount behind `device` is still there.
#[must_use]
pub fn is_connected(device: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok() && !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Unmounts `dir`; fails with [`MountError::Busy`] while a program uses it.
///
/// Whoever looks a mount up has it in use for a moment: those that push do, and
/// so do programs that watch mounts. So it is tried for a while.
pub fn unmount(dir: &Path) -> Result<(), MountError> {
    const ATTEMPTS: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..ATTEMPTS {
        match unmount_now(dir) {
            Err(MountError::Busy { .. }) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    unmount_now(dir)
}

fn unmount_now(dir: &Path) -> Result<(), MountError> {
    let dir = dir.to_owned();
    match umount2(&dir, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(MountError::Busy { dir }),
        Err(Errno::EINVAL | Errno::ENOENT) => Err(MountError::NotMounted { dir }),
        Err(Errno::EPERM) => {
            let output = Command::new("fusermount3").arg("-u").arg("--").arg(&dir).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            match output.status.success() {
                true => Ok(()),
                false if said.contains("busy") => Err(MountError::Busy { dir }),
                false => Err(MountError::Helper(said.trim().to_owned())),
            }
        }
        Err(error) => Err(MountError::Directory { dir, source: error.into() }),
    }
}

/// Takes `dir` out of the tree of directories at once; programs that use it
/// go on until they let go.
pub fn detach(dir: &Path) -> Result<(), MountError> {
    match umount2(dir, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOENT) => Err(MountError::NotMounted { dir: dir.to_owned() }),
        Err(Errno::EPERM) => {
            let output = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(dir).output()?;
            match output.status.success() {
                true => Ok(()),
                false => Err(MountError::Helper(String::from_utf8_lossy(&output.stderr).into())),
            }
        }
        Err(error) => Err(MountError::Directory { dir: dir.to_owned(), source: error.into() }),
    }
}

/// The device number of the mount at `dir`, as stat(2) shows it; asks the
/// mount table, never the mount.
pub(super) fn number(dir: &Path) -> Option<u64> {
    let (major, minor) = table::device(dir)?;
    Some(nix::sys::stat::makedev(major, minor))
}

/// Lets the kernel read `kib` KiB ahead in files of the mount at `dir`;
/// only root may, and nothing but speed depends on it.
pub(super) fn set_read_ahead(dir: &Path, kib: u32) {
    let Some((major, minor)) = table::device(dir) else { return };
    let path = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&path, kib.to_string()) {
        tracing::debug!(%error, path, "read-ahead stays as it is");
    }
}
