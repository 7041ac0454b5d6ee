//! Operations on names: lookup, listing, creation, removal, renaming.

use std::io;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::journal::Record;
use super::mirror::Entry as Mirrored;
use super::node::{Body, Data, Dir, NodeId};
use super::state::State;
use super::{Pin, TransactionView};
use crate::chunk::Content;
use crate::model::Timestamp;
use crate::tree::Entry;
use crate::vfs::VfsError;
use crate::vfs::types::{Attr, NewBody, NewEntry, RenameMode, SetAttr, SetTime};

impl TransactionView {
    /// Looks `name` up in `dir`; an entry counts as looked up once more.
    pub async fn lookup(
        &self,
        dir: NodeId,
        name: &str,
    ) -> Result<Option<(NodeId, Attr)>, VfsError> {
        match self.pin(dir, name).await? {
            Some(pin) => {
                let attr = self.attr(pin.id)?;
                Ok(Some((pin.keep(), attr)))
            }
            None => Ok(None),
        }
    }

    /// About `limit` entries of `dir` after the name `after`, in name order;
    /// none at the end. Each counts as looked up once more.
    pub async fn list(
        &self,
        dir: NodeId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, NodeId, Attr)>, VfsError> {
        let mut after: Option<Arc<str>> = after.map(Into::into);
        loop {
            let (base, path, generation) = {
                let state = self.lock();
                (state.base.clone(), state.dir(dir)?.base.clone(), state.generation)
            };
            let page = match &path {
                Some(path) => base.list(path, after.as_deref(), limit).await?,
                None => Vec::new(),
            };
            let mut state = self.lock();
            if state.generation != generation {
                continue;
            }
            let more = page.last().filter(|_| page.len() >= limit).map(|(name, _)| name.clone());
            let names = {
                let range = (after.as_deref(), more.as_deref());
                merged(&mut state, dir, range, page, limit)?
            };
            // A page of removed entries is not yet the end.
            match (names.is_empty(), more) {
                (true, Some(last)) => after = Some(last.into()),
                _ => return listed(&mut state, names, limit),
            }
        }
    }

    /// Creates `name` in `dir`, which must be free; counts as looked up.
    pub async fn create(
        &self,
        dir: NodeId,
        name: &str,
        new: NewEntry,
    ) -> Result<(NodeId, Attr), VfsError> {
        let _open = self.writable().await?;
        if self.pin(dir, name).await?.is_some() {
            return Err(VfsError::Exists);
        }
        let at = self.clock.now();
        let mut state = self.lock();
        if !is_free(&state, dir, name)? {
            return Err(VfsError::Exists);
        }
        let path = state.child_path(dir, name)?;
        let NewEntry { body, mode, uid, gid } = new;
        let (record, body) = match body {
            NewBody::File => {
                (Record::File { path, mode, at }, Body::File(Data::Base(Content::default())))
            }
            NewBody::Directory => (Record::Directory { path, mode, at }, Body::Dir(Dir::default())),
            NewBody::Symlink(target) => {
                let body = Body::Symlink(target.as_str().into());
                (Record::Symlink { path, target, at }, body)
            }
        };
        state.log(&record)?;
        let id = state.create((dir, name.into()), body, mode, at)?;
        let node = state.node_mut(id)?;
        (node.uid, node.gid, node.lookups) = (Some(uid), Some(gid), 1);
        Ok((id, node.attr()))
    }

    /// Gives the file `id` one more name; counts as looked up.
    pub async fn link(&self, id: NodeId, dir: NodeId, name: &str) -> Result<Attr, VfsError> {
        let _open = self.writable().await?;
        if self.pin(dir, name).await?.is_some() {
            return Err(VfsError::Exists);
        }
        let mut state = self.lock();
        if !is_free(&state, dir, name)? {
            return Err(VfsError::Exists);
        }
        if state.node(id)?.is_dir() {
            return Err(VfsError::NotPermitted("directories have one name"));
        }
        let new = state.child_path(dir, name)?;
        let path = state.path(id)?.ok_or(VfsError::NotFound)?;
        state.log(&Record::Link { path, new })?;
        state.touch(id)?;
        state.attach(id, (dir, name.into()), self.clock.now())?;
        let node = state.node_mut(id)?;
        node.lookups += 1;
        Ok(node.attr())
    }

    /// Removes the file or symlink `name` from `dir`.
    pub async fn unlink(&self, dir: NodeId, name: &str) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let pin = self.pin(dir, name).await?.ok_or(VfsError::NotFound)?;
        if self.lock().node(pin.id)?.is_dir() {
            return Err(VfsError::IsDirectory);
        }
        self.remove(dir, name, &pin)
    }

    /// Removes the empty directory `name` from `dir`.
    pub async fn rmdir(&self, dir: NodeId, name: &str) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let pin = self.pin(dir, name).await?.ok_or(VfsError::NotFound)?;
        self.require_empty(pin.id).await?;
        self.remove(dir, name, &pin)
    }

    fn remove(&self, dir: NodeId, name: &str, pin: &Pin<'_>) -> Result<(), VfsError> {
        let mut state = self.lock();
        require_place(&state, dir, name, pin.id)?;
        require_unused(&state, pin.id)?;
        let path = state.child_path(dir, name)?;
        state.log(&Record::Remove { path })?;
        drop_name(&mut state, pin.id, dir, name, self.clock.now())
    }

    /// Moves `from` to `to`, each a name in a directory.
    pub async fn rename(
        &self,
        from: (NodeId, &str),
        to: (NodeId, &str),
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let source = self.pin(from.0, from.1).await?.ok_or(VfsError::NotFound)?;
        let target = self.pin(to.0, to.1).await?;
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(VfsError::Exists),
            (RenameMode::Exchange, None) => return Err(VfsError::NotFound),
            (RenameMode::Exchange, Some(target)) => {
                self.require_room(&source, to).await?;
                self.require_room(target, from).await?;
                return self.exchange(from, &source, to, target);
            }
            (RenameMode::Replace, Some(target)) if target.id == source.id => return Ok(()),
            (RenameMode::Replace, Some(target)) => self.replaceable(&source, target).await?,
            (RenameMode::Replace | RenameMode::NoReplace, None) => {}
        }
        self.require_room(&source, to).await?;
        let mut state = self.lock();
        require_place(&state, from.0, from.1, source.id)?;
        match &target {
            Some(target) => {
                require_place(&state, to.0, to.1, target.id)?;
                require_unused(&state, target.id)?;
            }
            None if is_free(&state, to.0, to.1)? => {}
            None => return Err(VfsError::Exists),
        }
        require_outside(&state, source.id, to.0)?;
        let (old, new) = (state.child_path(from.0, from.1)?, state.child_path(to.0, to.1)?);
        state.log(&Record::Rename { from: old, to: new })?;
        let at = self.clock.now();
        if let Some(target) = &target {
            drop_name(&mut state, target.id, to.0, to.1, at)?;
        }
        state.detach(source.id, &(from.0, from.1.into()), at)?;
        state.attach(source.id, (to.0, to.1.into()), at)
    }

    /// Whether `target` may give way to `source`.
    async fn replaceable(&self, source: &Pin<'_>, target: &Pin<'_>) -> Result<(), VfsError> {
        let (from, to) = {
            let state = self.lock();
            (state.node(source.id)?.is_dir(), state.node(target.id)?.is_dir())
        };
        match (from, to) {
            (true, true) => self.require_empty(target.id).await,
            (true, false) => Err(VfsError::NotDirectory),
            (false, true) => Err(VfsError::IsDirectory),
            (false, false) => Ok(()),
        }
    }

    fn exchange(
        &self,
        one: (NodeId, &str),
        a: &Pin<'_>,
        other: (NodeId, &str),
        b: &Pin<'_>,
    ) -> Result<(), VfsError> {
        let mut state = self.lock();
        require_place(&state, one.0, one.1, a.id)?;
        require_place(&state, other.0, other.1, b.id)?;
        require_outside(&state, a.id, other.0)?;
        require_outside(&state, b.id, one.0)?;
        let paths = (state.child_path(one.0, one.1)?, state.child_path(other.0, other.1)?);
        state.log(&Record::Exchange { one: paths.0, other: paths.1 })?;
        let at = self.clock.now();
        state.detach(a.id, &(one.0, one.1.into()), at)?;
        state.detach(b.id, &(other.0, other.1.into()), at)?;
        state.attach(a.id, (other.0, other.1.into()), at)?;
        state.attach(b.id, (one.0, one.1.into()), at)
    }

    async fn require_empty(&self, id: NodeId) -> Result<(), VfsError> {
        let mut after: Option<String> = None;
        loop {
            let (base, path) = {
                let state = self.lock();
                let dir = state.dir(id)?;
                (state.base.clone(), dir.base.clone())
            };
            let Some(path) = path else { return require_unused(&self.lock(), id) };
            let page = base.list(&path, after.as_deref(), 64).await?;
            let state = self.lock();
            let dir = state.dir(id)?;
            let removed =
                |name: &str| dir.overrides.get(name).is_some_and(|over| over.node.is_none());
            if !page.iter().all(|(name, _)| removed(name)) {
                return Err(VfsError::NotEmpty);
            }
            match page.last() {
                Some((name, _)) => after = Some(name.clone()),
                None => return require_unused(&state, id),
            }
        }
    }

    /// Changes attributes and, with a size, the content's length.
    pub async fn set_attr(&self, id: NodeId, set: SetAttr) -> Result<Attr, VfsError> {
        let _open = self.writable().await?;
        let at = self.clock.now();
        if let Some(size) = set.size {
            self.truncate(id, size).await?;
        }
        let time = |time: SetTime| match time {
            SetTime::To(time) => time,
            SetTime::Now => at,
        };
        let (mtime, atime) = (set.mtime.map(time), set.atime.map(time));
        let mut state = self.lock();
        if set.mode.or(set.uid).or(set.gid).is_some() || mtime.is_some() {
            let SetAttr { mode, uid, gid, .. } = set;
            if let Some(path) = state.path(id)? {
                state.log(&Record::Attributes { path, mode, uid, gid, mtime })?;
            }
            apply_attributes(&mut state, id, &set, mtime, at)?;
        }
        let node = state.node_mut(id)?;
        node.atime = atime.unwrap_or(node.atime);
        Ok(node.attr())
    }
}

impl TransactionView {
    /// Takes the set-id bits from a file that somebody else wrote to.
    pub async fn drop_privileges(&self, id: NodeId) -> Result<(), VfsError> {
        let mode = self.attr(id)?.mode;
        let group = if mode & 0o010 == 0 { 0 } else { 0o2000 };
        let kept = mode & !(0o4000 | group);
        match kept == mode {
            true => Ok(()),
            false => {
                let set = SetAttr { mode: Some(kept), ..SetAttr::default() };
                self.set_attr(id, set).await.map(drop)
            }
        }
    }
}

/// Sets what `set` and `mtime` name.
pub(super) fn apply_attributes(
    state: &mut State,
    id: NodeId,
    set: &SetAttr,
    mtime: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), VfsError> {
    let replayed = state.journal.is_none();
    // What was written since has set the time of the file, which is still there.
    let holds = replayed && !state.lost_power;
    let node = state.node_mut(id)?;
    node.mode = set.mode.map_or(node.mode, |mode| mode & 0o7777);
    node.uid = set.uid.or(node.uid);
    node.gid = set.gid.or(node.gid);
    node.mtime = mtime.unwrap_or(node.mtime);
    node.ctime = at;
    node.changed = true;
    if let (Some(mtime), Body::File(Data::Staged(staged))) = (mtime, &node.body) {
        node.timed = true;
        match staged.open() {
            Ok(_) if holds => {}
            Ok(file) => super::data::set_modified(&file, mtime)?,
            // The file was removed later, and its content with it.
            Err(error) if replayed && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    state.touch(id)
}

/// Takes a name from a node and, with it, the node unless it is in use.
fn drop_name(
    state: &mut State,
    id: NodeId,
    dir: NodeId,
    name: &str,
    at: Timestamp,
) -> Result<(), VfsError> {
    state.detach(id, &(dir, name.into()), at)?;
    state.note_origin(id);
    if let Ok(dir) = state.node_mut(id)?.dir_mut() {
        *dir = Dir::default(); // nothing shows through a removed directory
        state.note(Mirrored::Cleared(id.0));
    }
    state.prune(id);
    Ok(())
}

fn is_free(state: &State, dir: NodeId, name: &str) -> Result<bool, VfsError> {
    // The base does not have the name, or it would be known as a node.
    let dir = state.dir(dir)?;
    let taken = dir.overrides.get(name).is_some_and(|over| over.node.is_some());
    Ok(!taken && !dir.clean.contains_key(name))
}

/// The name still leads to the node that it led to before the lock.
fn require_place(state: &State, dir: NodeId, name: &str, id: NodeId) -> Result<(), VfsError> {
    let here = |(parent, known): &(NodeId, Arc<str>)| *parent == dir && &**known == name;
    match state.node(id)?.places.iter().any(here) {
        true => Ok(()),
        false => Err(VfsError::NotFound),
    }
}

/// Nothing was created or looked up in a directory that is to go.
fn require_unused(state: &State, id: NodeId) -> Result<(), VfsError> {
    let Ok(dir) = state.node(id)?.dir() else { return Ok(()) };
    let used = dir.overrides.values().any(|over| over.node.is_some());
    match used || !dir.clean.is_empty() {
        true => Err(VfsError::NotEmpty),
        false => Ok(()),
    }
}

/// A directory cannot move into itself.
fn require_outside(state: &State, id: NodeId, dir: NodeId) -> Result<(), VfsError> {
    match state.is_within(dir, id)? {
        true => Err(VfsError::Invalid("a directory cannot move into itself")),
        false => Ok(()),
    }
}

/// The names of `dir` within (after, until], base and overrides together, or
/// at least the first `limit` of them.
fn merged(
    state: &mut State,
    dir: NodeId,
    (after, until): (Option<&str>, Option<&str>),
    page: Vec<(String, Entry)>,
    limit: usize,
) -> Result<Vec<(Arc<str>, NodeId)>, VfsError> {
    let entries = state.dir(dir)?;
    let range = (after.map_or(Unbounded, Excluded), until.map_or(Unbounded, Included));
    let overrides = entries.overrides.range::<str, _>(range);
    let present = overrides.filter_map(|(name, over)| Some((Arc::clone(name), over.node?)));
    let mut names: Vec<(Arc<str>, NodeId)> = present.take(limit).collect();
    let base = entries.base.clone();
    for (name, entry) in page {
        let entries = state.dir(dir)?;
        if entries.overrides.contains_key(name.as_str()) {
            continue;
        }
        let id = match (entries.clean.get(name.as_str()), &base) {
            (Some(id), _) => *id,
            (None, Some(base)) => state.add_base(dir, &name, base.join(&name)?, entry)?,
            (None, None) => continue,
        };
        names.push((name.into(), id));
    }
    names.sort_unstable();
    Ok(names)
}

/// The first `limit` of `names`, looked up; the others pruned again.
fn listed(
    state: &mut State,
    mut names: Vec<(Arc<str>, NodeId)>,
    limit: usize,
) -> Result<Vec<(Arc<str>, NodeId, Attr)>, VfsError> {
    for (_, id) in names.split_off(names.len().min(limit)) {
        state.prune(id);
    }
    let mut entries = Vec::with_capacity(names.len());
    for (name, id) in names {
        state.look_up(id, 1);
        let attr = state.node(id)?.attr();
        entries.push((name, id, attr));
    }
    Ok(entries)
}
