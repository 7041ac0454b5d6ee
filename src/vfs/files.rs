//! What a mount is asked, answered from the places below its top directory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::VfsError;
use super::contents::Contents;
use super::cursor::Cursors;
use super::datum::DatumViews;
use super::inode::{self, Identity, InodeTable, Memory};
use super::place::{Group, Place, Top, transaction_node};
use super::repos::{Repos, Shown};
use super::root::identity;
use super::source::Source;
use super::touches::Touches;
use super::transaction::{NodeId, TransactionView};
use super::types::{Attr, Found, Hold, InodeNo, Invalidation, Listed, Statfs, Validity};
use super::view::{self, PlacedView, View};
use crate::chunk::Content;
use crate::model::{NAME_MAX, Timestamp, TreePath};
use crate::tree::{Entry, EntryKind, Stat};

/// The file system of one mount.
///
/// Everything is answered by inode number. Numbers stay valid for as long as
/// lookups of them are not given back with [`Files::forget`].
pub struct Files {
    pub(super) top: Arc<dyn Top>,
    pub(super) repos: Option<Arc<Repos>>,
    pub(super) datums: Option<DatumViews>,
    pub(super) inodes: InodeTable,
    /// Where invalidations go once the mount is served.
    pub(super) tell: Mutex<Option<mpsc::Sender<Invalidation>>>,
    pub(super) touches: Touches,
    cursors: Cursors,
    contents: Contents,
    /// Held while a file's chunk list is loaded.
    loading: [tokio::sync::Mutex<()>; LOADING],
    mounted: Timestamp,
}

/// How many locks the loading of chunk lists is spread over.
const LOADING: usize = 64;

/// What an inode stands for.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Top,
    Group(Arc<Group>),
    Dir(Arc<PlacedView>, TreePath),
    /// The last is the size of a file.
    Leaf(Arc<View>, TreePath, u64),
    Transaction(Arc<TransactionView>, NodeId),
}

impl Files {
    /// Repos of `source` as directories: all of them, following the heads of
    /// `master`, or only some. `mounted` is the time the top shows.
    #[must_use]
    pub fn of_repos(source: Arc<dyn Source>, only: Option<Vec<Shown>>, mounted: Timestamp) -> Self {
        let repos = Arc::new(Repos::new(source, only));
        let inodes = InodeTable::new(Memory::new());
        inodes.set_time(mounted);
        Self { repos: Some(Arc::clone(&repos)), ..Self::new(repos, inodes) }
    }

    /// Repos as [`Files::of_repos`] has shown them in a process that has died,
    /// whose [`Files::memory`] this is. Nothing is asked of the source.
    pub fn resumed(
        source: Arc<dyn Source>,
        only: Option<Vec<Shown>>,
        memory: Memory,
    ) -> Result<Self, VfsError> {
        let repos = Arc::new(Repos::new(source, only));
        let inodes = InodeTable::attach(memory)?;
        inodes.adopt(&repos)?;
        if let Some(root) = identity(&inodes.get(InodeNo::ROOT)?) {
            inodes.is_root(root);
        }
        if !repos.transactions().is_empty() {
            for (transaction, id, lookups) in inodes.transaction_nodes() {
                transaction.looked_up(id, lookups);
            }
        }
        Ok(Self { repos: Some(Arc::clone(&repos)), ..Self::new(repos, inodes) })
    }

    /// Whether [`Files::resumed`] will understand what is in `memory`, which
    /// may still be in use.
    pub fn can_resume(memory: &Memory) -> Result<(), VfsError> {
        Ok(InodeTable::check(memory)?)
    }

    /// The views that are open in `views`.
    #[must_use]
    pub fn of_datums(views: DatumViews, mounted: Timestamp) -> Self {
        let inodes = InodeTable::new(Memory::new());
        inodes.set_time(mounted);
        Self { datums: Some(views.clone()), ..Self::new(Arc::new(views), inodes) }
    }

    pub(super) fn new(top: Arc<dyn Top>, inodes: InodeTable) -> Self {
        let (cursors, contents) = (Cursors::default(), Contents::default());
        let mounted = inodes.time();
        let tell = Mutex::default();
        let loading = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let touches = Touches::default();
        let (repos, datums) = (None, None);
        Self { top, repos, datums, tell, touches, inodes, cursors, contents, loading, mounted }
    }

    /// The memory that another process needs to go on with this mount.
    #[must_use]
    pub fn memory(&self) -> Option<&Memory> {
        self.inodes.memory()
    }

    /// Whether anything in this mount can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.top.transactions().is_empty()
    }

    /// The transactions of this mount, by directory name.
    #[must_use]
    pub fn transactions(&self) -> Vec<(Arc<str>, Arc<TransactionView>)> {
        self.top.transactions()
    }

    /// Whether `ino` changes only together with an invalidation.
    #[must_use]
    pub fn is_immutable(&self, ino: InodeNo) -> bool {
        !matches!(self.inodes.get(ino), Ok(Node::Transaction(..)) | Err(_))
    }

    /// Whether a process before this one has carried out the request `number`
    /// on a transaction.
    #[must_use]
    pub fn was_done(&self, number: u64) -> bool {
        self.transactions().iter().any(|(_, transaction)| transaction.was_done(number))
    }

    /// How many inodes a kernel holds.
    #[must_use]
    pub fn inodes_in_use(&self) -> usize {
        self.inodes.len()
    }

    pub(super) fn node(&self, ino: InodeNo) -> Result<Node, VfsError> {
        self.inodes.get(ino)
    }

    /// The entry `name` of the directory `parent`; counts as a lookup.
    pub async fn lookup(&self, parent: InodeNo, name: &str) -> Result<Found, VfsError> {
        if name.len() > NAME_MAX {
            return Err(VfsError::NameTooLong);
        }
        match self.node(parent)? {
            Node::Top => match self.top.find(name).await? {
                Some(place) => Ok(Found::forever(Some(self.enter(parent, &place).await?))),
                None => Ok(Found::absent_for_now()),
            },
            Node::Group(group) => match group.places.get(name) {
                Some(place) => Ok(Found::forever(Some(self.enter(parent, place).await?))),
                None => Ok(Found::forever(None)),
            },
            Node::Dir(placed, path) => {
                let (view, hold) = placed.current().await;
                let path = path.join(name)?;
                let stat = view.stat(&path).await?;
                let found = stat.map(|stat| self.remember((&placed, parent), &view, &path, &stat));
                Ok(Found { attr: found.transpose()?, validity: Validity::Forever, hold })
            }
            Node::Transaction(transaction, dir) => {
                let found = transaction.lookup(dir, name).await?;
                let found = found.map(|(id, attr)| self.remember_node(&transaction, id, attr));
                Ok(Found::forever(found.transpose()?))
            }
            Node::Leaf(..) => Err(VfsError::NotDirectory),
        }
    }

    /// Looks the directory of a place up that is in `parent`.
    async fn enter(&self, parent: InodeNo, place: &Place) -> Result<Attr, VfsError> {
        let (node, entry) = match place {
            Place::View(view) => {
                (Node::Dir(Arc::clone(view), TreePath::root()), inode::Entry::Directory(view, ""))
            }
            Place::Group(group) => (Node::Group(Arc::clone(group)), inode::Entry::Group(group)),
            Place::Transaction(view) => {
                // Unlike other nodes of a transaction its root always stays.
                let root = NodeId::ROOT;
                let node = Node::Transaction(Arc::clone(view), root);
                (node, inode::Entry::Transaction(view, root))
            }
        };
        let ino = self.inodes.remember(place.identity(), parent, entry)?;
        self.attr_of(ino, &node).await
    }

    /// Looks an entry of a read-only view up, in the directory `parent`.
    fn remember(
        &self,
        (placed, parent): (&Arc<PlacedView>, InodeNo),
        view: &Arc<View>,
        path: &TreePath,
        stat: &Stat,
    ) -> Result<Attr, VfsError> {
        let name = path.file_name();
        let (identity, entry) = match stat.is_dir() {
            true => (placed.directory(path), inode::Entry::Directory(placed, name)),
            false => (view.leaf(path, stat), inode::Entry::Leaf(view, name, stat.size())),
        };
        let ino = self.inodes.remember(identity, parent, entry)?;
        Ok(view.attr(ino, stat))
    }

    /// Passes a lookup by a transaction on under a number of this mount.
    pub(super) fn remember_node(
        &self,
        transaction: &Arc<TransactionView>,
        id: NodeId,
        attr: Attr,
    ) -> Result<Attr, VfsError> {
        let identity = transaction_node(transaction, id);
        let entry = inode::Entry::Transaction(transaction, id);
        Ok(attr.at(self.inodes.remember(identity, InodeNo::ROOT, entry)?))
    }

    /// Takes back `count` lookups of `ino`.
    pub fn forget(&self, ino: InodeNo, count: u64) {
        if let Some((transaction, id)) = self.inodes.forget(ino, count)
            && id != NodeId::ROOT
        {
            transaction.forget(id, count);
        }
    }

    /// The attributes of `ino`.
    pub async fn getattr(&self, ino: InodeNo) -> Result<Attr, VfsError> {
        let node = self.node(ino)?;
        self.attr_of(ino, &node).await
    }

    async fn attr_of(&self, ino: InodeNo, node: &Node) -> Result<Attr, VfsError> {
        match node {
            Node::Top | Node::Group(_) => Ok(Attr::directory(ino, self.mounted)),
            Node::Dir(placed, path) => {
                let view = placed.now();
                match view.stat(path).await? {
                    Some(stat) if stat.is_dir() || ino != InodeNo::ROOT => {
                        Ok(view.attr(ino, &stat))
                    }
                    // A root that is not there any more stays, with nothing in it.
                    _ if ino == InodeNo::ROOT => Ok(Attr::directory(ino, view.mtime)),
                    Some(_) | None => Err(VfsError::Stale),
                }
            }
            Node::Leaf(view, path, _) => match view.stat(path).await? {
                Some(stat) => Ok(view.attr(ino, &stat)),
                None => Err(VfsError::Stale),
            },
            Node::Transaction(transaction, id) => Ok(transaction.attr(*id)?.at(ino)),
        }
    }

    /// Gives the entries of a directory after `cookie`, 0 to begin, to `take`
    /// until that has no room for one; reads about `page` at a time. Each that
    /// it takes counts as a lookup.
    pub async fn list(
        &self,
        dir: InodeNo,
        cookie: u64,
        page: usize,
        mut take: impl FnMut(&Listed) -> bool,
    ) -> Result<Hold, VfsError> {
        let node = self.node(dir)?;
        let hold = held(&node).await;
        let (mut at, mut after) = (cookie, None);
        if cookie > 0 {
            after = self.name_at(dir, &node, cookie).await?;
            if after.is_none() {
                return Ok(hold);
            }
        }
        loop {
            let entries = match self.page((dir, &node), after.as_deref(), page).await {
                Ok(entries) => entries,
                // What was taken is passed on; who goes on from there hears it.
                Err(_) if at > cookie => return Ok(hold),
                Err(error) => return Err(error),
            };
            let listed = entries.into_iter().zip(at + 1..);
            let entries: Vec<Listed> =
                listed.map(|((name, attr), cookie)| Listed { name, attr, cookie }).collect();
            let taken = entries.iter().position(|entry| !take(entry)).unwrap_or(entries.len());
            self.cursors.put_some(dir, &entries[..taken]);
            entries[taken..].iter().for_each(|entry| self.forget(entry.attr.ino, 1));
            if taken < entries.len() || entries.len() < page {
                return Ok(hold);
            }
            at += taken as u64;
            after = entries.last().map(|last| Arc::clone(&last.name));
        }
    }

    /// The name at `cookie`, counted out from the nearest that is remembered.
    async fn name_at(
        &self,
        dir: InodeNo,
        node: &Node,
        cookie: u64,
    ) -> Result<Option<Arc<str>>, VfsError> {
        let known = self.cursors.before(dir, cookie);
        let (mut seen, mut last) = known.map_or((0, None), |(at, name)| (at, Some(name)));
        while seen < cookie {
            let limit = usize::try_from(cookie - seen).unwrap_or(usize::MAX).min(1024);
            let page = self.page((dir, node), last.as_deref(), limit).await?;
            let Some((name, _)) = page.last() else { return Ok(None) };
            last = Some(Arc::clone(name));
            seen += page.len() as u64;
            page.iter().for_each(|(_, attr)| self.forget(attr.ino, 1));
        }
        Ok(last)
    }

    /// Entries of a directory after a name, each looked up. The directory is
    /// [`held`].
    async fn page(
        &self,
        (dir, node): (InodeNo, &Node),
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, Attr)>, VfsError> {
        let mut found = Vec::new();
        match node {
            Node::Top => {
                let names = self.top.names().await?;
                let start = names.partition_point(|name| after.is_some_and(|a| &**name <= a));
                let mut failed = None;
                for name in names.into_iter().skip(start).take(limit) {
                    match self.top.find(&name).await {
                        Ok(Some(place)) => found.push((name, self.enter(dir, &place).await?)),
                        Ok(None) => {}
                        // The others can be listed all the same.
                        Err(error) => {
                            tracing::warn!(%error, %name, "not listed");
                            failed = Some(error);
                        }
                    }
                }
                if let (true, Some(error)) = (found.is_empty(), failed) {
                    return Err(error);
                }
            }
            Node::Group(group) => {
                let rest =
                    group.places.iter().filter(|(name, _)| after.is_none_or(|a| &***name > a));
                for (name, place) in rest.take(limit) {
                    found.push((Arc::clone(name), self.enter(dir, place).await?));
                }
            }
            Node::Dir(placed, path) => {
                let view = placed.now();
                let listed = match view.list(path, after, limit).await {
                    Err(VfsError::NotFound | VfsError::NotDirectory) if dir == InodeNo::ROOT => {
                        Vec::new()
                    }
                    listed => listed?,
                };
                for (name, stat) in listed {
                    let attr = self.remember((placed, dir), &view, &path.join(&name)?, &stat)?;
                    found.push((name.into(), attr));
                }
            }
            Node::Transaction(transaction, id) => {
                for (name, id, attr) in transaction.list(*id, after, limit).await? {
                    found.push((name, self.remember_node(transaction, id, attr)?));
                }
            }
            Node::Leaf(..) => return Err(VfsError::NotDirectory),
        }
        Ok(found)
    }

    /// Up to `count` bytes of a file from `offset`; fewer only at its end.
    pub async fn read(&self, ino: InodeNo, offset: u64, count: u64) -> Result<Bytes, VfsError> {
        match self.node(ino)? {
            Node::Leaf(view, path, _) => {
                let content = self.content(ino, &view, &path).await?;
                let end = offset.saturating_add(count).min(content.size());
                let (blobs, range) = (view.tree.nodes().blobs(), offset.min(end)..end);
                blobs.prefetch(&self.contents.ahead(ino, &range, blobs.ahead()));
                Ok(content.read_range(blobs, range).await?)
            }
            Node::Transaction(transaction, id) => transaction.read(id, offset, count).await,
            Node::Top | Node::Group(_) | Node::Dir(..) => Err(VfsError::IsDirectory),
        }
    }

    pub(super) async fn content(
        &self,
        ino: InodeNo,
        view: &View,
        path: &TreePath,
    ) -> Result<Content, VfsError> {
        if let Some(content) = self.contents.get(ino) {
            return Ok(content);
        }
        // The first reads of a file come several at a time, and a list may be long.
        let _alone = self.loading[(ino.0 % LOADING as u64) as usize].lock().await;
        if let Some(content) = self.contents.get(ino) {
            return Ok(content);
        }
        let entry = view.tree.get(path).await?.ok_or(VfsError::Stale)?;
        let content = view::content(&entry).ok_or(VfsError::Invalid("not a file"))?;
        self.contents.put(ino, content.clone());
        Ok(content.clone())
    }

    /// The target of a symlink.
    pub async fn readlink(&self, ino: InodeNo) -> Result<Arc<str>, VfsError> {
        match self.node(ino)? {
            Node::Leaf(view, path, _) => match view.tree.get(&path).await? {
                Some(Entry { kind: EntryKind::Symlink(target), .. }) => Ok(target.into()),
                Some(_) | None => Err(VfsError::Invalid("not a symlink")),
            },
            Node::Transaction(transaction, id) => transaction.readlink(id),
            Node::Top | Node::Group(_) | Node::Dir(..) => Err(VfsError::Invalid("not a symlink")),
        }
    }

    /// Room and use around `ino`. Costs nothing that grows.
    pub async fn statfs(&self, ino: InodeNo) -> Result<Statfs, VfsError> {
        let (blocks, files) = match self.node(ino)? {
            Node::Transaction(transaction, _) => return transaction.statfs(),
            Node::Dir(placed, _) => used(&placed.now()),
            Node::Leaf(view, ..) => used(&view),
            Node::Top | Node::Group(_) => (0, 0),
        };
        let (free, available, files_free) = (0, 0, 0);
        Ok(Statfs { block_size: 4096, blocks, free, available, files, files_free })
    }
}

/// Keeps a directory from moving.
async fn held(node: &Node) -> Hold {
    match node {
        Node::Dir(placed, _) => placed.current().await.1,
        Node::Top | Node::Group(_) | Node::Leaf(..) | Node::Transaction(..) => Hold::default(),
    }
}

fn used(view: &View) -> (u64, u64) {
    let totals = view.tree.root().totals();
    (totals.bytes.div_ceil(4096), totals.files + totals.dirs)
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("inodes", &self.inodes.len()).finish_non_exhaustive()
    }
}

/// The identity of the directory of a place; for invalidations.
pub(super) fn directory_identity(placed: &PlacedView, path: &TreePath) -> Identity {
    placed.directory(path)
}
