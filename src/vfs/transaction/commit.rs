//! The end of a transaction, or of a stretch of it.

use super::node::{Body, Data};
use super::recover::{note_end, restart};
use super::refresh::Unrefreshed;
use super::{NodeId, Seal, Standing, Started, TransactionView};
use crate::chunk::Content;
use crate::model::CommitId;
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
        self.lock().base_commit
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
    /// there is nothing to publish. Writers wait.
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
        let mut seal = self.seal.write().await;
        if let Standing::Aborted(_) = self.lock().standing {
            return Err(VfsError::ReadOnly);
        }
        if self.lock().unrefreshed.is_some() {
            // Published, and gone on from but for this.
            self.refresh().await?;
            *seal = Seal::Open;
            self.lock().standing = Standing::Open;
        }
        if !self.is_changed()? {
            return Ok(None);
        }
        let base = self.base();
        let writer = base.nodes().blobs().writer();
        let edits = self.edits(&writer);
        let done = match source.publish(&self.current(), edits, &writer, message).await {
            Ok(published) => self.follow_up(source, published, then).await,
            Err(error) => Err(error),
        };
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
        self.lock().standing = standing;
        done
    }

    /// Whether a commit may have gone through without this having been noted.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        matches!(self.lock().standing, Standing::Unsettled(_))
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

    /// Gives all changes up. They stay in the staging directory and readable
    /// here, and take no more changes.
    pub async fn abort(&self, source: &dyn Source, reason: &str) -> Result<(), VfsError> {
        let mut seal = self.seal.write().await;
        source.abandon(&self.current(), reason).await?;
        *seal = Seal::Closed;
        self.lock().standing = Standing::Aborted(reason.to_owned());
        if let Err(error) = note_end(&self.dir(), reason) {
            // A full disk, for one; the source knows that it is over.
            tracing::warn!(%error, "the end of a transaction was not noted");
        }
        Ok(())
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
        let started = Started {
            id: transaction,
            base: Some(head.commit),
            root: hex::encode(head.root.encode()),
            ..self.current()
        };
        self.switch(&started, contents, Tree::new(source.nodes(), head.root), committed)?;
        self.refresh().await
    }

    /// Goes on from `base` as `started` says, on disk and in memory.
    fn switch(
        &self,
        started: &Started,
        contents: Vec<(NodeId, Content)>,
        base: Tree,
        committed: Tree,
    ) -> Result<(), VfsError> {
        let mut state = self.lock();
        // From here on a crash goes on from the commit.
        state.journal = Some(restart(&self.dir(), started)?);
        let mut replaced = std::mem::take(&mut state.removed);
        let old = state.base.clone();
        for (id, content) in contents {
            if let Body::File(data) = &mut state.node_mut(id)?.body
                && let Data::Staged(staged) = std::mem::replace(data, Data::Base(content))
            {
                replaced.push(staged.file);
            }
        }
        state.settle(base, started.base)?;
        (state.transaction, state.synced, state.durable_files) = (started.id, 0, 0);
        state.unsynced.clear();
        state.unrefreshed = Some(Unrefreshed { old, committed });
        replaced.into_iter().for_each(|file| state.staging.remove(file));
        Ok(())
    }

    /// The hash of a file's content as far as it is stored.
    pub(in crate::vfs) fn hash(&self, id: NodeId) -> Result<String, VfsError> {
        let state = self.lock();
        match &state.node(id)?.body {
            Body::File(Data::Base(content)) => Ok(content.hash().to_string()),
            Body::Dir(_) if id == NodeId::ROOT && state.dir(id)?.overrides.is_empty() => {
                Ok(state.base.root().hash().to_string())
            }
            Body::Dir(_) | Body::File(Data::Staged(_)) | Body::Symlink(_) => {
                Err(VfsError::NoAttribute)
            }
        }
    }

    /// The transaction's directory.
    #[must_use]
    pub fn dir(&self) -> std::path::PathBuf {
        let files = self.staging.dir();
        files.parent().unwrap_or(files).to_owned()
    }
}
