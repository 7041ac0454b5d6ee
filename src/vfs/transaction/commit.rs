//! The end of a transaction, or of a stretch of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::directory::{self, write_started};
use super::node::{Body, Data};
use super::recover::restart;
use super::state::State;
use super::{NodeId, Refreshed, Seal, Standing, Started, TransactionView};
use crate::model::{CommitId, Ref, TransactionId};
use crate::tree::Tree;
use crate::vfs::VfsError;
use crate::vfs::source::{Published, Resolved, Source};

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
            Standing::Conflict(reason) => ("CONFLICT", reason.clone()),
        }
    }

    /// Publishes everything changed so far as one commit; answers `None` when
    /// there is nothing to publish. Writers wait.
    ///
    /// On any error the transaction stays as it was; after a conflict it
    /// takes no more changes, but may be committed again or given up.
    pub async fn commit(
        &self,
        source: &dyn Source,
        message: &str,
        then: Then,
    ) -> Result<Option<CommitId>, VfsError> {
        Ok(self.commit_and_tell(source, message, then).await?.0)
    }

    /// The same; also answers the names that others have changed.
    pub(in crate::vfs) async fn commit_and_tell(
        &self,
        source: &dyn Source,
        message: &str,
        then: Then,
    ) -> Result<(Option<CommitId>, Vec<Refreshed>), VfsError> {
        let mut seal = self.seal.write().await;
        if self.changes()?.is_empty() {
            return Ok((None, Vec::new()));
        }
        let base = self.base();
        let writer = base.nodes().blobs().writer();
        let published =
            source.publish(&self.started(), self.edits(&writer), &writer, message).await;
        match published {
            Ok(Published { commit, head, transaction }) => {
                let mut refreshed = Vec::new();
                match then {
                    Then::End => *seal = Seal::Closed,
                    Then::GoOn => {
                        *seal = Seal::Open;
                        self.rebase(source, head, transaction).await?;
                        refreshed = self.refresh(&base).await?;
                    }
                }
                Ok((Some(commit), refreshed))
            }
            Err(error) => {
                if let VfsError::Conflict(reason) = &error {
                    *seal = Seal::Closed;
                    self.lock().standing = Standing::Conflict(reason.clone());
                }
                Err(error)
            }
        }
    }

    /// Moves an unchanged transaction to the head of its branch; answers the
    /// names that differ. One with changes stays where it is.
    pub(in crate::vfs) async fn follow(
        &self,
        source: &dyn Source,
    ) -> Result<Vec<Refreshed>, VfsError> {
        let Started { branch, base, .. } = self.started();
        let head = source.resolve(&branch.repo, Some(&Ref::branch(branch.name.clone()))).await;
        let head = match head {
            Ok(Some(head)) if Some(head.commit) != base => head,
            // A branch that is not there yet has nothing to follow.
            Ok(_) | Err(VfsError::NotFound) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let seal = self.seal.write().await;
        let open = *seal == Seal::Open && self.lock().standing == Standing::Open;
        if !open || self.base_commit() != base || !self.changes()?.is_empty() {
            return Ok(Vec::new());
        }
        source.rebase(&self.started(), head.commit).await?;
        let (old, id) = (self.base(), self.started().id);
        self.rebase(source, head, id).await?;
        self.refresh(&old).await
    }

    /// Makes `head`, which includes every change, the new base.
    async fn rebase(
        &self,
        source: &dyn Source,
        head: Resolved,
        transaction: TransactionId,
    ) -> Result<(), VfsError> {
        let tree = Tree::new(source.nodes(), head.root);
        let mut contents = Vec::new();
        let staged = self.lock().staged_paths()?;
        for (id, path) in staged {
            let entry = tree.get(&path).await?;
            contents
                .push((id, entry.ok_or(VfsError::Damaged(format!("{path} was not committed")))?));
        }
        let mut state = self.lock();
        let mut replaced = Vec::new();
        for (id, entry) in contents {
            let node = state.node_mut(id)?;
            if let (Body::File(data), crate::tree::EntryKind::File(content)) =
                (&mut node.body, entry.kind)
                && let Data::Staged(staged) = std::mem::replace(data, Data::Base(content))
            {
                replaced.push(staged.file);
            }
        }
        state.settle(tree)?;
        let dir = state.staging_dir();
        state.journal = Some(restart(&dir)?);
        state.set_base(&dir, transaction, Some(&head))?;
        // Only now: until here a crash would have replayed the old journal.
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
    pub fn dir(&self) -> PathBuf {
        self.lock().staging_dir()
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
    /// The transaction's directory.
    pub(super) fn staging_dir(&self) -> PathBuf {
        let files = self.staging.dir();
        files.parent().unwrap_or(files).to_owned()
    }

    /// Notes what the transaction is called and relative to from now on.
    fn set_base(
        &mut self,
        dir: &Path,
        id: TransactionId,
        base: Option<&Resolved>,
    ) -> io::Result<()> {
        self.started = self.started.upon(id, base);
        write_started(dir, &self.started)
    }
}
