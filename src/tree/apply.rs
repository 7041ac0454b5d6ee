//! Making the next tree from sorted edits.

use futures::{Stream, StreamExt as _};

use super::cursor::Records;
use super::key::Key;
use super::level::{Level, Rebuild};
use super::long::store_content;
use super::node::{Item, Record, RecordKind, Value};
use super::nodes::{Nodes, record_of};
use super::prune::Emptied;
use super::{Edit, Entry, EntryKind, LINK_MAX, MODE_MASK, Root, TreeError};
use crate::chunk::{Content, INLINE_MAX, PackWriter};
use crate::model::{PATH_MAX, Timestamp, TreePath};

/// How [`apply`] treats what an edit implies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Remove directories that lose their last entry to a [`Edit::Remove`],
    /// and their parents likewise.
    pub prune_parents: bool,
}

/// The tree that `edits` make of `old`.
///
/// Edits come in path order, at most one to a path except that a put or graft
/// may follow a remove; nothing may follow below a graft. An error of the
/// stream ends the work and is returned.
///
/// New nodes go to `writer` and are durable after its flush; they can be read
/// at once. The cost follows the edits (times the height of the tree), memory
/// does not grow with their number, and on an error nothing but unused blobs
/// is left.
pub async fn apply<S, E>(
    nodes: &Nodes,
    writer: &PackWriter,
    old: &Root,
    edits: S,
    options: ApplyOptions,
) -> Result<Root, E>
where
    S: Stream<Item = Result<(TreePath, Edit), E>>,
    E: From<TreeError>,
{
    let rebuild = Rebuild { nodes: nodes.clone(), writer: writer.clone(), old: *old };
    let mut editor = Editor::new(rebuild, options);
    let mut edits = std::pin::pin!(edits);
    while let Some(edit) = edits.next().await {
        let (path, edit) = edit?;
        editor.edit(path, edit).await?;
    }
    Ok(editor.finish().await?)
}

/// Turns edits of paths into edits of leaves, and keeps the tree well formed:
/// every ancestor of an entry is a directory.
struct Editor {
    rebuild: Rebuild,
    leaves: Level,
    options: ApplyOptions,
    emptied: Emptied,
    /// The last edit's path, and the first position the next one may have.
    previous: TreePath,
    floor: Key,
    /// Directories of the new tree on the way to the last put.
    dirs: Vec<TreePath>,
    /// The last put that was no directory.
    file: Option<TreePath>,
    /// What the last remove removed.
    removed: (Key, Key),
}

impl Editor {
    fn new(rebuild: Rebuild, options: ApplyOptions) -> Self {
        Self {
            leaves: Level::new(&rebuild, 0),
            emptied: Emptied::new(&rebuild),
            rebuild,
            options,
            previous: TreePath::root(),
            floor: Key::start(),
            dirs: Vec::new(),
            file: None,
            removed: (Key::start(), Key::start()),
        }
    }

    async fn finish(mut self) -> Result<Root, TreeError> {
        self.emptied.settle(&mut self.leaves, None).await?;
        self.leaves.finish().await
    }

    async fn edit(&mut self, path: TreePath, edit: Edit) -> Result<(), TreeError> {
        let key = Key::of(&path);
        if key < self.floor {
            return Err(TreeError::Unordered { path, previous: self.previous.clone() });
        }
        leave(&mut self.dirs, &path);
        match edit {
            Edit::Remove => {
                self.remove(&path, &key).await?;
                self.floor = key;
            }
            Edit::Put(entry) => {
                self.put(&path, key.clone(), entry).await?;
                self.floor = key.successor();
            }
            Edit::Replace(entry) => {
                self.begin_put(&path, entry.mtime).await?;
                self.clear(&path, &key).await?;
                self.put(&path, key.clone(), entry).await?;
                self.floor = key.successor();
            }
            Edit::Graft { source, path: from } => {
                self.graft(&path, key, source, &from).await?;
                self.floor = Key::after_subtree(&path);
            }
        }
        self.previous = path;
        Ok(())
    }

    /// The record under `key` of the old tree, unless an edit removed it.
    async fn old(&self, key: &Key) -> Result<Option<Record>, TreeError> {
        if self.is_removed(key) {
            return Ok(None);
        }
        let item = self.rebuild.nodes.find(&self.rebuild.old, key).await?;
        Ok(item.map(|item| record_of(&item.value).clone()))
    }

    async fn remove(&mut self, path: &TreePath, key: &Key) -> Result<(), TreeError> {
        let after = Key::after_subtree(path);
        if path.is_root() {
            self.leaves.delete(&Key::start(), &after).await?;
        } else if self.old(key).await?.is_none() {
            return Ok(());
        } else if self.options.prune_parents {
            self.emptied.remove(&mut self.leaves, path, &self.dirs).await?;
        } else {
            self.leaves.delete(key, &after).await?;
        }
        self.note_removed(key, after);
        Ok(())
    }

    fn note_removed(&mut self, key: &Key, after: Key) {
        // Edits are sorted, so of several ranges only the outermost counts.
        if !self.is_removed(key) {
            self.removed = (key.clone(), after);
        }
    }

    fn is_removed(&self, key: &Key) -> bool {
        *key >= self.removed.0 && *key < self.removed.1
    }

    /// Removes what is at `path` and below without regard to its parents.
    async fn clear(&mut self, path: &TreePath, key: &Key) -> Result<(), TreeError> {
        let after = Key::after_subtree(path);
        self.leaves.delete(key, &after).await?;
        self.note_removed(key, after);
        Ok(())
    }

    async fn put(&mut self, path: &TreePath, key: Key, entry: Entry) -> Result<(), TreeError> {
        check(path, &entry)?;
        self.begin_put(path, entry.mtime).await?;
        let (is_dir, old) = (entry.is_dir(), self.old(&key).await?);
        match &old {
            Some(old) if old.is_dir() && !is_dir => {
                return Err(TreeError::IsADirectory { path: path.clone() });
            }
            Some(old) if !old.is_dir() && is_dir => {
                return Err(TreeError::IsAFile { path: path.clone() });
            }
            Some(_) | None => {}
        }
        let record = self.record(entry).await?;
        let same = match &old {
            Some(old) if old.mtime == record.mtime && old.same_content(&record) => {
                self.keeps_places(old, &record).await?
            }
            Some(_) | None => false,
        };
        if !same {
            self.leaves.put(Item { key, value: Value::Record(record) }).await?;
        }
        match is_dir {
            true => self.dirs.push(path.clone()),
            false => self.file = Some(path.clone()),
        }
        Ok(())
    }

    /// Whether the places of `old` stay although `new` says the same under
    /// others: that is no change, unless the old ones were lost.
    async fn keeps_places(&self, old: &Record, new: &Record) -> Result<bool, TreeError> {
        let (old, new) = match (&old.kind, &new.kind) {
            (RecordKind::File(old), RecordKind::File(new)) => (old.chunks(), new.chunks()),
            (RecordKind::Long(old), RecordKind::Long(new)) => return Ok(old.parts == new.parts),
            (RecordKind::Dir | RecordKind::Symlink(_), _) => return Ok(true),
            (RecordKind::File(_) | RecordKind::Long(_), _) => return Ok(false),
        };
        for (old, _) in old.iter().zip(new).filter(|(old, new)| old != new) {
            if !self.rebuild.nodes.blobs().holds(old).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn record(&self, entry: Entry) -> Result<Record, TreeError> {
        let kind = match entry.kind {
            EntryKind::Dir => RecordKind::Dir,
            EntryKind::File(content) => store_content(&self.rebuild.writer, content).await?,
            EntryKind::Symlink(target) => RecordKind::Symlink(target),
        };
        Ok(Record { kind, mode: entry.mode, mtime: entry.mtime })
    }

    /// Makes sure that `path` can be put: its parents are directories, and
    /// what earlier removes emptied is decided.
    async fn begin_put(&mut self, path: &TreePath, mtime: Timestamp) -> Result<(), TreeError> {
        self.emptied.settle(&mut self.leaves, Some(path)).await?;
        if let Some(file) = self.file.take_if(|file| path.starts_with(file) && path != file) {
            return Err(TreeError::NotADirectory { path: path.clone(), file });
        }
        let (dir, _) = path.as_str().rsplit_once('/').unwrap_or_default();
        if self.dirs.last().map_or("", |last| last.as_str()) == dir {
            return Ok(());
        }
        let known = self.dirs.len();
        let missing: Vec<_> = path.ancestors().skip(1 + known).collect();
        for parent in missing {
            let key = Key::of(&parent);
            match self.old(&key).await? {
                Some(old) if old.is_dir() => {}
                Some(_) => {
                    return Err(TreeError::NotADirectory { path: path.clone(), file: parent });
                }
                None => {
                    let record = Record { kind: RecordKind::Dir, mode: 0o755, mtime };
                    self.leaves.put(Item { key, value: Value::Record(record) }).await?;
                }
            }
            self.dirs.push(parent);
        }
        Ok(())
    }

    /// Copies what `source` has at `from` to `path`.
    async fn graft(
        &mut self,
        path: &TreePath,
        key: Key,
        source: Root,
        from: &TreePath,
    ) -> Result<(), TreeError> {
        let (start, end) = (Key::of(from), Key::after_subtree(from));
        let nodes = &self.rebuild.nodes;
        let top = match from.is_root() {
            true => Record { kind: RecordKind::Dir, mode: 0o755, mtime: Timestamp::default() },
            false => match nodes.find(&source, &start).await? {
                Some(item) => record_of(&item.value).clone(),
                None => return Err(TreeError::NotFound { path: from.clone() }),
            },
        };
        let below = Records::open(nodes, &source, Key::below(from), end).await?;
        self.begin_put(path, top.mtime).await?;
        self.clear(path, &key).await?;
        match path.is_root() {
            false => self.leaves.put(Item { key, value: Value::Record(top) }).await?,
            true if top.is_dir() => {}
            true => {
                return Err(TreeError::NotADirectory { path: path.clone(), file: from.clone() });
            }
        }
        self.graft_below(path, below, from).await
    }

    async fn graft_below(
        &mut self,
        path: &TreePath,
        mut below: Records,
        from: &TreePath,
    ) -> Result<(), TreeError> {
        let (cut, base) = (Key::below(from).len(), Key::below(path));
        while let Some(Item { key, value }) = below.next().await? {
            let key = base.join(&key[cut..]);
            if key.len() > PATH_MAX {
                let rule = "a path below it would be longer than 4096 bytes";
                return Err(TreeError::InvalidEntry { path: path.clone(), rule });
            }
            self.leaves.put(Item { key, value }).await?;
        }
        Ok(())
    }
}

/// Whether an entry can be stored at `path` at all.
fn check(path: &TreePath, entry: &Entry) -> Result<(), TreeError> {
    let broken = |rule| Err(TreeError::InvalidEntry { path: path.clone(), rule });
    if path.is_root() {
        return broken("the root is no entry");
    }
    if entry.mode & !MODE_MASK != 0 {
        return broken("its mode has bits beyond 07777");
    }
    match &entry.kind {
        EntryKind::Symlink(target) if target.is_empty() => broken("its target is empty"),
        EntryKind::Symlink(target) if target.len() > LINK_MAX => {
            broken("its target is longer than 4095 bytes")
        }
        EntryKind::File(Content::Inline(bytes)) if bytes.len() > INLINE_MAX => {
            broken("a file over 4 KiB is not kept inline")
        }
        EntryKind::Dir | EntryKind::File(_) | EntryKind::Symlink(_) => Ok(()),
    }
}

/// Drops the directories, outermost first, that do not hold `path`.
fn leave(dirs: &mut Vec<TreePath>, path: &TreePath) {
    while dirs.last().is_some_and(|dir| dir == path || !path.starts_with(dir)) {
        dirs.pop();
    }
}
