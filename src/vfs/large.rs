//! Large files, which a kernel may read without asking once they lie whole in
//! the cache directory; and who has them open.

use std::fs::File;
use std::sync::Arc;

use super::files::{Files, Node};
use super::inode::Handles;
use super::types::InodeNo;
use super::view::View;
use super::{LARGE_FILE, VfsError};
use crate::chunk::Whole;
use crate::model::TreePath;
use crate::tree::StatKind;

/// A large file of a read-only view.
#[derive(Debug, Clone)]
pub struct LargeFile {
    /// Its inode.
    pub ino: InodeNo,
    view: Arc<View>,
    path: TreePath,
    whole: Whole,
}

impl Files {
    /// The large file `ino`, if it is one.
    pub async fn large_file(&self, ino: InodeNo) -> Result<Option<LargeFile>, VfsError> {
        let (view, path) = match self.node(ino)? {
            Node::Leaf(view, path, size) if size >= LARGE_FILE => (view, path),
            Node::Leaf(..) | Node::Top | Node::Group(_) | Node::Dir(..) | Node::Transaction(..) => {
                return Ok(None);
            }
        };
        let stat = view.stat(&path).await?.ok_or(VfsError::Stale)?;
        Ok(match stat.kind {
            StatKind::File { size, hash } => {
                Some(LargeFile { ino, view, path, whole: Whole { hash, size } })
            }
            StatKind::Dir | StatKind::Symlink(_) => None,
        })
    }

    /// The file of the cache directory that holds `large`, when
    /// [`Files::keep_whole`] has seen to it.
    #[must_use]
    pub fn whole(&self, large: &LargeFile) -> Option<File> {
        large.view.tree.nodes().blobs().whole(&large.whole)
    }

    /// Has `large` lie whole in the cache directory; answers whether it does.
    pub async fn keep_whole(&self, large: &LargeFile) -> Result<bool, VfsError> {
        let content = self.content(large.ino, &large.view, &large.path).await?;
        Ok(large.view.tree.nodes().blobs().keep_whole(&content).await?)
    }

    /// The handles of `ino`; `None` when it is not the inode of a large file.
    #[must_use]
    pub fn handles(&self, ino: InodeNo) -> Option<Handles> {
        self.inodes.handles(ino)
    }

    /// Notes what the kernel reads for the handles of `ino` to come; 0 for
    /// nothing.
    pub fn set_backing(&self, ino: InodeNo, backing: u32) {
        self.inodes.set_backing(ino, backing);
    }

    /// Notes that the kernel gets one handle more of `ino` by the answer to
    /// `request`.
    pub fn opened(&self, ino: InodeNo, request: u64) {
        self.inodes.opened(ino, request);
    }

    /// Notes that the kernel has one handle less of `ino`, as `request` says.
    pub fn released(&self, ino: InodeNo, request: u64) {
        self.inodes.released(ino, request);
    }

    /// Notes that the kernel has no handle of `ino`.
    pub fn all_released(&self, ino: InodeNo) {
        self.inodes.all_released(ino);
    }

    /// Whether the kernel knows `ino` no more when it gives `count` lookups
    /// back.
    #[must_use]
    pub fn is_last(&self, ino: InodeNo, count: u64) -> bool {
        self.inodes.is_last(ino, count)
    }

    /// Whether [`Files::opened`] or [`Files::released`] has noted `request`, in
    /// this process or one before, and [`Files::answered`] has not.
    #[must_use]
    pub fn was_counted(&self, request: u64) -> bool {
        self.inodes.was_counted(request)
    }

    /// Notes that `request` was answered; the next may be counted.
    pub fn answered(&self, request: u64) {
        self.inodes.answered(request);
    }

    /// From now on this process counts, and none before it.
    pub fn begin_counting(&self) {
        self.inodes.begin_counting();
    }

    /// The last that [`Files::set_backing`] has noted, in this process or one
    /// before.
    #[must_use]
    pub fn newest_backing(&self) -> u32 {
        self.inodes.newest_backing()
    }

    /// The large files that the kernel reads by itself.
    #[must_use]
    pub fn backed(&self) -> Vec<(InodeNo, Handles)> {
        self.inodes.backed()
    }
}
