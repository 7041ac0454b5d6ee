//! The vocabulary of the file system: inode numbers, attributes, requests.

use tokio::sync::OwnedRwLockReadGuard;

use crate::model::Timestamp;

/// Names an inode within one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNo(pub u64);

impl InodeNo {
    /// The top directory of a mount.
    pub const ROOT: Self = Self(1);
}

/// The kinds of entries a repo can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
}

/// What stat(2) tells, without what the mount decides for all its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// The inode.
    pub ino: InodeNo,
    /// The kind of entry.
    pub kind: Kind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Bytes; for a symlink the length of its target.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of content or attributes.
    pub ctime: Timestamp,
    /// Last access as far as it is kept: the mtime unless set.
    pub atime: Timestamp,
    /// Names that lead to the inode.
    pub nlink: u32,
    /// The owner; `None` takes the mount's.
    pub uid: Option<u32>,
    /// The group; `None` takes the mount's.
    pub gid: Option<u32>,
}

impl Attr {
    /// The same under the number `ino`.
    #[must_use]
    pub fn at(self, ino: InodeNo) -> Self {
        Self { ino, ..self }
    }

    /// A directory that is in no repo.
    #[must_use]
    pub fn directory(ino: InodeNo, mtime: Timestamp) -> Self {
        let (kind, mode, size, nlink) = (Kind::Directory, 0o755, 0, 1);
        let (ctime, atime) = (mtime, mtime);
        Self { ino, kind, mode, size, mtime, ctime, atime, nlink, uid: None, gid: None }
    }
}

/// How long a kernel may believe an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Until an [`Invalidation`] names it.
    Forever,
    /// For this answer only.
    Once,
}

/// Keeps a head from moving until the answer that was computed under it has
/// reached the kernel, so that the invalidation comes after it.
#[derive(Debug, Default)]
pub struct Hold(#[expect(dead_code, reason = "held, never read")] Option<Guard>);

type Guard = OwnedRwLockReadGuard<()>;

impl Hold {
    pub(super) fn of(guard: Guard) -> Self {
        Self(Some(guard))
    }
}

/// The answer to a lookup.
#[derive(Debug)]
pub struct Found {
    /// The entry; `None` when the name does not exist.
    pub attr: Option<Attr>,
    /// How long the answer holds.
    pub validity: Validity,
    /// Drop it once the answer has been sent.
    pub hold: Hold,
}

impl Found {
    /// An entry, or the absence of one, that holds until invalidated.
    #[must_use]
    pub fn forever(attr: Option<Attr>) -> Self {
        Self { attr, validity: Validity::Forever, hold: Hold::default() }
    }

    /// The absence of an entry, to be asked for again.
    #[must_use]
    pub fn absent_for_now() -> Self {
        Self { attr: None, validity: Validity::Once, hold: Hold::default() }
    }
}

/// One entry of a listing.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name within the directory.
    pub name: std::sync::Arc<str>,
    /// Its attributes.
    pub attr: Attr,
    /// Continue a listing after this entry with this cookie.
    pub cookie: u64,
}

/// A time to set: a given one or the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// This time.
    To(Timestamp),
    /// The time of the call.
    Now,
}

/// The attributes to change, as in chmod, chown, truncate and utimens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size; longer files grow a hole.
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<SetTime>,
    /// New modification time.
    pub mtime: Option<SetTime>,
}

/// What a new entry is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// File, directory, or symlink with its target.
    pub body: NewBody,
    /// Permission bits, the caller's umask applied.
    pub mode: u32,
    /// The caller's user.
    pub uid: u32,
    /// The caller's group.
    pub gid: u32,
}

/// What a new entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBody {
    /// An empty file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
}

/// What a rename does with an existing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Fails.
    NoReplace,
    /// Swaps the two.
    Exchange,
}

/// What setting an extended attribute does with one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Replaces it.
    Set,
    /// Fails.
    Create,
    /// Replaces it, and fails without one.
    Replace,
}

/// What statfs(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes a block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub free: u64,
    /// Blocks free for others than root.
    pub available: u64,
    /// Files in all.
    pub files: u64,
    /// How many more there may be.
    pub files_free: u64,
}

/// What a kernel must forget because a head has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// The name, existing or not, in a directory.
    Entry {
        /// The directory.
        parent: InodeNo,
        /// The name in it.
        name: std::sync::Arc<str>,
    },
    /// Cached content (for a directory: its listing) and attributes.
    Content(InodeNo),
}
