//! Transactions on disk: starting one, finding it again, replaying it.
//!
//! A staging directory holds `transaction.json` (what it is about), the journal
//! that it names (what was done since) and `files/` (changed content). A commit
//! that is gone on from replaces `transaction.json`, and with it base and
//! journal, in one step.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::fcntl::Flock;

use super::directory::{Left, hold};
use super::journal::{Journal, Record, boot};
use super::node::{Body, Data, NodeId};
use super::noted::{Noted, Started};
use super::staged::{Staged, Staging, Under};
use super::state::State;
use super::{Pin, TransactionView};
use crate::model::{Clock, Timestamp, TreePath};
use crate::tree::Tree;
use crate::vfs::VfsError;
use crate::vfs::types::{NewBody, NewEntry, RenameMode, SetAttr};

const FILES: &str = "files";

impl TransactionView {
    /// Starts a transaction over `base` in the directory `dir`, which is
    /// created and must not hold one already.
    pub fn start(
        dir: &Path,
        started: Started,
        base: Tree,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let (lock, journal) = begin(dir, &started)?;
        let mut state = State::new(base, started, staging(dir), clock.now());
        state.journal = Some(journal);
        Ok(Self::assemble(clock, lock, state))
    }

    /// Opens the transaction that a dead process left in `dir`; `base` is the
    /// tree that [`inspect`] names. It is about `started` from now on, which
    /// has the same base.
    ///
    /// [`inspect`]: super::inspect
    pub async fn recover(
        dir: &Path,
        started: Started,
        base: Tree,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VfsError> {
        Self::recover_during(&boot(), (dir, started), base, clock).await
    }

    /// [`TransactionView::recover`] in the run `boot` of the machine.
    pub(super) async fn recover_during(
        boot: &str,
        (dir, started): (&Path, Started),
        base: Tree,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VfsError> {
        let lock = hold(dir)?;
        let noted = Noted::read(dir)?;
        if (noted.started.base, &noted.started.root) != (started.base, &started.root) {
            let what = format!("somebody else has just gone on with {}", dir.display());
            return Err(VfsError::Unavailable(what));
        }
        let (mut journal, records) = Journal::open(&noted.journal(dir), boot)?;
        let at = started.at;
        let state = State::new(base, started.clone(), staging(dir), at);
        let view = Self::assemble(clock, lock, state);
        // The loss of power may undo the removals that are replayed here.
        view.lock().durable_files = u64::MAX;
        view.lock().lost_power = journal.is_cut();
        view.replay_all(records, dir).await?;
        for clip in view.take_sizes()? {
            journal.append(&clip)?;
        }
        if noted.started != started {
            Noted { started, ..noted }.write(dir)?;
        }
        Left::forget_failure(dir);
        let mut state = view.lock();
        state.durable_files = state.next_file();
        state.journal = Some(journal);
        drop(state);
        Ok(view)
    }

    async fn replay_all(&self, records: Vec<Record>, dir: &Path) -> Result<(), VfsError> {
        let mut files = HashMap::new();
        for record in records {
            let text = format!("{record:?}");
            self.replay(record, &mut files).await.map_err(|error| match error {
                VfsError::NotFound => {
                    let at = dir.display();
                    VfsError::Damaged(format!(
                        "{at}: the journal does not go with its base: {text}"
                    ))
                }
                error => error,
            })?;
        }
        Ok(())
    }

    async fn replay(
        &self,
        record: Record,
        files: &mut HashMap<u64, Arc<Staged>>,
    ) -> Result<(), VfsError> {
        match record {
            Record::File { path, mode, at } => self.recreate(&path, NewBody::File, mode, at).await,
            Record::Directory { path, mode, at } => {
                self.recreate(&path, NewBody::Directory, mode, at).await
            }
            Record::Symlink { path, target, at } => {
                self.recreate(&path, NewBody::Symlink(target), 0o777, at).await
            }
            Record::Link { path, new } => self.relink(&path, &new).await,
            Record::Remove { path } => self.remove_again(&path).await,
            Record::Rename { from, to } => {
                self.replay_rename(&from, &to, RenameMode::Replace).await
            }
            Record::Exchange { one, other } => {
                self.replay_rename(&one, &other, RenameMode::Exchange).await
            }
            Record::Attributes { path, mode, uid, gid, mtime } => {
                let node = self.at(&path).await?;
                let set = SetAttr { mode, uid, gid, ..SetAttr::default() };
                let mut state = self.lock();
                let at = state.started.at;
                super::names::apply_attributes(&mut state, node.id, &set, mtime, at)
            }
            Record::Stage { path, file, base } => {
                let node = self.at(&path).await?;
                files.insert(file, self.restage(&node, file, base)?);
                Ok(())
            }
            Record::Small { path, start, size, at } => {
                let node = self.at(&path).await?;
                self.restore_small(&node, start, size, at)
            }
            Record::Blocks { file, first, count } => {
                under(files, file, |under| under.mark(first, count)).await
            }
            Record::Clip { file, base } => {
                under(files, file, |under| under.len = under.len.min(base)).await
            }
            Record::Show { file, base } => under(files, file, |under| under.len = base).await,
            Record::Copy { path, root, from, at } => {
                let node = self.recopy(&path, &root, from).await?;
                self.lock().modified(node.id, at)
            }
            Record::CopyPart { path, root, from, file, base } => {
                let node = self.recopy(&path, &root, from).await?;
                files.insert(file, self.restage(&node, file, base)?);
                Ok(())
            }
            Record::Xattr { path, name, value } => self.reattribute(&path, &name, value).await,
            Record::Opened { .. } | Record::Synced { .. } => Ok(()),
        }
    }

    async fn remove_again(&self, path: &TreePath) -> Result<(), VfsError> {
        let node = self.at(path).await?;
        let is_dir = self.lock().node(node.id)?.is_dir();
        drop(node);
        let (dir, name) = self.above(path).await?;
        match is_dir {
            true => self.rmdir(dir.id, name).await,
            false => self.unlink(dir.id, name).await,
        }
    }

    async fn recreate(
        &self,
        path: &TreePath,
        body: NewBody,
        mode: u32,
        at: Timestamp,
    ) -> Result<(), VfsError> {
        let (dir, name) = self.above(path).await?;
        let (id, _) = self.create(dir.id, name, NewEntry { body, mode, uid: 0, gid: 0 }).await?;
        let mut state = self.lock();
        let node = state.node_mut(id)?;
        (node.uid, node.gid, node.mtime, node.ctime) = (None, None, at, at);
        state.forget(id, 1);
        Ok(())
    }

    async fn relink(&self, path: &TreePath, new: &TreePath) -> Result<(), VfsError> {
        let (file, (dir, name)) = (self.at(path).await?, self.above(new).await?);
        self.link(file.id, dir.id, name).await?;
        self.forget(file.id, 1);
        Ok(())
    }

    async fn replay_rename(
        &self,
        from: &TreePath,
        to: &TreePath,
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let ((dir, name), (into, new)) = (self.above(from).await?, self.above(to).await?);
        self.rename((dir.id, name), (into.id, new), mode).await
    }

    fn restage(&self, node: &Pin<'_>, file: u64, base: u64) -> Result<Arc<Staged>, VfsError> {
        let mut state = self.lock();
        state.used_file(file);
        let under = match state.node(node.id)?.data()? {
            Data::Base(content) if base > 0 => Under::of(content.clone(), base),
            Data::Base(_) | Data::Small(_) | Data::Staged(_) => Under::default(),
        };
        let staged = Staged::new(Arc::clone(&state.staging), file, 0, under);
        state.unsynced.push(Arc::clone(&staged));
        let target = state.node_mut(node.id)?;
        target.body = Body::File(Data::Staged(Arc::clone(&staged)));
        target.changed = true;
        state.touch(node.id)?;
        Ok(staged)
    }

    fn restore_small(
        &self,
        node: &Pin<'_>,
        start: u64,
        size: u64,
        at: Timestamp,
    ) -> Result<(), VfsError> {
        let mut state = self.lock();
        let small = state.staging.small_at(start, size)?;
        let target = state.node_mut(node.id)?;
        target.body = Body::File(Data::Small(small));
        (target.mtime, target.ctime, target.changed) = (at, at, true);
        state.touch(node.id)
    }

    /// Takes sizes and times of staged files from the files themselves; answers
    /// what is to be noted of that.
    fn take_sizes(&self) -> Result<Vec<Record>, VfsError> {
        let mut state = self.lock();
        let mut clips = Vec::new();
        for (_, node) in state.nodes_mut() {
            let staged = match &node.body {
                Body::File(Data::Staged(staged)) => staged,
                Body::File(Data::Small(small)) => {
                    small.require().map_err(|error| damaged(&small.path(), &error))?;
                    continue;
                }
                Body::File(Data::Base(_)) | Body::Dir(_) | Body::Symlink(_) => continue,
            };
            let file = staged.open().map_err(|error| damaged(&staged.path(), &error))?;
            let found = file.metadata()?;
            staged.size.store(found.len(), Ordering::Release);
            // Cut shorter, which may not have been noted: the base must not
            // show again when the file grows.
            if let Ok(mut under) = staged.under.try_write()
                && found.len() < under.len
            {
                under.len = found.len();
                clips.push(Record::Clip { file: staged.file, base: under.len });
            }
            let (seconds, nanos) = modified(&found);
            node.mtime = Timestamp::from_parts(seconds, nanos);
        }
        Ok(clips)
    }

    /// The node at `path`.
    pub(super) async fn at(&self, path: &TreePath) -> Result<Pin<'_>, VfsError> {
        let mut pin = self.pinned(&mut self.lock(), NodeId::ROOT)?;
        for name in path.components() {
            pin = self.pin(pin.id, name).await?.ok_or(VfsError::NotFound)?;
        }
        Ok(pin)
    }

    /// The directory that `path` is in, and its name there.
    pub(super) async fn above<'p>(
        &self,
        path: &'p TreePath,
    ) -> Result<(Pin<'_>, &'p str), VfsError> {
        let parent = path.parent().ok_or(VfsError::Invalid("the root has no name"))?;
        Ok((self.at(&parent).await?, path.file_name()))
    }
}

/// Changes what shows through the staged file `file`. One without a name is in
/// no journal, but its blocks are.
async fn under(
    files: &HashMap<u64, Arc<Staged>>,
    file: u64,
    change: impl FnOnce(&mut Under),
) -> Result<(), VfsError> {
    if let Some(staged) = files.get(&file) {
        change(&mut *staged.under.write().await);
    }
    Ok(())
}

/// Makes `dir` the staging directory of a new transaction and holds it.
pub(super) fn begin(dir: &Path, started: &Started) -> io::Result<(Flock<File>, Journal)> {
    fs::create_dir_all(dir.join(FILES))?;
    let lock = hold(dir)?;
    let noted = Noted { started: started.clone(), journal: 0, committed: None };
    let journal = Journal::create(&noted.journal(dir), &boot())?;
    noted.write(dir)?;
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        File::open(above)?.sync_all()?;
    }
    Ok((lock, journal))
}

/// The staged files in `dir`.
pub(super) fn staging(dir: &Path) -> Arc<Staging> {
    Arc::new(Staging::new(dir.join(FILES)))
}

fn damaged(path: &Path, error: &io::Error) -> VfsError {
    VfsError::Damaged(format!("a changed file, {}: {error}", path.display()))
}

fn modified(found: &fs::Metadata) -> (i64, u32) {
    use std::os::unix::fs::MetadataExt;
    (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or(0))
}
