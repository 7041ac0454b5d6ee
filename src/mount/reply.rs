//! fuser's replies with the request they answer: its time ends when its
//! answer has been sent.

use std::ffi::OsStr;
use std::time::Duration;

use fuser::{Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo};

use super::holder::answering;
use super::stats::Pending;

/// A reply and the request that waits for it; without one it is not counted.
#[derive(Debug)]
pub(super) struct Counted<R> {
    reply: R,
    request: Option<Pending>,
}

pub(super) type ReplyAttr = Counted<fuser::ReplyAttr>;
pub(super) type ReplyCreate = Counted<fuser::ReplyCreate>;
pub(super) type ReplyData = Counted<fuser::ReplyData>;
pub(super) type ReplyDirectory = Counted<fuser::ReplyDirectory>;
pub(super) type ReplyDirectoryPlus = Counted<fuser::ReplyDirectoryPlus>;
pub(super) type ReplyEmpty = Counted<fuser::ReplyEmpty>;
pub(super) type ReplyEntry = Counted<fuser::ReplyEntry>;
pub(super) type ReplyOpen = Counted<fuser::ReplyOpen>;
pub(super) type ReplyStatfs = Counted<fuser::ReplyStatfs>;
pub(super) type ReplyWrite = Counted<fuser::ReplyWrite>;
pub(super) type ReplyXattr = Counted<fuser::ReplyXattr>;

/// Replies that can be an error.
pub(super) trait Refuse {
    fn refuse(self, error: Errno);
}

macro_rules! refuse {
    ($($reply:ident)+) => {
        $(impl Refuse for fuser::$reply {
            fn refuse(self, error: Errno) {
                self.error(error);
            }
        })+
    };
}

refuse! {
    ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry
    ReplyIoctl ReplyLseek ReplyOpen ReplyStatfs ReplyWrite ReplyXattr
}

impl<R> Counted<R> {
    /// The reply to `request`.
    pub(super) fn to(request: Pending, reply: R) -> Self {
        Self { reply, request: Some(request) }
    }

    /// A reply to what counts as no operation.
    pub(super) fn uncounted(reply: R) -> Self {
        Self { reply, request: None }
    }

    /// Sends the answer by `send`; `bytes` go with it.
    fn answer(self, bytes: usize, send: impl FnOnce(R)) {
        let Self { reply, request } = self;
        if let Some(request) = &request {
            request.transferred(bytes);
        }
        answering();
        send(reply);
        request.into_iter().for_each(Pending::answered);
    }
}

impl<R: Refuse> Counted<R> {
    pub(super) fn error(self, error: Errno) {
        if let Some(request) = &self.request {
            request.failed(error.code());
        }
        self.answer(0, |reply| reply.refuse(error));
    }
}

impl ReplyAttr {
    pub(super) fn attr(self, ttl: &Duration, attr: &FileAttr) {
        self.answer(0, |reply| reply.attr(ttl, attr));
    }
}

impl ReplyCreate {
    pub(super) fn created(
        self,
        ttl: &Duration,
        attr: &FileAttr,
        generation: Generation,
        handle: FileHandle,
        flags: FopenFlags,
    ) {
        self.answer(0, |reply| reply.created(ttl, attr, generation, handle, flags));
    }
}

impl ReplyData {
    pub(super) fn data(self, data: &[u8]) {
        self.answer(data.len(), |reply| reply.data(data));
    }
}

impl ReplyDirectory {
    pub(super) fn add(
        &mut self,
        ino: INodeNo,
        cookie: u64,
        kind: FileType,
        name: impl AsRef<OsStr>,
    ) -> bool {
        self.reply.add(ino, cookie, kind, name)
    }

    pub(super) fn ok(self) {
        self.answer(0, fuser::ReplyDirectory::ok);
    }
}

impl ReplyDirectoryPlus {
    pub(super) fn add(
        &mut self,
        ino: INodeNo,
        cookie: u64,
        name: impl AsRef<OsStr>,
        ttl: &Duration,
        attr: &FileAttr,
        generation: Generation,
    ) -> bool {
        self.reply.add(ino, cookie, name, ttl, attr, generation)
    }

    pub(super) fn ok(self) {
        self.answer(0, fuser::ReplyDirectoryPlus::ok);
    }
}

impl ReplyEmpty {
    pub(super) fn ok(self) {
        self.answer(0, fuser::ReplyEmpty::ok);
    }
}

impl ReplyEntry {
    pub(super) fn entry(self, ttl: &Duration, attr: &FileAttr, generation: Generation) {
        self.answer(0, |reply| reply.entry(ttl, attr, generation));
    }
}

impl ReplyOpen {
    pub(super) fn opened(self, handle: FileHandle, flags: FopenFlags) {
        self.answer(0, |reply| reply.opened(handle, flags));
    }

    /// Answers that the kernel reads from what it has open as `backing`, a
    /// number that stays good.
    pub(super) fn opened_passthrough(self, handle: FileHandle, flags: FopenFlags, backing: u32) {
        if let Some(request) = &self.request {
            request.passed_through();
        }
        self.answer(0, |reply| {
            // SAFETY: the number is one of this session, and nobody closes it
            // before it was given up here.
            let backing = unsafe { reply.wrap_backing(backing) };
            reply.opened_passthrough(handle, flags, &backing);
            backing.into_raw();
        });
    }
}

impl ReplyStatfs {
    /// As fuser has it: blocks, free, available, files, free files, block
    /// size, longest name, fragment size.
    #[allow(clippy::too_many_arguments, reason = "statfs(2) has as many")]
    pub(super) fn statfs(
        self,
        blocks: u64,
        free: u64,
        available: u64,
        files: u64,
        free_files: u64,
        block: u32,
        name: u32,
        fragment: u32,
    ) {
        self.answer(0, |reply| {
            reply.statfs(blocks, free, available, files, free_files, block, name, fragment);
        });
    }
}

impl ReplyWrite {
    pub(super) fn written(self, size: u32) {
        self.answer(size as usize, |reply| reply.written(size));
    }
}

impl ReplyXattr {
    pub(super) fn size(self, size: u32) {
        self.answer(0, |reply| reply.size(size));
    }

    pub(super) fn data(self, data: &[u8]) {
        self.answer(0, |reply| reply.data(data));
    }
}
