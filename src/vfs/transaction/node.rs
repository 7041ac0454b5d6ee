//! The part of a transaction's tree that is in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::attributes::Attributes;
use super::small::Small;
use super::staged::Staged;
use crate::chunk::Content;
use crate::model::{Timestamp, TreePath};
use crate::tree::{Entry, EntryKind, Root};
use crate::vfs::VfsError;
use crate::vfs::types::{Attr, InodeNo, Kind};

/// Names a node within its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u64);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// Where a tree holds something.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The tree.
    pub root: Root,
    /// The path in it.
    pub path: TreePath,
}

/// A name in a directory.
pub(super) type Place = (NodeId, Arc<str>);

/// A file, directory or symlink.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) mode: u32,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) atime: Timestamp,
    /// Where in the base the node comes from.
    pub(super) origin: Option<TreePath>,
    /// Where a file took its content from that is not the base's.
    pub(super) copied: Option<Arc<Origin>>,
    /// Extended attributes that programs have set.
    pub(super) attributes: Attributes,
    /// Every name of the node; none for the root and for what was removed.
    pub(super) places: Vec<Place>,
    /// Whether the journal says when a staged file was changed, and nothing
    /// was written since.
    pub(super) timed: bool,
    /// Whether attributes or content differ from the base.
    pub(super) changed: bool,
    /// How often the kernel has looked the node up.
    pub(super) lookups: u64,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Dir(Dir),
    File(Data),
    Symlink(Arc<str>),
}

/// The content of a file.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// As in the base, or empty.
    Base(Content),
    /// New, and small.
    Small(Arc<Small>),
    /// Changed.
    Staged(Arc<Staged>),
}

impl Data {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Base(content) => content.size(),
            Self::Small(small) => small.size(),
            Self::Staged(staged) => staged.size(),
        }
    }
}

/// A directory: its base, what differs from it, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Dir {
    /// The directory of the base that shows through.
    pub(super) base: Option<TreePath>,
    /// Names that differ from the base, or below which something does.
    pub(super) overrides: BTreeMap<Arc<str>, Override>,
    /// Names the kernel knows, as in the base.
    pub(super) clean: HashMap<Arc<str>, NodeId>,
}

/// What a directory holds under a name in place of the base's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Override {
    /// Whether the base has an entry of this name.
    pub(super) hides: bool,
    /// The node; `None` when the name was removed, and then `hides`.
    pub(super) node: Option<NodeId>,
}

impl Node {
    /// A node that shows `entry`, which lies at `path` of the base.
    pub(super) fn of_base(entry: Entry, path: TreePath, place: Place) -> Self {
        let Entry { kind, mode, mtime } = entry;
        let body = match kind {
            EntryKind::Dir => Body::Dir(Dir { base: Some(path.clone()), ..Dir::default() }),
            EntryKind::File(content) => Body::File(Data::Base(content)),
            EntryKind::Symlink(target) => Body::Symlink(target.into()),
        };
        Self { changed: false, origin: Some(path), ..Self::new(body, mode, mtime, place) }
    }

    /// A new node.
    pub(super) fn new(body: Body, mode: u32, at: Timestamp, place: Place) -> Self {
        Self {
            mode,
            uid: None,
            gid: None,
            mtime: at,
            ctime: at,
            atime: at,
            origin: None,
            copied: None,
            attributes: Attributes::new(),
            places: vec![place],
            timed: false,
            changed: true,
            lookups: 0,
            body,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.body {
            Body::Dir(_) => Kind::Directory,
            Body::File(_) => Kind::File,
            Body::Symlink(_) => Kind::Symlink,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    pub(super) fn dir(&self) -> Result<&Dir, VfsError> {
        match &self.body {
            Body::Dir(dir) => Ok(dir),
            Body::File(_) | Body::Symlink(_) => Err(VfsError::NotDirectory),
        }
    }

    pub(super) fn dir_mut(&mut self) -> Result<&mut Dir, VfsError> {
        match &mut self.body {
            Body::Dir(dir) => Ok(dir),
            Body::File(_) | Body::Symlink(_) => Err(VfsError::NotDirectory),
        }
    }

    /// The content of a file.
    pub(super) fn data(&self) -> Result<&Data, VfsError> {
        match &self.body {
            Body::File(data) => Ok(data),
            Body::Dir(_) => Err(VfsError::IsDirectory),
            Body::Symlink(_) => Err(VfsError::Invalid("a symlink has no content")),
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.body {
            Body::Dir(_) => 0,
            Body::File(data) => data.size(),
            Body::Symlink(target) => target.len() as u64,
        }
    }

    /// What stat tells, under a number that the caller decides.
    pub(super) fn attr(&self) -> Attr {
        let nlink = match self.is_dir() {
            true => 1,
            false => u32::try_from(self.places.len()).unwrap_or(u32::MAX),
        };
        let Self { mode, uid, gid, mtime, ctime, atime, .. } = *self;
        let (ino, kind, size) = (InodeNo::ROOT, self.kind(), self.size());
        Attr { ino, kind, mode, size, mtime, ctime, atime, nlink, uid, gid }
    }
}
