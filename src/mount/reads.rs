//! Requests that read.

use std::ffi::OsStr;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use fuser::{FileHandle, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, Request};

use super::adapter::Adapter;
use super::attr::{file_attr, inode, kind, name, ttl};
use super::errno;
use super::once::Once;
use super::options::MountOptions;
use super::passthrough::{Passthrough, cached};
use super::reply::{
    ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyXattr,
};
use crate::model::Timestamp;
use crate::store::waits;
use crate::vfs::{self, Attr, Found, Listed, Validity, VfsError};

/// How many directory entries are asked for at once: as many as fit where
/// programs have them put, when their names are short.
const PAGE: usize = 208;

impl Adapter {
    /// Answers on this thread when nothing has to be waited for; otherwise
    /// the work goes on elsewhere and this thread takes the next request.
    pub(super) fn answer(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _runtime = self.runtime.enter();
        let mut work = Box::pin(waits::observed(work));
        let mut context = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut context).is_pending() {
            self.runtime.spawn(work);
        }
    }

    /// Answers on this thread, however long it takes: for work on borrowed
    /// data.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(pin!(work))
    }

    fn add_plus(&self, reply: &mut ReplyDirectoryPlus, entry: &Listed) -> bool {
        let attr = file_attr(&entry.attr, &self.options);
        let ttl = ttl(Validity::Forever);
        reply.add(attr.ino, entry.cookie + DOTS, &*entry.name, &ttl, &attr, Generation(0))
    }
}

/// Cookies up to here belong to `.` and `..`.
const DOTS: u64 = 2;

pub(super) fn entry(reply: ReplyEntry, found: Result<Found, VfsError>, options: &MountOptions) {
    match found {
        Ok(Found { attr: Some(attr), validity, hold }) => {
            reply.entry(&ttl(validity), &file_attr(&attr, options), Generation(0));
            drop(hold);
        }
        Ok(Found { attr: None, validity: Validity::Once, .. }) => {
            reply.error(fuser::Errno::ENOENT);
        }
        Ok(Found { attr: None, validity, hold }) => {
            // Inode 0 lets the kernel remember that there is nothing.
            let attr = Attr::directory(vfs::InodeNo(0), Timestamp::default());
            reply.entry(&ttl(validity), &file_attr(&attr, options), Generation(0));
            drop(hold);
        }
        Err(error) => reply.error(errno::reply(&error)),
    }
}

pub(super) fn xattr(reply: ReplyXattr, value: Result<Vec<u8>, VfsError>, room: u32) {
    match value {
        Ok(value) if room == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > room as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(errno::reply(&error)),
    }
}

pub(super) fn empty(reply: ReplyEmpty, done: Result<(), VfsError>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno::reply(&error)),
    }
}

pub(super) fn attributes(reply: ReplyAttr, attr: Result<Attr, VfsError>, options: &MountOptions) {
    match attr {
        Ok(attr) => {
            reply.attr(&ttl(Validity::Forever), &file_attr(&attr, options));
        }
        Err(error) => reply.error(errno::reply(&error)),
    }
}

impl Adapter {
    pub(super) fn configure(&self, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = vec![
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ];
        if self.writable {
            // Without it the kernel asks for a security attribute at each write.
            wanted.push(InitFlags::FUSE_HANDLE_KILLPRIV_V2);
        }
        for flag in wanted {
            if let Err(missing) = config.add_capabilities(flag) {
                tracing::debug!(?missing, "the kernel lacks a capability");
            }
        }
        let too_much = |most| io::Error::other(format!("at most {most}"));
        config.set_max_write(self.options.write).map_err(too_much)?;
        config.set_max_background(64).map_err(|most| too_much(most.into()))?;
        Ok(())
    }

    pub(super) fn look_up(&self, req: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        let child = match name(child) {
            Ok(child) => child.to_owned(),
            Err(_) => return reply.error(fuser::Errno::ENOENT),
        };
        let Self { files, options, pushes, .. } = self.clone();
        let pushed = options.push && !pushes.is_own(req.pid());
        self.answer(async move {
            if pushed {
                pushes.before_lookup(&files, inode(parent)).await;
            }
            let found = files.lookup(inode(parent), &child).await;
            let counts = pushed && found.as_ref().is_ok_and(|found| found.attr.is_some());
            // Noted before the program can read what it finds: contents are not
            // to be pushed before the names that a listing is due for.
            let due = counts.then(|| files.looked_up(inode(parent)));
            entry(reply, found, &options);
            pushes.begin(&files, due.into_iter().flatten().flatten());
        });
    }

    pub(super) fn get_attr(&self, ino: INodeNo, reply: ReplyAttr) {
        let Self { files, options, .. } = self.clone();
        self.answer(async move {
            let attr = files.getattr(inode(ino)).await;
            attributes(reply, attr, &options);
        });
    }

    pub(super) fn read_link(&self, ino: INodeNo, reply: ReplyData) {
        let files = Arc::clone(&self.files);
        self.answer(async move {
            match files.readlink(inode(ino)).await {
                Ok(target) => reply.data(target.as_bytes()),
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    pub(super) fn read_file(&self, ino: INodeNo, offset: u64, size: u32, reply: ReplyData) {
        let Self { files, options, pushes, .. } = self.clone();
        self.answer(async move {
            if options.push {
                pushes.before_read(&files, inode(ino)).await;
            }
            match files.read(inode(ino), offset, u64::from(size)).await {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    pub(super) fn open_file(&self, flags: i32, reply: ReplyOpen) {
        match self.writable {
            // The kernel goes on without asking, and keeps what it has cached.
            false => reply.error(fuser::Errno::ENOSYS),
            true => reply.opened(FileHandle(0), self.opened(flags)),
        }
    }

    /// Opens a file of a mount where the kernel reads some by itself.
    pub(super) fn open_beside(
        &self,
        passthrough: &Arc<Passthrough>,
        once: Once,
        ino: INodeNo,
        reply: ReplyOpen,
    ) {
        if self.files.handles(inode(ino)).is_none() {
            return reply.opened(FileHandle(0), cached());
        }
        let (files, passthrough) = (Arc::clone(&self.files), Arc::clone(passthrough));
        self.answer(async move {
            let whole = passthrough.whole(&files, ino).await;
            passthrough.open(&files, (once, ino), whole, reply);
        });
    }

    pub(super) fn open_dir(&self, ino: INodeNo, reply: ReplyOpen) {
        let cached = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        match (self.writable, self.files.is_immutable(inode(ino))) {
            (false, _) => reply.error(fuser::Errno::ENOSYS),
            (true, true) => reply.opened(FileHandle(0), cached),
            (true, false) => reply.opened(FileHandle(0), FopenFlags::empty()),
        }
    }

    pub(super) fn list_plus(
        &self,
        req: &Request,
        ino: INodeNo,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let this = self.clone();
        let begins = offset == 0 && this.options.push && !this.pushes.is_own(req.pid());
        self.answer(async move {
            let known = begins && this.pushes.before_list(&this.files, inode(ino)).await;
            let dots = [(1, "."), (2, "..")];
            let attr = match this.files.getattr(inode(ino)).await {
                Ok(attr) => file_attr(&attr, &this.options),
                Err(error) => return reply.error(errno::reply(&error)),
            };
            let ttl = ttl(Validity::Forever);
            for (cookie, dot) in dots.into_iter().filter(|(cookie, _)| *cookie > offset) {
                if reply.add(ino, cookie, dot, &ttl, &attr, Generation(0)) {
                    return reply.ok();
                }
            }
            if known {
                // The kernel goes on with what it has.
                return reply.ok();
            }
            let take = |entry: &Listed| !this.add_plus(&mut reply, entry);
            match this.files.list(inode(ino), offset.saturating_sub(DOTS), PAGE, take).await {
                Ok(hold) => {
                    reply.ok();
                    drop(hold);
                }
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    pub(super) fn list(&self, ino: INodeNo, offset: u64, mut reply: ReplyDirectory) {
        let this = self.clone();
        self.answer(async move {
            let dots = [(1, "."), (2, "..")];
            for (cookie, dot) in dots.into_iter().filter(|(cookie, _)| *cookie > offset) {
                if reply.add(ino, cookie, fuser::FileType::Directory, dot) {
                    return reply.ok();
                }
            }
            let mut taken = Vec::new();
            let take = |entry: &Listed| {
                let (number, kind) = (INodeNo(entry.attr.ino.0), kind(entry.attr.kind));
                let full = reply.add(number, entry.cookie + DOTS, kind, &*entry.name);
                taken.extend((!full).then_some(entry.attr.ino));
                !full
            };
            match this.files.list(inode(ino), offset.saturating_sub(DOTS), PAGE, take).await {
                Ok(hold) => {
                    reply.ok();
                    drop(hold);
                }
                Err(error) => reply.error(errno::reply(&error)),
            }
            // Plain listings reveal numbers but count as no lookup.
            taken.into_iter().for_each(|ino| this.files.forget(ino, 1));
        });
    }

    pub(super) fn stat_fs(&self, ino: INodeNo, reply: ReplyStatfs) {
        let files = Arc::clone(&self.files);
        self.answer(async move {
            match files.statfs(inode(ino)).await {
                Ok(s) => {
                    reply.statfs(
                        s.blocks,
                        s.free,
                        s.available,
                        s.files,
                        s.files_free,
                        s.block_size,
                        255,
                        s.block_size,
                    );
                }
                Err(error) => reply.error(errno::reply(&error)),
            }
        });
    }

    pub(super) fn list_xattr(&self, ino: INodeNo, size: u32, reply: ReplyXattr) {
        xattr(reply, self.files.list_xattr(inode(ino)), size);
    }

    pub(super) fn get_xattr(&self, ino: INodeNo, key: &OsStr, size: u32, reply: ReplyXattr) {
        let files = Arc::clone(&self.files);
        let key = key.to_string_lossy().into_owned();
        self.answer(async move {
            let value = files.xattr(inode(ino), &key).await;
            xattr(reply, value, size);
        });
    }

    /// The counters of this mount, which asking for them does not change.
    pub(super) fn tell_stats(&self, size: u32, reply: ReplyXattr) {
        xattr(reply, Ok(self.stats.read().to_json().into_bytes()), size);
    }
}
