//! The end of a transaction, or of a stretch of it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

use nix::fcntl::Flock;

use super::directory;
use super::node::{Body, Data};
use super::noted::restart;
use super::state::State;
use super::{NodeId, Seal, Standing, Started, TransactionView};
use crate::chunk::Content;
use crate::model::{CommitId, Ref};
use crate::tree::{EntryKind, Tree};
use crate::vfs::VfsError;
use crate::vfs::source::{Published, Source};

/// What comes after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More changes, relative to the commit.
    GoOn,
    /// Nothing: the transaction takes no more changes and may be discarded.
    End,
}

impl TransactionView {
    /// The commit that the changes are relative to.
    #[must_use]
    pub fn base_commit(&self) -> Option<CommitId> {
        self.lock().started.base
    }

    /// The state for people: a word, and why.
    #[must_use]
    pub fn standing(&self) -> (&'static str, String) {
        let state = self.lock();
        match &state.standing {
            Standing::Open => ("OPEN", String::new()),
            Standing::Unsettled(reason) => ("SEALED", reason.clone()),
            Standing::Conflict(reason) => ("CONFLICT", reason.clone()),
            Standing::Aborted(reason) => ("ABORTED", reason.clone()),
        }
    }

    /// Publishes everything changed so far as one commit; answers `None` when
    /// there is nothing to publish. Writers wait for the publishing alone: what
    /// there is of content is stored before, while they go on.
    ///
    /// After a conflict the transaction takes no more changes, but may be
    /// committed again or given up. After [`VfsError::Unsettled`] the changes
    /// may be published: it takes no more until committing again, which
    /// publishes nothing twice, has told. On any other error it stays as it was.
    pub async fn commit(
        &self,
        source: &dyn Source,
        message: &str,
        then: Then,
    ) -> Result<Option<CommitId>, VfsError> {
        let mut stored = self.stored.lock().await;
        self.store_now(&mut stored).await;
        let mut seal = self.seal.write().await;
        if self.is_given_up() {
            return Err(VfsError::ReadOnly);
        }
        self.lock().require_kept()?;
        if !self.lock().unrefreshed.is_empty() {
            // Gone on from another base but for this.
            self.refresh().await?;
            *seal = self.settled(None);
        }
        if !self.is_changed()? {
            self.lock().commits(None);
            if *seal == Seal::Unsettled {
                *seal = self.settled(None);
            }
            return Ok(None);
        }
        // The same one when that is what is not known.
        let begun = self.committing().filter(|_| *seal == Seal::Unsettled);
        let message = begun.as_deref().unwrap_or(message);
        let writer = stored.take_writer(&self.base());
        let edits = self.edits(&writer, std::mem::take(&mut *stored));
        self.lock().commits(Some(message));
        let done = match source.publish(&self.started(), edits, &writer, message).await {
            Ok(published) => self.follow_up(source, published, then).await,
            Err(error) => Err(error),
        };
        if !matches!(done, Err(VfsError::Unsettled(_))) {
            self.lock().commits(None);
        }
        let (sealed, standing) = match (&done, then) {
            (Ok(_), Then::GoOn) => (Seal::Open, Standing::Open),
            (Ok(_), Then::End) => (Seal::Closed, Standing::Open),
            (Err(VfsError::Conflict(why)), _) => (Seal::Closed, Standing::Conflict(why.clone())),
            (Err(VfsError::Unsettled(why)), _) => {
                (Seal::Unsettled, Standing::Unsettled(why.clone()))
            }
            // Nothing was published: what was not known before is now.
            (Err(_), _) if *seal == Seal::Unsettled => (Seal::Open, Standing::Open),
            (Err(_), _) => return done,
        };
        *seal = sealed;
        self.lock().stand(standing);
        done
    }

    /// Whether a commit may have gone through without this having been noted.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        matches!(self.lock().standing, Standing::Unsettled(_))
    }

    /// Whether it was given up without another that goes on.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        matches!(self.lock().standing, Standing::Aborted(_))
    }

    async fn follow_up(
        &self,
        source: &dyn Source,
        published: Published,
        then: Then,
    ) -> Result<Option<CommitId>, VfsError> {
        let commit = published.commit.commit;
        match then {
            Then::End => {}
            // Writing on would be relative to a base that the source has left.
            Then::GoOn => self.rebase(source, published).await.map_err(|error| {
                VfsError::Unsettled(format!("published as {commit}, but then: {error}"))
            })?,
        }
        Ok(Some(commit))
    }

    /// Moves an unchanged transaction to the head of its branch. One with
    /// changes stays where it is.
    pub(in crate::vfs) async fn follow(&self, source: &dyn Source) -> Result<(), VfsError> {
        if self.lock().is_touched()? {
            return Ok(());
        }
        let Started { branch, base, .. } = self.started();
        let head = source.resolve(&branch.repo, Some(&Ref::branch(branch.name.clone()))).await;
        let head = match head {
            Ok(Some(head)) if Some(head.commit) != base => head,
            // A branch that is not there yet has nothing to follow.
            Ok(_) | Err(VfsError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = source.place(&branch.repo).await?;
        let mut seal = self.seal.write().await;
        if *seal != Seal::Open || self.base_commit() != base || self.lock().is_touched()? {
            return Ok(());
        }
        let old = self.started();
        // What is not settled here in the end is set right by the next commit.
        source.rebase(&old, head.commit).await?;
        let started = Started { place, ..old.upon(old.id, Some(&head)) };
        self.switch(&started, Vec::new(), Tree::new(source.nodes(), head.root), None)?;
        let refreshed = self.refresh().await;
        *seal = self.settled(refreshed.as_ref().err());
        refreshed
    }

    /// What holds once the base is another one, and memory has been brought up
    /// to it or has not.
    pub(super) fn settled(&self, failed: Option<&VfsError>) -> Seal {
        let (seal, standing) = match failed {
            None => (Seal::Open, Standing::Open),
            Some(error) => {
                let why = format!("what others have committed cannot be read: {error}");
                (Seal::Unsettled, Standing::Unsettled(why))
            }
        };
        self.lock().stand(standing);
        seal
    }

    /// Makes the head that was published, which includes every change, the new
    /// base. May be done again after an error.
    async fn rebase(&self, source: &dyn Source, published: Published) -> Result<(), VfsError> {
        let Published { commit, head, transaction } = published;
        let committed = Tree::new(source.nodes(), commit.root);
        let staged = self.lock().staged_paths()?;
        let mut contents = Vec::with_capacity(staged.len());
        for (id, path) in staged {
            let entry = committed.get(&path).await?.map(|entry| entry.kind);
            let Some(EntryKind::File(content)) = entry else {
                return Err(VfsError::Damaged(format!("{path} is not in the commit")));
            };
            contents.push((id, content));
        }
        let started = self.started().upon(transaction, Some(&head));
        self.switch(&started, contents, Tree::new(source.nodes(), head.root), Some(committed))?;
        self.give_back();
        self.refresh().await
    }

    /// Goes on from `base` as `started` says, on disk and in memory.
    fn switch(
        &self,
        started: &Started,
        contents: Vec<(NodeId, Content)>,
        base: Tree,
        committed: Option<Tree>,
    ) -> Result<(), VfsError> {
        let dir = self.dir();
        let mut state = self.lock();
        // From here on a crash goes on from the commit.
        state.journal = Some(restart(&dir, started, committed.as_ref().map(Tree::root))?);
        state.commits(None);
        state.go_on_from(started, contents, base, committed)
    }

    /// The hash of a file's content as far as it is stored.
    pub(in crate::vfs) fn hash(&self, id: NodeId) -> Result<String, VfsError> {
        let state = self.lock();
        match &state.node(id)?.body {
            Body::File(Data::Base(content)) => Ok(content.hash().to_string()),
            Body::Dir(_) if id == NodeId::ROOT && state.dir(id)?.overrides.is_empty() => {
                Ok(state.base.root().hash().to_string())
            }
            Body::Dir(_) | Body::File(Data::Small(_) | Data::Staged(_)) | Body::Symlink(_) => {
                Err(VfsError::NoAttribute)
            }
        }
    }

    /// The transaction's directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let staging = self.staging();
        let files = staging.dir();
        files.parent().unwrap_or(files).to_owned()
    }

    /// Holds its directory by `lock`, and tells who wants to know.
    pub(super) fn hold(&self, lock: Flock<File>) {
        if let Some(tell) = self.tell_held.get() {
            tell(&lock);
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
    }

    /// Has `tell` called with what the directory is held by, now and whenever
    /// it is another one: whoever has a descriptor of the same file goes on
    /// holding it when this process dies.
    pub fn tell_held(&self, tell: impl Fn(&File) + Send + Sync + 'static) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = &*held {
            tell(lock);
        }
        // Set once, by who mounts.
        let _ = self.tell_held.set(Box::new(tell));
    }

    /// Lets go of the directory, for whoever goes on with what is in it.
    pub fn release(&self) {
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Lets go of the directory and removes it: there is nothing in it that
    /// anybody will ask for.
    pub fn discard(&self) -> io::Result<()> {
        let lock = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        directory::discard(&self.dir(), lock)
    }
}

impl State {
    /// Goes on from `base` as `started` says. The files in `contents` hold what
    /// is said there; `committed` is a tree between the two.
    pub(super) fn go_on_from(
        &mut self,
        started: &Started,
        contents: Vec<(NodeId, Content)>,
        base: Tree,
        committed: Option<Tree>,
    ) -> Result<(), VfsError> {
        let mut replaced = std::mem::take(&mut self.removed);
        let old = self.base.clone();
        for (id, content) in contents {
            let Body::File(data) = &mut self.node_mut(id)?.body else { continue };
            match std::mem::replace(data, Data::Base(content)) {
                Data::Staged(staged) => replaced.push(staged),
                Data::Small(small) => self.removed_small.push(small),
                Data::Base(_) => {}
            }
        }
        self.settle(base)?;
        (self.started, self.synced, self.durable_files) = (started.clone(), 0, 0);
        self.unsynced.clear();
        self.unrefreshed.push(old);
        self.unrefreshed.extend(committed);
        self.mark_head();
        replaced.into_iter().for_each(|staged| self.remove_later(staged));
        self.removed_small.drain(..).for_each(|small| small.give_up());
        Ok(())
    }

    /// Notes where it stands.
    pub(super) fn stand(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.mark_head();
        }
    }

    /// Notes that a commit with this description begins, or that none is under
    /// way any more.
    pub(super) fn commits(&mut self, message: Option<&str>) {
        if self.committing.as_deref() != message {
            self.committing = message.map(str::to_owned);
            self.mark_head();
        }
    }
}
