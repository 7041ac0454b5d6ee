//! FUSE requests by name; `reads` and `writes` carry them out.

use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use super::attr::{inode, set_time};
use super::gate::Gate;
use super::once::Once;
use super::options::MountOptions;
use super::passthrough::{self, Passthrough};
use super::push::Pushes;
use super::reply::Counted;
use super::stats::{Operation, STATS, Stats};
use super::writes::Removed;
use crate::vfs::{Files, NewBody, SetAttr};

/// Serves one mount.
#[derive(Clone)]
pub(super) struct Adapter {
    pub(super) files: Late,
    pub(super) runtime: Handle,
    pub(super) options: Arc<MountOptions>,
    pub(super) pushes: Arc<Pushes>,
    /// Whether anything in the mount can be written.
    pub(super) writable: bool,
    /// Whether the kernel forgets cached pages that are written around.
    pub(super) direct: bool,
    /// For files that the kernel reads by itself, where it does.
    pub(super) passthrough: Option<Arc<Passthrough>>,
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Arc<Gate>,
}

impl Adapter {
    /// Counts a request about `ino`; `reply` ends its time.
    fn counted<R>(&self, operation: Operation, ino: INodeNo, reply: R) -> Counted<R> {
        Counted::to(self.stats.begin(operation, inode(ino)), reply)
    }
}

/// Files that are there by the time the kernel asks for them.
#[derive(Clone)]
pub(super) struct Late(Arc<OnceLock<Arc<Files>>>);

impl Late {
    pub(super) fn new(files: &Arc<OnceLock<Arc<Files>>>) -> Self {
        Self(Arc::clone(files))
    }
}

impl Deref for Late {
    type Target = Arc<Files>;

    fn deref(&self) -> &Arc<Files> {
        // Set before the session gets its connection, which requests come over.
        self.0.wait()
    }
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.direct = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP).is_ok();
        if self.passthrough.is_some() && !passthrough::agree(config)? {
            self.passthrough = None;
        }
        self.configure(config)
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.look_up(req, parent, name, self.counted(Operation::Lookup, parent, reply));
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        let request = self.stats.begin(Operation::Forget, inode(ino));
        match &self.passthrough {
            Some(passthrough) => passthrough.forget(&self.files, inode(ino), nlookup),
            None => self.files.forget(inode(ino), nlookup),
        }
        request.answered();
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.get_attr(ino, self.counted(Operation::GetAttr, ino, reply));
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.read_link(ino, self.counted(Operation::ReadLink, ino, reply));
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let reply = self.counted(Operation::Open, ino, reply);
        match &self.passthrough {
            Some(passthrough) => self.open_beside(passthrough, Once::of(req), ino, reply),
            None => self.open_file(flags.0, reply),
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_file(ino, offset, size, self.counted(Operation::Read, ino, reply));
    }

    fn flush(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing waits for a close; the kernel need not tell.
        self.counted(Operation::Flush, ino, reply).error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let reply = self.counted(Operation::Release, ino, reply);
        match &self.passthrough {
            Some(passthrough) => {
                passthrough.release(&self.files, (Once::of(req), ino), fh, reply);
            }
            None => reply.ok(),
        }
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.open_dir(ino, self.counted(Operation::OpenDir, ino, reply));
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.list(ino, offset, self.counted(Operation::ReadDir, ino, reply));
    }

    fn readdirplus(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.list_plus(req, ino, offset, self.counted(Operation::ReadDirPlus, ino, reply));
    }

    fn releasedir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.counted(Operation::ReleaseDir, ino, reply).ok();
    }

    fn statfs(&self, req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match Gate::is_asked(ino) {
            true => self.gate.wait(req, reply),
            false => self.stat_fs(ino, self.counted(Operation::StatFs, ino, reply)),
        }
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if name == STATS && self.files.is_top_or_repo(inode(ino)) {
            return self.tell_stats(size, Counted::uncounted(reply));
        }
        self.get_xattr(ino, name, size, self.counted(Operation::GetXattr, ino, reply));
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.list_xattr(ino, size, self.counted(Operation::ListXattr, ino, reply));
    }

    fn access(&self, _req: &Request, ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions itself.
        self.counted(Operation::Access, ino, reply).error(fuser::Errno::ENOSYS);
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        self.set_attr(
            ino,
            SetAttr { mode, uid, gid, size, atime, mtime },
            self.counted(Operation::SetAttr, ino, reply),
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        self.make_node(req, parent, name, mode, self.counted(Operation::MakeNode, parent, reply));
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.make(
            req,
            parent,
            name,
            NewBody::Directory,
            mode,
            self.counted(Operation::MakeDir, parent, reply),
        );
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.make_symlink(
            req,
            parent,
            link_name,
            target,
            self.counted(Operation::Symlink, parent, reply),
        );
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let reply = self.counted(Operation::Create, parent, reply);
        self.create_file(req, parent, name, (mode, flags), reply);
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.link_file(
            Once::of(req),
            ino,
            newparent,
            newname,
            self.counted(Operation::Link, ino, reply),
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let reply = self.counted(Operation::Unlink, parent, reply);
        self.remove(Once::of(req), parent, name, Removed::Name, reply);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(
            Once::of(req),
            parent,
            name,
            Removed::Directory,
            self.counted(Operation::RemoveDir, parent, reply),
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.move_name(
            Once::of(req),
            (parent, name),
            (newparent, newname),
            flags,
            self.counted(Operation::Rename, parent, reply),
        );
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let unprivileged = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        self.write_file(
            ino,
            offset,
            data,
            unprivileged,
            self.counted(Operation::Write, ino, reply),
        );
    }

    fn fsync(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.sync(ino, self.counted(Operation::Sync, ino, reply));
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.sync(ino, self.counted(Operation::SyncDir, ino, reply));
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.allocate(ino, offset, length, mode, self.counted(Operation::Allocate, ino, reply));
    }

    fn copy_file_range(
        &self,
        req: &Request,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        _fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The kernel leaves the set-id bits to who copies.
        let unprivileged = req.uid() != 0;
        let reply = self.counted(Operation::CopyRange, ino_out, reply);
        self.copy_range((ino_in, offset_in), (ino_out, offset_out), len, unprivileged, reply);
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let reply = self.counted(Operation::SetXattr, ino, reply);
        self.set_xattr(Once::of(req), ino, name, value, flags, reply);
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let reply = self.counted(Operation::RemoveXattr, ino, reply);
        self.remove_xattr(Once::of(req), ino, name, reply);
    }

    // The kernel does these without us once it knows that we do not.

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        self.counted(Operation::Seek, ino, reply).error(fuser::Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.counted(Operation::Control, ino, reply).error(fuser::Errno::ENOSYS);
    }
}
