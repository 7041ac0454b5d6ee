//! From the state of a transaction to frames, one for each time that its lock
//! was held.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, MutexGuard};

use super::Mirror;
use super::record::{Body, Entry, Frame, Head, Shown};
use crate::model::TransactionId;
use crate::vfs::VfsError;
use crate::vfs::request;
use crate::vfs::transaction::TransactionView;
use crate::vfs::transaction::journal::{Journal, Record};
use crate::vfs::transaction::node::{self, Data, Node, NodeId};
use crate::vfs::transaction::noted::Noted;
use crate::vfs::transaction::staged::Staged;
use crate::vfs::transaction::state::State;

/// How many entries of everything go into one frame.
const ENTRIES: usize = 1024;

/// The state, held; what was changed is mirrored when it is let go of.
pub(in crate::vfs::transaction) struct Locked<'a>(
    pub(in crate::vfs::transaction) MutexGuard<'a, State>,
);

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.mirror_changes();
    }
}

/// What has changed since the state was last mirrored.
#[derive(Debug, Default)]
pub(in crate::vfs::transaction) struct Marks {
    nodes: Vec<NodeId>,
    entries: Vec<Entry>,
    head: bool,
    done: Vec<u64>,
    /// Staged files to be removed once nothing mirrored speaks of them.
    removed: Vec<Arc<Staged>>,
}

impl TransactionView {
    /// Keeps the transaction in memory as well, from now on, for a process that
    /// goes on with it: answers the memory.
    pub fn mirror(&self) -> io::Result<OwnedFd> {
        let mut state = self.lock();
        let mut mirror = Mirror::new()?;
        let frames = state.everything(self.key).map_err(io::Error::other)?;
        let frames = frames.ok_or_else(|| io::Error::other("a file of it is being changed"))?;
        mirror.replace(frames.into_iter())?;
        let file = mirror.as_fd().try_clone_to_owned()?;
        (state.mirror, state.key) = (Some(mirror), Some(self.key));
        Ok(file)
    }

    /// Whether the request `number` was carried out, here or by the process
    /// before this one.
    #[must_use]
    pub fn was_done(&self, number: u64) -> bool {
        self.lock().mirror.as_ref().is_some_and(|mirror| mirror.done.contains(&number))
    }
}

impl State {
    /// Notes that `id` is another now, or is gone.
    pub(in crate::vfs::transaction) fn mark(&mut self, id: NodeId) {
        if self.mirror.is_some() && self.marks.nodes.last() != Some(&id) {
            self.marks.nodes.push(id);
        }
    }

    /// Notes that what the transaction is about has changed, or its standing.
    pub(in crate::vfs::transaction) fn mark_head(&mut self) {
        self.marks.head = true;
    }

    pub(in crate::vfs::transaction) fn note(&mut self, entry: Entry) {
        if self.mirror.is_some() {
            self.marks.entries.push(entry);
        }
    }

    /// Notes what nodes do not tell of `record`, which is being carried out.
    pub(in crate::vfs::transaction) fn note_record(&mut self, record: &Record) {
        match record {
            Record::File { .. }
            | Record::Directory { .. }
            | Record::Symlink { .. }
            | Record::Link { .. }
            | Record::Remove { .. }
            | Record::Rename { .. }
            | Record::Exchange { .. }
            | Record::Xattr { .. } => {
                if self.mirror.is_some() {
                    self.marks.done.extend(request::current());
                }
            }
            Record::Blocks { file, first, count } => {
                self.note(Entry::Blocks { file: *file, first: *first, count: *count });
            }
            Record::Clip { file, base } => self.note(Entry::Clip { file: *file, len: *base }),
            Record::Show { file, base } => self.note(Entry::Show { file: *file, len: *base }),
            Record::Attributes { .. }
            | Record::Stage { .. }
            | Record::Small { .. }
            | Record::Copy { .. }
            | Record::CopyPart { .. }
            | Record::Opened { .. }
            | Record::Synced { .. } => {}
        }
    }

    /// Removes `staged` once nothing mirrored speaks of it.
    pub(in crate::vfs::transaction) fn remove_later(&mut self, staged: Arc<Staged>) {
        match self.mirror.is_some() {
            true => self.marks.removed.push(staged),
            false => staged.remove(),
        }
    }

    fn mirror_changes(&mut self) {
        let Some(mut mirror) = self.mirror.take() else { return };
        let removed = std::mem::take(&mut self.marks.removed);
        match self.mirror_into(&mut mirror) {
            Ok(()) => self.mirror = Some(mirror),
            Err(error) => {
                tracing::warn!(%error, "the transaction would not outlive this process here");
                mirror.spoil();
            }
        }
        removed.iter().for_each(|staged| staged.remove());
    }

    fn mirror_into(&mut self, mirror: &mut Mirror) -> Result<(), VfsError> {
        if mirror.is_due() && self.mirror_all(mirror)? {
            return Ok(());
        }
        let Some(frame) = self.frame(mirror)? else { return Ok(()) };
        Ok(mirror.append(&frame)?)
    }

    /// Has `mirror` tell everything anew; `false`, and nothing done, while a
    /// staged file is changed.
    pub(super) fn mirror_all(&mut self, mirror: &mut Mirror) -> Result<bool, VfsError> {
        let Some(key) = self.key else { return Ok(false) };
        let Some(mut frames) = self.everything(key)? else { return Ok(false) };
        let marks = std::mem::take(&mut self.marks);
        let known: Vec<u64> = mirror.done.drain(..).collect();
        if let Some(first) = frames.first_mut() {
            first.done = known.into_iter().chain(marks.done).collect();
        }
        mirror.replace(frames.into_iter())?;
        Ok(true)
    }

    /// What has changed since `mirror` was written.
    fn frame(&mut self, mirror: &Mirror) -> Result<Option<Frame>, VfsError> {
        let mut frame = self.frame_of(Vec::new());
        let marks = &mut self.marks;
        let same = frame.journal == mirror.journal && marks.done.is_empty() && !marks.head;
        if same && marks.nodes.is_empty() && marks.entries.is_empty() {
            return Ok(None);
        }
        let mut nodes = std::mem::take(&mut marks.nodes);
        frame.entries = std::mem::take(&mut marks.entries);
        frame.done = std::mem::take(&mut marks.done);
        if std::mem::take(&mut marks.head)
            && let Some(key) = self.key
        {
            frame.entries.push(self.head(key)?);
        }
        nodes.sort_unstable();
        nodes.dedup();
        for id in nodes {
            frame.entries.push(self.node_entry(id)?);
        }
        Ok(Some(frame))
    }

    fn frame_of(&self, entries: Vec<Entry>) -> Frame {
        let journal = self.journal.as_ref().map_or(0, Journal::end);
        let (next_node, next_file) = (self.next_node, self.next_file());
        Frame { journal, next_node, next_file, done: Vec::new(), entries }
    }

    /// Frames that tell everything; `None` while a staged file is changed.
    fn everything(&self, key: TransactionId) -> Result<Option<Vec<Frame>>, VfsError> {
        let mut entries = vec![self.head(key)?];
        for (id, node) in &self.nodes {
            entries.push(self.node_entry(*id)?);
            if let node::Body::File(Data::Staged(staged)) = &node.body {
                let Ok(under) = staged.under.try_read() else { return Ok(None) };
                let file = staged.file;
                if under.content.is_some() {
                    entries.push(Entry::Staged { file, len: under.len });
                    let runs = under.runs().into_iter();
                    entries.extend(runs.map(|(first, count)| Entry::Blocks { file, first, count }));
                }
            }
            if let Ok(dir) = node.dir() {
                let hidden = dir.overrides.iter().filter(|(_, over)| over.node.is_none());
                entries.extend(
                    hidden.map(|(name, _)| Entry::Hidden { dir: id.0, name: name.to_string() }),
                );
            }
        }
        let frames = entries.chunks(ENTRIES).map(|part| self.frame_of(part.to_vec()));
        Ok(Some(frames.collect()))
    }

    fn head(&self, key: TransactionId) -> Result<Entry, VfsError> {
        let dir = self.staging.dir();
        let dir = dir.parent().unwrap_or(dir).to_owned();
        Ok(Entry::Head(Box::new(Head {
            key,
            journal: Noted::read(&dir)?.journal,
            dir,
            started: self.started.clone(),
            standing: self.standing.clone(),
            committing: self.committing.clone(),
            unkept: self.unkept.clone(),
            unrefreshed: self
                .unrefreshed
                .iter()
                .map(|tree| hex::encode(tree.root().encode()))
                .collect(),
            untold: !self.refreshed.is_empty(),
        })))
    }

    fn node_entry(&self, id: NodeId) -> Result<Entry, VfsError> {
        match self.nodes.get(&id) {
            Some(node) => Ok(Entry::Node(Box::new(self.shown(id, node)?))),
            None => Ok(Entry::Gone(id.0)),
        }
    }

    fn shown(&self, id: NodeId, node: &Node) -> Result<Shown, VfsError> {
        let place = |(dir, name): &(NodeId, Arc<str>)| {
            let over = self.dir(*dir)?.overrides.get(name);
            Ok((dir.0, name.to_string(), over.map(|over| over.hides)))
        };
        let body = match &node.body {
            node::Body::Dir(dir) => Body::Dir(dir.base.clone()),
            node::Body::Symlink(target) => Body::Symlink(target.to_string()),
            node::Body::File(Data::Base(content)) => Body::of(content),
            node::Body::File(Data::Small(small)) => {
                Body::Small(small.start(), small.size(), small.elsewhere(&self.staging))
            }
            node::Body::File(Data::Staged(staged)) => {
                let elsewhere = staged.elsewhere(&self.staging);
                Body::Staged(staged.file, staged.size(), elsewhere)
            }
        };
        let Node { mode, uid, gid, mtime, ctime, atime, .. } = *node;
        let values = node.attributes.iter();
        Ok(Shown {
            id: id.0,
            mode,
            uid,
            gid,
            times: [mtime, ctime, atime],
            origin: node.origin.clone(),
            copied: node
                .copied
                .as_ref()
                .map(|from| (hex::encode(from.root.encode()), from.path.clone())),
            attributes: values
                .map(|(name, value)| (name.to_string(), hex::encode(value)))
                .collect(),
            places: node.places.iter().map(place).collect::<Result<_, VfsError>>()?,
            changed: node.changed,
            timed: node.timed,
            body,
        })
    }
}
