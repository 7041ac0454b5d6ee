//! Requests that change something.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use fuser::{FileHandle, FopenFlags, Generation, INodeNo, RenameFlags, Request};

use super::adapter::Adapter;
use super::attr::{file_attr, inode, name, ttl};
use super::errno;
use super::once::Once;
use super::reads::{attributes, empty, entry};
use super::reply::{ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyWrite};
use crate::vfs::{
    Allocate, Attr, Files, Found, NewBody, NewEntry, RenameMode, SetAttr, Validity, VfsError,
    XattrMode,
};

/// What an unlink or rmdir takes away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Removed {
    Name,
    Directory,
}

impl Adapter {
    pub(super) fn set_attr(&self, ino: INodeNo, set: SetAttr, reply: ReplyAttr) {
        let Self { files, options, .. } = self.clone();
        self.answer(async move {
            let attr = files.set_attr(inode(ino), set).await;
            attributes(reply, attr, &options);
        });
    }

    pub(super) fn make_node(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        reply: ReplyEntry,
    ) {
        match mode & libc::S_IFMT {
            0 | libc::S_IFREG => self.make(req, parent, child, NewBody::File, mode, reply),
            _ => {
                let refused = VfsError::NotPermitted("repos hold no sockets, devices or fifos");
                reply.error(errno::reply(&refused));
            }
        }
    }

    pub(super) fn make_symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        match name(target.as_os_str()) {
            Ok(target) => {
                let body = NewBody::Symlink(target.to_owned());
                self.make(req, parent, child, body, 0o777, reply);
            }
            Err(error) => reply.error(errno::reply(&error)),
        }
    }

    pub(super) fn make(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        body: NewBody,
        mode: u32,
        reply: ReplyEntry,
    ) {
        let this = self.clone();
        let made = this.create_entry(req, parent, child, body, mode);
        let options = Arc::clone(&self.options);
        self.answer(async move {
            let found = made.await.map(|attr| Found::forever(Some(attr)));
            entry(reply, found, &options);
        });
    }

    pub(super) fn create_file(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        (mode, flags): (u32, i32),
        reply: ReplyCreate,
    ) {
        let made = self.clone().create_entry(req, parent, child, NewBody::File, mode);
        let (options, flags) = (Arc::clone(&self.options), self.opened(flags));
        self.answer(async move {
            match made.await {
                Ok(attr) => {
                    let (ttl, attr) = (ttl(Validity::Forever), file_attr(&attr, &options));
                    reply.created(&ttl, &attr, Generation(0), FileHandle(0), flags);
                }
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    /// How the kernel is to treat a handle opened with `flags` of open(2).
    pub(super) fn opened(&self, flags: i32) -> FopenFlags {
        let kept = FopenFlags::FOPEN_KEEP_CACHE;
        // What only writes needs no cached pages: without them there is one
        // copy less, and no question for `security.capability` at a new file's
        // first write.
        match self.direct && flags & libc::O_ACCMODE == libc::O_WRONLY {
            true => kept | FopenFlags::FOPEN_DIRECT_IO,
            false => kept,
        }
    }

    fn create_entry(
        self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        body: NewBody,
        mode: u32,
    ) -> impl Future<Output = Result<Attr, VfsError>> + Send + 'static {
        let child = name(child).map(str::to_owned);
        let (uid, gid) = (req.uid(), req.gid());
        let once = Once::of(req);
        once.carry_out(async move {
            let (child, new) = (child?, NewEntry { body, mode: mode & 0o7777, uid, gid });
            match once.is_done(&self.files) {
                true => made(&self.files, parent, &child).await,
                false => self.files.create(inode(parent), &child, new).await,
            }
        })
    }

    pub(super) fn link_file(
        &self,
        once: Once,
        ino: INodeNo,
        parent: INodeNo,
        child: &OsStr,
        reply: ReplyEntry,
    ) {
        let Self { files, options, .. } = self.clone();
        let child = name(child).map(str::to_owned);
        self.answer(async move {
            let linked = once.carry_out(async {
                match (child?, once.is_done(&files)) {
                    (child, true) => made(&files, parent, &child).await,
                    (child, false) => files.link(inode(ino), inode(parent), &child).await,
                }
            });
            let found = linked.await.map(|attr| Found::forever(Some(attr)));
            entry(reply, found, &options);
        });
    }

    pub(super) fn remove(
        &self,
        once: Once,
        parent: INodeNo,
        child: &OsStr,
        removed: Removed,
        reply: ReplyEmpty,
    ) {
        let files = Arc::clone(&self.files);
        let child = name(child).map(str::to_owned);
        self.answer(async move {
            let done = once.carry_out(async {
                match removed {
                    _ if once.is_done(&files) => Ok(()),
                    Removed::Name => files.unlink(inode(parent), &child?).await,
                    Removed::Directory => files.rmdir(inode(parent), &child?).await,
                }
            });
            empty(reply, done.await);
        });
    }

    pub(super) fn move_name(
        &self,
        once: Once,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let files = Arc::clone(&self.files);
        let mode = match flags {
            RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
            RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
            _ if flags.is_empty() => Ok(RenameMode::Replace),
            _ => Err(VfsError::Invalid("unknown rename flags")),
        };
        let owned = |(dir, child): (INodeNo, &OsStr)| -> Result<_, VfsError> {
            Ok((inode(dir), name(child)?.to_owned()))
        };
        let sides = owned(from).and_then(|from| Ok((from, owned(to)?, mode?)));
        self.answer(async move {
            let done = once.carry_out(async {
                let ((dir, old), (into, new), mode) = sides?;
                match once.is_done(&files) {
                    true => Ok(()),
                    false => files.rename((dir, &old), (into, &new), mode).await,
                }
            });
            empty(reply, done.await);
        });
    }

    pub(super) fn write_file(
        &self,
        ino: INodeNo,
        offset: u64,
        data: &[u8],
        unprivileged: bool,
        reply: ReplyWrite,
    ) {
        // A request is far below 4 GiB.
        let count = data.len() as u32;
        let answer = move |done, reply: ReplyWrite| match done {
            Ok(()) => reply.written(count),
            Err(error) => reply.error(errno::reply(&error)),
        };
        if self.files.takes_at_once(inode(ino)) {
            let done = self.wait(self.files.write(inode(ino), offset, data, unprivileged));
            return answer(done, reply);
        }
        // Writers that wait for a commit must not keep readers from being served.
        let (files, data) = (Arc::clone(&self.files), data.to_vec());
        self.answer(async move {
            answer(files.write(inode(ino), offset, &data, unprivileged).await, reply);
        });
    }

    pub(super) fn sync(&self, ino: INodeNo, reply: ReplyEmpty) {
        let files = Arc::clone(&self.files);
        self.answer(async move {
            empty(reply, files.sync(inode(ino)).await);
        });
    }

    pub(super) fn allocate(
        &self,
        ino: INodeNo,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const ZERO_KEEP: i32 = ZERO | KEEP;
        let how = match mode {
            0 => Allocate::Extend,
            KEEP => Allocate::Reserve,
            PUNCH | ZERO_KEEP => Allocate::Zero,
            ZERO => Allocate::ZeroExtend,
            _ => return reply.error(fuser::Errno::EOPNOTSUPP),
        };
        let files = Arc::clone(&self.files);
        self.answer(async move {
            let range = offset..offset.saturating_add(length);
            empty(reply, files.allocate(inode(ino), how, range).await);
        });
    }

    pub(super) fn copy_range(
        &self,
        (from, at): (INodeNo, u64),
        (to, into): (INodeNo, u64),
        count: u64,
        unprivileged: bool,
        reply: ReplyWrite,
    ) {
        /// The most that a reply can tell of, whole pages.
        const MOST: u64 = u32::MAX as u64 & !0xfff;
        let files = Arc::clone(&self.files);
        self.answer(async move {
            let (from, to) = ((inode(from), at), (inode(to), into));
            match files.copy_range(from, to, count.min(MOST), unprivileged).await {
                Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    pub(super) fn set_xattr(
        &self,
        once: Once,
        ino: INodeNo,
        key: &OsStr,
        value: &[u8],
        flags: i32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            0 => Ok(XattrMode::Set),
            libc::XATTR_CREATE => Ok(XattrMode::Create),
            libc::XATTR_REPLACE => Ok(XattrMode::Replace),
            _ => Err(VfsError::Invalid("unknown flags for an attribute")),
        };
        let files = Arc::clone(&self.files);
        let (key, value) = (name(key).map(str::to_owned), value.to_vec());
        self.answer(async move {
            let done = once.carry_out(async {
                match once.is_done(&files) {
                    true => Ok(()),
                    false => files.set_xattr(inode(ino), &key?, &value, mode?).await,
                }
            });
            empty(reply, done.await);
        });
    }

    pub(super) fn remove_xattr(&self, once: Once, ino: INodeNo, key: &OsStr, reply: ReplyEmpty) {
        let files = Arc::clone(&self.files);
        let key = name(key).map(str::to_owned);
        self.answer(async move {
            let done = once.carry_out(async {
                match once.is_done(&files) {
                    true => Ok(()),
                    false => files.remove_xattr(inode(ino), &key?).await,
                }
            });
            empty(reply, done.await);
        });
    }
}

/// What a request has made that was carried out by another process.
async fn made(files: &Files, parent: INodeNo, child: &str) -> Result<Attr, VfsError> {
    // Somebody may have removed it since.
    files.lookup(inode(parent), child).await?.attr.ok_or(VfsError::Stale)
}
