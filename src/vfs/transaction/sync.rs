//! What survives the loss of power.
//!
//! The disk may keep a record of the journal and lose the content it tells of:
//! a changed file of the base would come back as zeros. So nothing in the
//! journal counts after the machine was started anew but what a record vouches
//! for that was written when all content before it was durable.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::TransactionView;
use super::journal::{Journal, Record};
use super::node::NodeId;
use super::small::Small;
use super::staged::{Staged, Staging};
use super::state::State;
use crate::vfs::VfsError;

/// Up to how many files are synced one by one, which spares what others have
/// written to the same file system.
const ONE_BY_ONE: usize = 64;

/// What is to be made durable; what was not is to be so the next time.
struct Gathered<'a> {
    view: &'a TransactionView,
    pending: Pending,
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        let Pending { files, removed, removed_small, .. } = std::mem::take(&mut self.pending);
        for staged in &files {
            self.view.unsynced(staged);
        }
        let mut state = self.view.lock();
        state.removed.extend(removed);
        state.removed_small.extend(removed_small);
    }
}

#[derive(Default)]
struct Pending {
    generation: u64,
    files: Vec<Arc<Staged>>,
    /// Where the journal ended when the files were gathered.
    until: u64,
    /// Whether it has told of anything since it was vouched for.
    told: bool,
    removed: Vec<Arc<Staged>>,
    removed_small: Vec<Arc<Small>>,
}

impl TransactionView {
    /// Returns when the content of `id`, and every name and attribute up to
    /// now, would survive the loss of power.
    pub async fn sync(&self, id: NodeId) -> Result<(), VfsError> {
        self.lock().node(id)?;
        self.checkpoint().await
    }

    /// Returns when everything up to now would survive the loss of power.
    pub async fn checkpoint(&self) -> Result<(), VfsError> {
        let _alone = self.syncing.lock().await;
        self.lock().require_kept()?;
        let Some(pending) = gather(&mut self.lock()) else { return Ok(()) };
        // Whoever waits for this may give up at any point.
        let mut gathered = Gathered { view: self, pending };
        let synced = self.make_durable(&gathered.pending).await;
        let synced = synced.map_err(|error| self.lock().note_unkept(error))?;
        let pending = std::mem::take(&mut gathered.pending);
        let mut state = self.lock();
        if state.generation == pending.generation && pending.told {
            state.synced = synced;
        }
        drop(state);
        pending.removed.iter().for_each(|staged| staged.remove());
        pending.removed_small.iter().for_each(|small| small.give_up());
        drop(pending);
        self.give_back();
        Ok(())
    }

    /// Gives room that nobody needs back to the disk; nobody waits for that.
    pub(super) fn give_back(&self) {
        let staging = self.staging();
        if staging.has_room() {
            drop(tokio::task::spawn_blocking(move || staging.give_back()));
        }
    }

    /// Answers up to where the journal is durable now, and vouched for.
    async fn make_durable(&self, pending: &Pending) -> io::Result<u64> {
        let (staging, files) = (self.staging(), pending.files.clone());
        let synced = tokio::task::spawn_blocking(move || sync_files(&staging, &files));
        synced.await.map_err(io::Error::other)??;
        if !pending.told {
            return Ok(pending.until);
        }
        let (journal, synced) = {
            let mut state = self.lock();
            let same = state.generation == pending.generation;
            let Some(journal) = state.journal.as_mut().filter(|_| same) else { return Ok(0) };
            let all = journal.end() == pending.until;
            journal.append(&Record::Synced { until: pending.until })?;
            (journal.handle()?, if all { journal.end() } else { pending.until })
        };
        let done = tokio::task::spawn_blocking(move || keep(&journal));
        done.await.map_err(io::Error::other)??;
        Ok(synced)
    }

    /// Notes that `staged` was, or is about to be, written to.
    pub(super) fn unsynced(&self, staged: &Arc<Staged>) {
        if !staged.unsynced.swap(true, Ordering::AcqRel) {
            self.lock().unsynced.push(Arc::clone(staged));
        }
    }
}

/// A failed sync, after which the kernel takes for written what it could not
/// write: the next one would not tell.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unkept(io::Error);

fn unkept(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unkept(error))
}

/// Makes the content of `file` durable.
pub(super) fn keep(file: &File) -> io::Result<()> {
    file.sync_data().map_err(unkept)
}

impl State {
    /// Fails when something that was written may never reach the disk.
    pub(super) fn require_kept(&self) -> Result<(), VfsError> {
        let Some(why) = &self.unkept else { return Ok(()) };
        let dir = self.staging.dir().display();
        Err(VfsError::Damaged(format!(
            "{dir} could not keep what was written ({why}): copy what is needed and give the \
             rest up (pfs abort)"
        )))
    }

    /// Notes what a failed sync means; answers why it failed.
    fn note_unkept(&mut self, error: io::Error) -> io::Error {
        match error.downcast::<Unkept>() {
            Ok(Unkept(error)) => {
                self.unkept = Some(error.to_string());
                self.mark_head();
                error
            }
            Err(error) => error,
        }
    }
}

/// Takes what is to be made durable; `None` when everything is.
fn gather(state: &mut State) -> Option<Pending> {
    let until = state.journal.as_ref().map(Journal::end)?;
    let told = until != state.synced;
    if state.unsynced.is_empty() && !told {
        return None;
    }
    let files = std::mem::take(&mut state.unsynced);
    for staged in &files {
        staged.unsynced.store(false, Ordering::Release);
    }
    let removed = std::mem::take(&mut state.removed);
    let removed_small = std::mem::take(&mut state.removed_small);
    if told {
        // What will be vouched for needs them, and one may be let go of before
        // it is.
        state.durable_files = state.durable_files.max(state.next_file());
    }
    let generation = state.generation;
    Some(Pending { generation, files, until, told, removed, removed_small })
}

fn sync_files(staging: &Staging, files: &[Arc<Staged>]) -> io::Result<()> {
    staging.sync_small()?;
    if files.is_empty() {
        return Ok(());
    }
    if files.len() > ONE_BY_ONE {
        let dir = File::open(staging.dir())?;
        return nix::unistd::syncfs(dir).map_err(|error| unkept(error.into()));
    }
    for staged in files {
        match staged.open() {
            Ok(file) => keep(&file)?,
            // Removed since, which the journal tells.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    staging.sync_names()
}
