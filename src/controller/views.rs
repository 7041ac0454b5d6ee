//! The files of a datum as directories of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::error::{ControllerError, Result};
use crate::chunk::Blobs;
use crate::model::{Clock, TreePath};
use crate::tree::{Entry, EntryKind, Root, Tree};
use crate::vfs::{DatumViews, InputView, Owner};

/// Part of a tree to show.
#[derive(Debug, Clone)]
pub struct ViewSource {
    /// The tree.
    pub root: Root,
    /// What of it: files, and directories with everything below them.
    pub paths: Vec<TreePath>,
    /// Whose the files are; `None` for the server's user.
    pub owner: Option<Owner>,
}

/// Directories that show parts of trees, as long as it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenViews {
    /// Names it when it is closed.
    pub key: String,
    /// One read-only directory for each source, in order.
    pub dirs: Vec<PathBuf>,
}

/// Shows parts of trees without copying them.
#[async_trait]
pub trait InputViews: Send + Sync {
    /// Shows every source in a directory of its own.
    async fn open(&self, sources: Vec<ViewSource>) -> Result<OpenViews>;

    /// Takes them away; what still uses them goes on until it lets go.
    async fn close(&self, views: OpenViews);
}

/// Views in the directory of one FUSE mount, which the server keeps.
pub struct MountedViews {
    views: DatumViews,
    at: PathBuf,
    clock: Arc<dyn Clock>,
}

impl MountedViews {
    /// `at` is where `views` are mounted.
    #[must_use]
    pub fn new(views: DatumViews, at: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { views, at, clock }
    }
}

#[async_trait]
impl InputViews for MountedViews {
    async fn open(&self, sources: Vec<ViewSource>) -> Result<OpenViews> {
        let input = |(index, source): (usize, ViewSource)| InputView {
            name: index.to_string(),
            root: source.root,
            paths: source.paths,
            owner: source.owner,
        };
        let count = sources.len();
        let inputs = sources.into_iter().enumerate().map(input).collect();
        let key = self.views.open(inputs, self.clock.now());
        let dir = self.at.join(&*key);
        let dirs = (0..count).map(|index| dir.join(index.to_string())).collect();
        Ok(OpenViews { key: key.as_ref().to_owned(), dirs })
    }

    async fn close(&self, views: OpenViews) {
        self.views.close(&views.key);
    }
}

/// Writes copies of everything in `source` below `dir`, for machines without
/// FUSE. With `empty`, files have no contents.
pub async fn materialise(
    blobs: &Blobs,
    tree: &Tree,
    paths: &[TreePath],
    dir: &Path,
    empty: bool,
) -> Result<()> {
    for path in paths {
        if let Some(parent) = path.parent() {
            make_dir(&at(dir, &parent)).await?;
        }
        if let Some(entry) = tree.get(path).await? {
            write(blobs, &at(dir, path), &entry, empty).await?;
        }
        let mut below = tree.walk(path, None);
        while let Some(found) = below.next().await {
            let (path, entry) = found?;
            write(blobs, &at(dir, &path), &entry, empty).await?;
        }
    }
    Ok(())
}

fn at(dir: &Path, path: &TreePath) -> PathBuf {
    match path.is_root() {
        true => dir.to_owned(),
        false => dir.join(path.as_str()),
    }
}

async fn make_dir(dir: &Path) -> Result<()> {
    tokio::fs::create_dir_all(dir).await.map_err(ControllerError::io(dir))
}

async fn write(blobs: &Blobs, to: &Path, entry: &Entry, empty: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match &entry.kind {
        EntryKind::Dir => make_dir(to).await,
        EntryKind::Symlink(target) => {
            tokio::fs::symlink(target, to).await.map_err(ControllerError::io(to))
        }
        EntryKind::File(content) => {
            let mut file = tokio::fs::File::create(to).await.map_err(ControllerError::io(to))?;
            let length = if empty { 0 } else { content.size() };
            let mut bytes = content.stream(blobs, 0..length);
            while let Some(piece) = bytes.next().await {
                file.write_all(&piece?).await.map_err(ControllerError::io(to))?;
            }
            file.flush().await.map_err(ControllerError::io(to))?;
            let mode = std::fs::Permissions::from_mode(entry.mode);
            file.set_permissions(mode).await.map_err(ControllerError::io(to))
        }
    }
}
