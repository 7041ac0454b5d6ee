//! Files that the kernel opens to read them by itself.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Who has the kernel open files for a connection, which takes CAP_SYS_ADMIN:
/// what it has open shows nowhere among the files of a process.
///
/// An error of kind `NotConnected` says that nobody can be asked now.
pub trait Backing: Debug + Send + Sync + 'static {
    /// Has the kernel open `file` for `device`; answers the number that it has
    /// there. Numbers of a connection go up.
    fn open(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32>;

    /// Has the kernel let go of a number. Handles that it was given for stay
    /// good.
    fn close(&self, device: BorrowedFd<'_>, number: u32) -> io::Result<()>;
}

/// This process itself, which has to be privileged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Privileged;

/// `struct fuse_backing_map` of `<linux/fuse.h>`.
#[repr(C)]
struct Map {
    fd: i32,
    flags: u32,
    padding: u64,
}

impl Backing for Privileged {
    fn open(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32> {
        let map = Map { fd: file.as_raw_fd(), flags: 0, padding: 0 };
        // SAFETY: both descriptors are open, and the kernel reads a structure of
        // this form from an address that is good until the call returns.
        let number = unsafe { open_backing(device.as_raw_fd(), &raw const map) }?;
        u32::try_from(number).map_err(io::Error::other)
    }

    fn close(&self, device: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the kernel reads a number of 32
        // bits from an address that is good until the call returns.
        unsafe { close_backing(device.as_raw_fd(), &raw const number) }?;
        Ok(())
    }
}

nix::ioctl_write_ptr!(
    /// FUSE_DEV_IOC_BACKING_OPEN
    open_backing,
    229,
    1,
    Map
);

nix::ioctl_write_ptr!(
    /// FUSE_DEV_IOC_BACKING_CLOSE
    close_backing,
    229,
    2,
    u32
);
