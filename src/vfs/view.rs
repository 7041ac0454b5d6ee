//! Read-only views: a tree, or some paths of it, as directories and files.

use std::sync::{Arc, Mutex, PoisonError};

use super::VfsError;
use super::inode::Identity;
use super::types::{Attr, Hold, InodeNo, Kind};
use crate::chunk::Content;
use crate::model::{CommitId, Timestamp, TreePath};
use crate::tree::{Entry, EntryKind, Stat, StatKind, Tree};

/// Which paths of a tree a view shows: these, everything below them, and the
/// directories that lead to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Arc<[TreePath]>);

impl Filter {
    /// Shows everything.
    #[must_use]
    pub fn all() -> Self {
        Self::new(vec![TreePath::root()])
    }

    /// Shows `paths`.
    #[must_use]
    pub fn new(mut paths: Vec<TreePath>) -> Self {
        paths.sort_unstable();
        // In directory order what lies below a path follows it directly.
        paths.dedup_by(|later, earlier| later.starts_with(earlier));
        Self(paths.into())
    }

    /// Whether everything is shown.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.covers(&TreePath::root())
    }

    /// Whether `path` and everything below it are shown.
    #[must_use]
    pub fn covers(&self, path: &TreePath) -> bool {
        let after = self.0.partition_point(|shown| shown <= path);
        after > 0 && path.starts_with(&self.0[after - 1])
    }

    /// Whether `path` leads to something shown without being covered.
    #[must_use]
    pub fn leads(&self, path: &TreePath) -> bool {
        let at = self.0.partition_point(|shown| shown < path);
        self.0.get(at).is_some_and(|shown| shown.starts_with(path))
    }

    /// Names in `dir`, which only leads to shown paths, after `after`.
    #[must_use]
    pub fn names(&self, dir: &TreePath, after: Option<&str>, limit: usize) -> Vec<String> {
        let from = self.0.partition_point(|shown| shown < dir);
        let below = self.0[from..].iter().map_while(|shown| shown.strip_prefix(dir));
        let mut names: Vec<String> = Vec::new();
        for rest in below {
            let Some(name) = rest.components().next() else { continue };
            let known = names.last().is_some_and(|last| last == name);
            if !known && after.is_none_or(|after| name > after) {
                names.push(name.to_owned());
            }
            if names.len() == limit {
                break;
            }
        }
        names
    }
}

/// A tree seen through a filter. Never changes.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) tree: Tree,
    pub(super) filter: Filter,
    /// The commit the tree belongs to.
    pub(super) commit: Option<CommitId>,
    /// The time the root directory shows.
    pub(super) mtime: Timestamp,
    /// Whose the files are, unless they are the mount's.
    pub(super) owner: Option<Owner>,
}

/// The user and the group that files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl View {
    pub(super) fn whole(tree: Tree, commit: Option<CommitId>, mtime: Timestamp) -> Self {
        Self { tree, filter: Filter::all(), commit, mtime, owner: None }
    }

    /// The attributes of an entry.
    pub(super) fn attr(&self, ino: InodeNo, stat: &Stat) -> Attr {
        let (uid, gid) = (self.owner.map(|owner| owner.uid), self.owner.map(|owner| owner.gid));
        Attr { uid, gid, ..attr(ino, stat) }
    }

    /// The identity of a file or symlink: its path and all that stat and read
    /// tell, so that views share what is equal and a changed file is another
    /// one.
    pub(super) fn leaf(&self, path: &TreePath, stat: &Stat) -> Identity {
        let owner = self.owner.map(|Owner { uid, gid }| [uid.to_le_bytes(), gid.to_le_bytes()]);
        leaf(path, stat, owner.as_ref().map(|bytes| bytes.as_flattened()))
    }

    /// What is at `path`, unless it is absent or not shown.
    pub(super) async fn stat(&self, path: &TreePath) -> Result<Option<Stat>, VfsError> {
        if path.is_root() {
            let Entry { mode, mtime, .. } = Entry::dir(self.mtime);
            return Ok(Some(Stat { kind: StatKind::Dir, mode, mtime }));
        }
        if !self.filter.covers(path) && !self.filter.leads(path) {
            return Ok(None);
        }
        Ok(self.tree.stat(path).await?)
    }

    /// At most `limit` entries of `dir` after the name `after`, in name order.
    pub(super) async fn list(
        &self,
        dir: &TreePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stat)>, VfsError> {
        if self.filter.covers(dir) {
            return Ok(self.tree.list_stats(dir, after, limit).await?);
        }
        let mut entries = Vec::new();
        for name in self.filter.names(dir, after, limit) {
            if let Some(entry) = self.tree.stat(&dir.join(&name)?).await? {
                entries.push((name, entry));
            }
        }
        Ok(entries)
    }
}

/// A view with a place in a mount; the tree under it changes when it follows
/// a head.
#[derive(Debug)]
pub(super) struct PlacedView {
    /// Where the view is mounted, as text unique within the mount.
    pub(super) place: String,
    /// Tells it from places of the same text that are closed and still in use.
    pub(super) generation: u64,
    current: Mutex<Arc<View>>,
    /// What the kernel was last told of in full.
    told: Mutex<Arc<View>>,
    gate: Option<Arc<tokio::sync::RwLock<()>>>,
}

impl PlacedView {
    /// A view that never moves.
    pub(super) fn pinned(place: String, view: View) -> Self {
        let view = Arc::new(view);
        let (current, told) = (Mutex::new(Arc::clone(&view)), Mutex::new(view));
        Self { place, generation: 0, current, told, gate: None }
    }

    /// A view that [`PlacedView::advance`] moves.
    pub(super) fn following(place: String, view: View) -> Self {
        Self { gate: Some(Arc::default()), ..Self::pinned(place, view) }
    }

    /// The place of a process that has died: it shows `shown`, and had told
    /// the kernel of `told`.
    pub(super) fn found(place: String, shown: Arc<View>, told: Arc<View>) -> Self {
        let (current, told) = (Mutex::new(shown), Mutex::new(told));
        Self { place, generation: 0, current, told, gate: Some(Arc::default()) }
    }

    /// The same as another one than those of the same text before.
    pub(super) fn of_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// The view as it is now, and what keeps it from moving. A request asks for
    /// it once: who waits to move the view lets nobody in any more, not even
    /// whom it waits for.
    pub(super) async fn current(&self) -> (Arc<View>, Hold) {
        let hold = match &self.gate {
            Some(gate) => Hold::of(Arc::clone(gate).read_owned().await),
            None => Hold::default(),
        };
        (self.now(), hold)
    }

    /// The view as it is now.
    pub(super) fn now(&self) -> Arc<View> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the kernel was last told of in full; not what is shown when that
    /// has failed.
    pub(super) fn told(&self) -> Arc<View> {
        Arc::clone(&self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The kernel was told of all that is different in `view`.
    pub(super) fn tell(&self, view: Arc<View>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Shows `next` from now on; waits for the answers that are still on their
    /// way.
    pub(super) async fn advance(&self, next: Arc<View>) {
        let _alone = match &self.gate {
            Some(gate) => Some(gate.write().await),
            None => None,
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// The identity of the directory `path` of this view: its place, so that
    /// a directory stays itself while its content changes.
    pub(super) fn directory(&self, path: &TreePath) -> Identity {
        let (generation, purpose) = (self.generation.to_le_bytes(), "pfs inode directory v1");
        let parts = [self.place.as_bytes(), path.as_str().as_bytes(), &generation];
        // A place that nothing came before has the same numbers in every mount.
        let known = if self.generation == 0 { 2 } else { 3 };
        Identity::of(purpose, &parts[..known])
    }
}

fn leaf(path: &TreePath, stat: &Stat, owner: Option<&[u8]>) -> Identity {
    let mode = stat.mode.to_le_bytes();
    let mtime = stat.mtime.as_nanos().to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![path.as_str().as_bytes(), &mode, &mtime];
    let purpose = match &stat.kind {
        StatKind::Dir => "pfs inode unplaced v1",
        StatKind::File { hash, .. } => {
            parts.push(hash.as_bytes());
            "pfs inode file v1"
        }
        StatKind::Symlink(target) => {
            parts.push(target.as_bytes());
            "pfs inode symlink v1"
        }
    };
    parts.extend(owner);
    Identity::of(purpose, &parts)
}

/// The attributes of an immutable entry.
fn attr(ino: InodeNo, stat: &Stat) -> Attr {
    let (kind, nlink) = match &stat.kind {
        // One link says that directories are not counted.
        StatKind::Dir => (Kind::Directory, 1),
        StatKind::File { .. } => (Kind::File, 1),
        StatKind::Symlink(_) => (Kind::Symlink, 1),
    };
    let (mtime, ctime, atime, size) = (stat.mtime, stat.mtime, stat.mtime, stat.size());
    Attr { ino, kind, mode: stat.mode, size, mtime, ctime, atime, nlink, uid: None, gid: None }
}

/// The content of a file entry.
pub(super) fn content(entry: &Entry) -> Option<&Content> {
    match &entry.kind {
        EntryKind::File(content) => Some(content),
        EntryKind::Dir | EntryKind::Symlink(_) => None,
    }
}
