//! Operations done to a view, and all that it shows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::TryStreamExt as _;

use super::memory::{Body, Seen, Tree as Shown};
use super::operations::{Op, Over, Target};
use crate::model::{Timestamp, TreePath};
use crate::tree::{EntryKind, Tree};
use crate::vfs::VfsError;
use crate::vfs::transaction::{Allocate, NodeId, TransactionView};
use crate::vfs::types::{Attr, Kind, NewBody, NewEntry, RenameMode, SetAttr, SetTime, XattrMode};

/// The files that are open.
pub(super) type Handles = HashMap<u8, NodeId>;

pub(super) fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

/// What every name that was looked up leads to, and what is told of that.
pub(super) type Names = BTreeMap<(NodeId, String), (NodeId, Attr)>;

/// A view as a kernel uses it.
pub(super) struct Viewed<'a> {
    pub(super) view: &'a TransactionView,
    pub(super) open: &'a mut Handles,
    /// Whether what was looked up is never given back.
    pub(super) keeps: bool,
}

impl Viewed<'_> {
    fn give_back(&self, id: NodeId) {
        if !self.keeps {
            self.view.forget(id, 1);
        }
    }

    /// The node that `target` names, looked up.
    async fn node(&self, target: &Target) -> Result<NodeId, VfsError> {
        match target {
            Target::Path(path) => Ok(self.view.at(&p(path)).await?.keep()),
            Target::Open(slot) => {
                let id = *self.open.get(slot).ok_or(VfsError::NotFound)?;
                self.view.lock().node_mut(id)?.lookups += 1;
                Ok(id)
            }
        }
    }

    fn kind(&self, id: NodeId) -> Kind {
        self.view.attr(id).unwrap().kind
    }

    async fn create(&self, path: &str, body: NewBody, mode: u32) -> Result<(), VfsError> {
        let path = p(path);
        let (dir, name) = self.view.above(&path).await?;
        let new = NewEntry { body, mode, uid: 0, gid: 0 };
        let (id, _) = self.view.create(dir.id, name, new).await?;
        self.give_back(id);
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str, over: Over) -> Result<(), VfsError> {
        if over == Over::Exchange && from == to {
            return Err(VfsError::Invalid("the same"));
        }
        let mode = match over {
            Over::Replace => RenameMode::Replace,
            Over::Refuse => RenameMode::NoReplace,
            Over::Exchange => RenameMode::Exchange,
        };
        let (from, to) = (p(from), p(to));
        let (a, b) = (self.view.above(&from).await?, self.view.above(&to).await?);
        self.view.rename((a.0.id, a.1), (b.0.id, b.1), mode).await
    }

    async fn names(&mut self, op: &Op) -> Result<(), VfsError> {
        let view = self.view;
        match op {
            Op::Create(path, mode) => self.create(path, NewBody::File, *mode).await,
            Op::Mkdir(path, mode) => self.create(path, NewBody::Directory, *mode).await,
            Op::Symlink(path, to) => self.create(path, NewBody::Symlink(to.clone()), 0o777).await,
            Op::Link(path, new) => {
                let (file, new) = (view.at(&p(path)).await?, p(new));
                let (dir, name) = view.above(&new).await?;
                view.link(file.id, dir.id, name).await?;
                self.give_back(file.id);
                Ok(())
            }
            Op::Remove(path) => {
                let path = p(path);
                let kind = self.kind(view.at(&path).await?.id);
                let (dir, name) = view.above(&path).await?;
                match kind {
                    Kind::Directory => view.rmdir(dir.id, name).await,
                    Kind::File | Kind::Symlink => view.unlink(dir.id, name).await,
                }
            }
            Op::Rename(from, to, over) => self.rename(from, to, *over).await,
            Op::Open(slot, path) => {
                let pin = view.at(&p(path)).await?;
                if self.kind(pin.id) != Kind::File {
                    return Err(VfsError::IsDirectory);
                }
                if let Some(old) = self.open.insert(*slot, pin.keep()) {
                    view.forget(old, 1);
                }
                Ok(())
            }
            Op::Close(slot) => {
                view.forget(self.open.remove(slot).ok_or(VfsError::NotFound)?, 1);
                Ok(())
            }
            _ => unreachable!("not an operation on names"),
        }
    }

    /// As copy_file_range(2): by reference where that can be.
    async fn copy(&self, from: &str, to: NodeId, at: (u64, u64, u64)) -> Result<(), VfsError> {
        let (view, (at, into, count)) = (self.view, at);
        let from = view.at(&p(from)).await?;
        if from.id == to || self.kind(from.id) != Kind::File || self.kind(to) != Kind::File {
            return Err(VfsError::Invalid("not two files"));
        }
        if let Some(original) = view.original(from.id).await?.filter(|_| at == into) {
            let end = at.saturating_add(count).min(original.content.size());
            if at < end && view.adopt(to, at..end, &original).await? {
                return Ok(());
            }
        }
        let bytes = view.read(from.id, at, count).await?;
        match bytes.is_empty() {
            true => Ok(()),
            false => view.write(to, into, &bytes).await,
        }
    }

    async fn change(&self, op: &Op, id: NodeId) -> Result<(), VfsError> {
        let view = self.view;
        let set = |set| async move { view.set_attr(id, set).await.map(drop) };
        let is_link = self.kind(id) == Kind::Symlink;
        match op {
            Op::Write(_, at, data) => view.write(id, *at, data).await,
            Op::Append(_, data) => view.write(id, view.attr(id)?.size, data).await,
            Op::Truncate(_, size) => set(SetAttr { size: Some(*size), ..SetAttr::default() }).await,
            Op::Zero(..) | Op::Extend(..) if self.kind(id) != Kind::File => {
                Err(VfsError::IsDirectory)
            }
            Op::Zero(_, range) => view.allocate(id, Allocate::Zero, range.clone()).await,
            Op::Extend(_, end) => view.allocate(id, Allocate::Extend, 0..*end).await,
            Op::Copy(from, _, range) => self.copy(from, id, *range).await,
            Op::Chmod(..) | Op::SetXattr(..) if is_link => Err(VfsError::Invalid("a symlink")),
            Op::Chmod(_, mode) => set(SetAttr { mode: Some(*mode), ..SetAttr::default() }).await,
            Op::SetTime(_, nanos) => {
                let mtime = Some(SetTime::To(Timestamp::from_nanos(*nanos)));
                set(SetAttr { mtime, ..SetAttr::default() }).await
            }
            Op::SetXattr(_, name, value) => {
                view.set_attribute(id, name, value, XattrMode::Set).await
            }
            Op::RemoveXattr(_, name) => view.remove_attribute(id, name).await,
            Op::Sync(_) => view.sync(id).await,
            _ => unreachable!("an operation on names"),
        }
    }

    pub(super) async fn run(&mut self, op: &Op) -> Result<(), VfsError> {
        match op {
            Op::Write(to, ..)
            | Op::Append(to, _)
            | Op::Truncate(to, _)
            | Op::Zero(to, _)
            | Op::Extend(to, _)
            | Op::Copy(_, to, _)
            | Op::Chmod(to, _)
            | Op::SetTime(to, _)
            | Op::SetXattr(to, ..)
            | Op::RemoveXattr(to, _)
            | Op::Sync(to) => {
                let id = self.node(to).await?;
                let done = self.change(op, id).await;
                self.give_back(id);
                done
            }
            _ => self.names(op).await,
        }
    }

    async fn seen(&self, id: NodeId) -> Seen {
        let (view, attr) = (self.view, self.view.attr(id).unwrap());
        let body = match attr.kind {
            Kind::Directory => Body::Dir,
            Kind::Symlink => Body::Symlink(view.readlink(id).unwrap().to_string()),
            Kind::File => {
                let bytes: Vec<u8> = view.read(id, 0, 1 << 30).await.unwrap().into();
                assert_eq!(bytes.len() as u64, attr.size, "what stat and read tell");
                Body::File(bytes)
            }
        };
        let names = view.attribute_names(id).unwrap();
        let value = |name: &Arc<str>| view.attribute(id, name).unwrap();
        let xattrs = names.iter().map(|name| (name.to_string(), value(name))).collect();
        let links = attr.nlink as usize;
        Seen { body, mode: attr.mode, mtime: Some(attr.mtime.as_nanos()), xattrs, links }
    }

    /// Everything in the view, by listing it in pages of three.
    pub(super) async fn tree(&self) -> (Shown, Names) {
        let (mut shown, mut names) = (Shown::new(), Names::new());
        let mut dirs = vec![(TreePath::root(), NodeId::ROOT)];
        while let Some((dir, dir_id)) = dirs.pop() {
            let mut after: Option<Arc<str>> = None;
            loop {
                let page = self.view.list(dir_id, after.as_deref(), 3).await.unwrap();
                let Some((last, ..)) = page.last() else { break };
                after = Some(Arc::clone(last));
                for (name, id, attr) in page {
                    let path = dir.join(&name).unwrap();
                    assert_eq!(self.view.at(&path).await.unwrap().id, id, "listed and looked up");
                    names.insert((dir_id, name.to_string()), (id, attr));
                    let seen = self.seen(id).await;
                    match seen.body {
                        Body::Dir => dirs.push((path.clone(), id)),
                        Body::File(_) | Body::Symlink(_) => self.give_back(id),
                    }
                    shown.insert(path.as_str().to_owned(), seen);
                }
            }
            if dir_id != NodeId::ROOT {
                self.give_back(dir_id);
            }
        }
        (shown, names)
    }

    /// What the open files hold.
    pub(super) async fn handles(&self) -> BTreeMap<u8, Vec<u8>> {
        let mut held = BTreeMap::new();
        for (slot, id) in &*self.open {
            held.insert(*slot, self.view.read(*id, 0, 1 << 30).await.unwrap().into());
        }
        held
    }
}

/// Everything a commit holds.
pub(super) async fn held(tree: &Tree) -> Shown {
    let entries: Vec<_> = tree.walk(&TreePath::root(), None).try_collect().await.unwrap();
    let mut shown = Shown::new();
    for (path, entry) in entries {
        let body = match entry.kind {
            EntryKind::Dir => Body::Dir,
            EntryKind::Symlink(target) => Body::Symlink(target),
            EntryKind::File(content) => {
                let all = content.read_range(tree.nodes().blobs(), 0..content.size()).await;
                Body::File(all.unwrap().into())
            }
        };
        let (mode, mtime) = (entry.mode, Some(entry.mtime.as_nanos()));
        let seen = Seen { body, mode, mtime, xattrs: BTreeMap::new(), links: 1 };
        shown.insert(path.as_str().to_owned(), seen);
    }
    shown
}
