//! The kernel itself.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Kernel, Mounted, Options, TYPE, table};
use crate::agent::Device;

/// How far the kernel reads ahead, in KiB: enough to keep a network busy.
const READ_AHEAD: u32 = 4096;

/// Where the kernel shows its FUSE connections, once that is mounted.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// The kernel this process runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linux;

impl Kernel for Linux {
    fn table(&self) -> io::Result<Vec<Mounted>> {
        Ok(table::parse(&fs::read("/proc/self/mountinfo")?))
    }

    fn mount(&self, target: &Path, options: &Options) -> io::Result<Device> {
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).custom_flags(libc::O_CLOEXEC);
        let fd = open.open("/dev/fuse")?;
        let data = data(fd.as_raw_fd(), options);
        let source = Some(options.source.as_str());
        mount(source, target, Some(TYPE), flags(options), Some(data.as_str()))?;
        let mounted = self.table()?.into_iter().rev().find(|mounted| mounted.target == target);
        let connection = mounted.as_ref().and_then(Mounted::connection).ok_or_else(|| {
            io::Error::other(format!("the mount at {} is not in the table", target.display()))
        })?;
        read_ahead(connection);
        Ok(Device { fd: fd.into(), connection })
    }

    fn detach(&self, target: &Path) -> io::Result<()> {
        Ok(umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?)
    }

    fn abort(&self, connection: u32) -> io::Result<()> {
        let file = format!("{CONNECTIONS}/{connection}/abort");
        match fs::write(&file, "1") {
            // A container has /sys of its own, with nothing mounted below it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (kind, none) = (Some("fusectl"), None::<&str>);
                mount(kind, CONNECTIONS, kind, MsFlags::empty(), none)?;
                fs::write(&file, "1")
            }
            done => done,
        }
    }
}

fn flags(options: &Options) -> MsFlags {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_RDONLY, options.read_only);
    flags.set(MsFlags::MS_NOEXEC, options.no_exec);
    flags
}

/// What the file system's type is told: everybody may come in, and the kernel
/// looks at permissions.
fn data(fd: i32, options: &Options) -> String {
    let root = libc::S_IFDIR;
    let mut data = format!(
        "fd={fd},rootmode={root:o},user_id=0,group_id={},default_permissions,allow_other",
        options.group
    );
    if let Some(context) = &options.context {
        // Categories are separated by commas.
        data.push_str(&format!(",context=\"{context}\""));
    }
    data
}

/// Has the kernel read ahead; where /sys is read-only it reads less.
fn read_ahead(connection: u32) {
    let path = format!("/sys/class/bdi/0:{connection}/read_ahead_kb");
    if let Err(error) = fs::write(&path, READ_AHEAD.to_string()) {
        tracing::debug!(path, %error, "read-ahead stays as it is");
    }
}
