//! Copies that move no bytes: a file takes the chunks of another one.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::journal::Record;
use super::mirror::Entry as Mirrored;
use super::node::{Body, Data, NodeId, Origin};
use super::staged::{Staged, Unclaimed, Under};
use super::state::State;
use super::{COPIES, Pin, TransactionView};
use crate::chunk::Content;
use crate::model::TreePath;
use crate::tree::{EntryKind, Root, Tree};
use crate::vfs::VfsError;

/// Content in the store, and where a tree holds it.
#[derive(Debug, Clone)]
pub struct Original {
    /// What it is.
    pub content: Content,
    /// Where a later process finds it.
    pub origin: Origin,
}

/// How a file comes to share the chunks of another.
enum Way {
    /// It is empty, and was perhaps staged.
    Anew(Option<Arc<Staged>>),
    /// It shares what comes before.
    Further(Arc<Staged>),
}

impl TransactionView {
    /// The content of a file that is all in the store; `None` when it is not,
    /// or nothing says where.
    pub async fn original(&self, id: NodeId) -> Result<Option<Original>, VfsError> {
        let (base, content, copied, path) = {
            let state = self.lock();
            let node = state.node(id)?;
            let Data::Base(content) = node.data()? else { return Ok(None) };
            (state.base.clone(), content.clone(), node.copied.clone(), node.origin.clone())
        };
        if let Some(origin) = copied {
            return Ok(Some(Original { content, origin: (*origin).clone() }));
        }
        let Some(path) = path else { return Ok(None) };
        // The base may have moved on from what the node still shows.
        let held = base.get(&path).await?.map(|entry| entry.kind);
        let same = matches!(held, Some(EntryKind::File(held)) if held == content);
        let origin = Origin { root: *base.root(), path };
        Ok(same.then_some(Original { content, origin }))
    }

    /// Makes bytes `range` of the file `id` those of `original`, by reference:
    /// costs neither reading nor writing them. Answers whether that was
    /// possible; it is where the file ends at the start of the range, and
    /// shares what comes before.
    pub async fn adopt(
        &self,
        id: NodeId,
        range: Range<u64>,
        original: &Original,
    ) -> Result<bool, VfsError> {
        let _open = self.writable().await?;
        let _alone = self.copying[(id.0 % COPIES as u64) as usize].lock().await;
        let way = match self.lock().node(id)?.data()? {
            Data::Base(content) if content.size() == 0 && range.start == 0 => Way::Anew(None),
            Data::Staged(staged) if staged.size() != range.start => return Ok(false),
            Data::Staged(staged) if range.start == 0 => Way::Anew(Some(Arc::clone(staged))),
            Data::Staged(staged) => Way::Further(Arc::clone(staged)),
            Data::Base(_) | Data::Small(_) => return Ok(false),
        };
        let whole = range.end == original.content.size();
        match way {
            Way::Anew(staged) if whole => self.take_whole(id, staged.as_ref(), original)?,
            Way::Anew(staged) => self.take_part(id, staged.as_ref(), original, range.end)?,
            Way::Further(staged) => {
                let mut under = staged.under.write().await;
                let shared = under.content.as_ref() == Some(&original.content);
                if !shared || under.len != range.start || !under.is_untouched() {
                    return Ok(false);
                }
                match whole {
                    true => self.take_whole(id, Some(&staged), original)?,
                    false => self.take_more(&staged, &mut under, range.end)?,
                }
            }
        }
        self.lock().modified(id, self.clock.now())?;
        Ok(true)
    }

    /// Makes `id`, staged as `old`, hold what `original` does.
    fn take_whole(
        &self,
        id: NodeId,
        old: Option<&Arc<Staged>>,
        original: &Original,
    ) -> Result<(), VfsError> {
        let mut state = self.lock();
        if let Some(path) = state.path(id)? {
            let (root, from) = original.place();
            state.log(&Record::Copy { path, root, from, at: self.clock.now() })?;
        }
        state.copied(id, original)?;
        if let Some(old) = old {
            state.discard(old);
        }
        Ok(())
    }

    /// Makes `id`, staged as `old`, hold the first `end` bytes of `original`.
    fn take_part(
        &self,
        id: NodeId,
        old: Option<&Arc<Staged>>,
        original: &Original,
        end: u64,
    ) -> Result<(), VfsError> {
        let staging = self.staging();
        let file = self.lock().new_file();
        let unclaimed = Unclaimed::new(&staging, file);
        staging.create(file)?.set_len(end)?;
        let under = Under::of(original.content.clone(), end);
        let staged = Staged::new(Arc::clone(&staging), file, end, under);
        let mut state = self.lock();
        if let Some(path) = state.path(id)? {
            let (root, from) = original.place();
            state.log(&Record::CopyPart { path, root, from, file, base: end })?;
        }
        state.copied(id, original)?;
        unclaimed.keep();
        state.unsynced.push(Arc::clone(&staged));
        state.note(Mirrored::Staged { file, len: end });
        state.node_mut(id)?.body = Body::File(Data::Staged(staged));
        if let Some(old) = old {
            state.discard(old);
        }
        Ok(())
    }

    /// Lets `staged` show the first `end` bytes of what is under it.
    fn take_more(&self, staged: &Arc<Staged>, under: &mut Under, end: u64) -> Result<(), VfsError> {
        self.unsynced(staged);
        self.lock().log(&Record::Show { file: staged.file, base: end })?;
        staged.open()?.set_len(end)?;
        let shown = std::mem::replace(&mut under.len, end);
        let before = staged.size.swap(end, Ordering::AcqRel);
        staged.changed(before.min(shown));
        Ok(())
    }

    /// Makes the file at `path` again hold what `from` holds in the tree `root`.
    pub(super) async fn recopy(
        &self,
        path: &TreePath,
        root: &str,
        from: TreePath,
    ) -> Result<Pin<'_>, VfsError> {
        let (node, root) = (self.at(path).await?, recorded(root)?);
        let tree = Tree::new(self.base().nodes(), root);
        let entry = tree.get(&from).await?.map(|entry| entry.kind);
        let Some(EntryKind::File(content)) = entry else {
            return Err(VfsError::Damaged(format!("{from}, which was copied, is not there")));
        };
        let (id, origin) = (node.id, Origin { root, path: from });
        let mut state = self.lock();
        state.copied(id, &Original { content, origin })?;
        state.node_mut(id)?.changed = true;
        state.touch(id)?;
        drop(state);
        Ok(node)
    }
}

impl State {
    /// Makes the file `id` a copy of `original`.
    pub(super) fn copied(&mut self, id: NodeId, original: &Original) -> Result<(), VfsError> {
        let node = self.node_mut(id)?;
        node.body = Body::File(Data::Base(original.content.clone()));
        node.copied = Some(Arc::new(original.origin.clone()));
        Ok(())
    }

    /// Notes where the content of a file without a name comes from: the base
    /// will be another one.
    pub(super) fn note_origin(&mut self, id: NodeId) {
        self.note_origin_in(id, self.known_root());
    }

    /// The tree that names and contents are known from.
    pub(super) fn known_root(&self) -> Root {
        *self.unrefreshed.first().unwrap_or(&self.base).root()
    }

    /// [`State::note_origin`], which is the tree `root`.
    pub(super) fn note_origin_in(&mut self, id: NodeId, root: Root) {
        let Ok(node) = self.node_mut(id) else { return };
        if let (Body::File(_), None, Some(path)) = (&node.body, &node.copied, &node.origin)
            && node.places.is_empty()
        {
            node.copied = Some(Arc::new(Origin { root, path: path.clone() }));
        }
    }
}

impl Original {
    /// As the journal tells it.
    fn place(&self) -> (String, TreePath) {
        let Origin { root, path } = self.origin.clone();
        (hex::encode(root.encode()), path)
    }
}

/// The tree that a record names.
fn recorded(root: &str) -> Result<Root, VfsError> {
    let damaged = || VfsError::Damaged("a journal names no tree".into());
    let bytes = hex::decode(root).map_err(|_| damaged())?;
    Root::decode(&bytes).map_err(|_| damaged())
}
