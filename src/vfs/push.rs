//! What to put into a kernel's caches before it is asked for.
//!
//! A program that reads one small file of a directory mostly reads the others
//! too, and each costs it two round trips. So a directory that is being looked
//! around in is listed for the kernel, and one that is being read has the
//! contents of its small files handed over, a few MiB at a time and in the
//! order they lie in their packs. Who does the handing over is `mount`.
//! A program that goes from one directory to the next has the same done for
//! those that it is about to come to.

use bytes::Bytes;

use super::files::{Files, Node};
use super::touches::Wait;
use super::types::InodeNo;
use super::view::View;
use super::{VfsError, view};
use crate::chunk::{Blobs, ChunkRef};
use crate::model::TreePath;
use crate::tree::{Entry, Stat};

/// How much is pushed ahead of a reader that goes on in order.
const WINDOW: u64 = 4 << 20;

/// The largest file whose content is pushed.
const SMALL_FILE: u64 = 256 << 10;

/// How many entries are read from the tree at a time.
const PAGE: usize = 512;

/// Something to push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The directory's inode.
    pub dir: InodeNo,
    /// What of it.
    pub what: What,
    pub(super) path: TreePath,
}

/// What of a directory is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Names and attributes.
    Listing,
    /// The contents of its small files, all of them when they fit.
    Contents {
        /// The name of the file read last, and whether it was one of a run
        /// in the order of names.
        last: String,
        /// Whether the reader goes through the directory in order.
        in_order: bool,
    },
    /// The directories in it.
    Following {
        /// Those after this name.
        after: String,
        /// So many.
        count: usize,
        /// Their contents, too.
        contents: bool,
    },
}

/// Files that a kernel holds, and what is in them.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Those whose bytes are known.
    pub known: Vec<(InodeNo, Bytes)>,
    /// Those that are a chunk each.
    pub chunks: Vec<(InodeNo, ChunkRef)>,
    /// Where chunks are read.
    pub blobs: Option<Blobs>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

impl Files {
    /// Notes that a name was looked up in `dir`, and answers what to push.
    pub fn looked_up(&self, dir: InodeNo) -> [Option<Push>; 2] {
        match self.node(dir) {
            Ok(Node::Dir(_, path)) => self.touches.lookup(dir, &path),
            Ok(Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..)) | Err(_) => {
                [None, None]
            }
        }
    }

    /// For what to wait before a name is looked up in `dir`.
    #[must_use]
    pub fn will_look_up(&self, dir: InodeNo) -> Option<Wait> {
        match self.node(dir) {
            Ok(Node::Dir(_, path)) => self.touches.before_lookup(&path),
            Ok(Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..)) | Err(_) => {
                None
            }
        }
    }

    /// Notes that a program begins to list `dir`, and answers for what to wait:
    /// then the kernel knows what is in it.
    #[must_use]
    pub fn will_list(&self, dir: InodeNo) -> Option<Wait> {
        match self.node(dir) {
            Ok(Node::Dir(_, path)) => self.touches.list(dir, &path),
            Ok(Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..)) | Err(_) => {
                None
            }
        }
    }

    /// Notes that `ino` is to be read, and answers what to push, and for what
    /// to wait before it is read.
    pub fn will_read(&self, ino: InodeNo) -> (Option<Push>, Option<Wait>) {
        match self.small(ino) {
            Some((dir, path)) => self.touches.read(&dir, path.file_name(), ino),
            None => (None, None),
        }
    }

    /// Says that a request about `ino` has waited for too long.
    pub fn waited(&self, ino: InodeNo) {
        match self.node(ino) {
            Ok(Node::Dir(_, path)) => self.touches.late(&path),
            Ok(Node::Leaf(_, path, _)) => {
                path.parent().into_iter().for_each(|dir| self.touches.late(&dir));
            }
            Ok(Node::Top | Node::Group(_) | Node::Transaction(..)) | Err(_) => {}
        }
    }

    /// The directory and the path of a small file.
    fn small(&self, ino: InodeNo) -> Option<(TreePath, TreePath)> {
        match self.node(ino).ok()? {
            Node::Leaf(_, path, size) if size <= SMALL_FILE => Some((path.parent()?, path)),
            Node::Leaf(..) | Node::Top | Node::Group(_) | Node::Dir(..) | Node::Transaction(..) => {
                None
            }
        }
    }

    /// Whether `ino` may be handed over now: nobody waits with its pages
    /// locked. To be asked before each.
    #[must_use]
    pub fn may_store(&self, push: &Push, ino: InodeNo) -> bool {
        self.touches.store(&push.path, ino)
    }

    /// The directory to push, relative to the mount; `None` when it is gone.
    #[must_use]
    pub fn pushed_dir(&self, push: &Push) -> Option<String> {
        let Node::Dir(placed, _) = self.node(push.dir).ok()? else { return None };
        Some(format!("{}/{}", placed.place, push.path))
    }

    /// Says that a push begins; answers whether there is any need for it.
    #[must_use]
    pub fn begins(&self, push: &Push) -> bool {
        self.touches.begin(push)
    }

    /// What to push of the `count` directories after the name `after`.
    pub async fn following(
        &self,
        push: &Push,
        (after, count): (&str, usize),
        contents: bool,
    ) -> Result<Vec<Push>, VfsError> {
        let Node::Dir(placed, _) = self.node(push.dir)? else { return Ok(Vec::new()) };
        let next = placed.now().list(&push.path, Some(after), count).await?;
        let names = next.into_iter().filter(|(_, stat)| stat.is_dir()).map(|(name, _)| name);
        let names = self.touches.follow(&push.path, names.collect());
        let paths = names.iter().map(|name| push.path.join(name));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        Ok(paths.iter().filter_map(|p| self.touches.ahead(push.dir, p, contents)).collect())
    }

    /// Bytes in all files of the view that the directory belongs to.
    #[must_use]
    pub fn bytes_around(&self, push: &Push) -> u64 {
        match self.node(push.dir) {
            Ok(Node::Dir(placed, _)) => placed.now().tree.root().totals().bytes,
            Ok(Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..)) | Err(_) => 0,
        }
    }

    /// Says that a push has ended, whatever came of it; answers what is to be
    /// pushed next.
    pub fn pushed(&self, push: &Push, entries: usize) -> Option<Push> {
        self.touches.done(push, entries)
    }

    /// The contents of some small files of the directory, those after the
    /// name `after`.
    pub async fn contents_to_push(
        &self,
        push: &Push,
        after: Option<&str>,
    ) -> Result<Pushed, VfsError> {
        let Node::Dir(placed, _) = self.node(push.dir)? else { return Ok(Pushed::default()) };
        let (view, dir) = (placed.now(), &push.path);
        if !view.filter.covers(dir) {
            return Ok(Pushed::default());
        }
        let page = view.tree.list(dir, after, PAGE).await?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
        let blobs = view.tree.nodes().blobs();
        let mut pushed = Pushed { next, blobs: Some(blobs.clone()), ..Pushed::default() };
        for (name, entry) in &page {
            let Some(ino) = self.held(&view, &dir.join(name)?, entry) else { continue };
            let Some(content) = view::content(entry) else { continue };
            match content.chunks() {
                [chunk] => pushed.chunks.push((ino, *chunk)),
                _ => pushed.known.push((ino, content.read_range(blobs, 0..u64::MAX).await?)),
            }
        }
        Ok(pushed)
    }

    /// The number under which a kernel holds a small file.
    fn held(&self, view: &View, path: &TreePath, entry: &Entry) -> Option<InodeNo> {
        let small = view::content(entry).is_some() && (1..=SMALL_FILE).contains(&entry.size());
        small.then(|| self.inodes.find(&view.leaf(path, &Stat::from(entry))))?
    }
}

/// How far a push of contents goes.
impl What {
    /// Where it begins, and after how many bytes it ends, when `fits` says
    /// that everything around may be kept; `None` when it is not worth while.
    #[must_use]
    pub fn reach(&self, fits: bool) -> Option<(Option<&str>, u64)> {
        match self {
            Self::Contents { .. } if fits => Some((None, u64::MAX)),
            Self::Contents { last, in_order: true } => Some((Some(last), WINDOW)),
            Self::Contents { in_order: false, .. } | Self::Listing | Self::Following { .. } => None,
        }
    }
}
