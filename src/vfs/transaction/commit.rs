//! The end of a transaction, or of a stretch of it.

use super::node::{Body, Data};
use super::recover::{inspect, restart, write_started};
use super::{NodeId, Seal, Standing, TransactionView};
use crate::model::{CommitId, TransactionId};
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
        self.lock().base_commit
    }

    /// The state for people: a word, and why.
    #[must_use]
    pub fn standing(&self) -> (&'static str, String) {
        let state = self.lock();
        match &state.standing {
            Standing::Open => ("OPEN", String::new()),
            Standing::Conflict(reason) => ("CONFLICT", reason.clone()),
            Standing::Aborted(reason) => ("ABORTED", reason.clone()),
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
        let mut seal = self.seal.write().await;
        if let Standing::Aborted(_) = self.lock().standing {
            return Err(VfsError::ReadOnly);
        }
        if self.changes()?.is_empty() {
            return Ok(None);
        }
        let base = self.base();
        let writer = base.nodes().blobs().writer();
        let started = super::Started { base: self.base_commit(), ..self.started.clone() };
        let published = source.publish(&started, self.edits(&writer), &writer, message).await;
        match published {
            Ok(Published { commit, head, transaction }) => {
                match then {
                    Then::End => *seal = Seal::Closed,
                    Then::GoOn => {
                        *seal = Seal::Open;
                        self.rebase(source, head, transaction).await?;
                    }
                }
                Ok(Some(commit))
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

    /// Gives all changes up. They stay in the staging directory and readable
    /// here, and take no more changes.
    pub async fn abort(&self, source: &dyn Source, reason: &str) -> Result<(), VfsError> {
        let mut seal = self.seal.write().await;
        source.abandon(&self.started, reason).await?;
        *seal = Seal::Closed;
        self.lock().standing = Standing::Aborted(reason.to_owned());
        let noted = inspect(&self.dir()).and_then(|started| {
            let started = super::Started { ended: Some(reason.to_owned()), ..started };
            write_started(&self.dir(), &started)
        });
        if let Err(error) = noted {
            // A full disk, for one; the source knows that it is over.
            tracing::warn!(%error, "the end of a transaction was not noted");
        }
        Ok(())
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
        state.settle(tree, head.commit)?;
        let started = super::Started {
            id: transaction,
            base: Some(head.commit),
            root: hex::encode(head.root.encode()),
            ..self.started.clone()
        };
        let dir = self.dir();
        state.journal = Some(restart(&dir)?);
        write_started(&dir, &started)?;
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
    pub fn dir(&self) -> std::path::PathBuf {
        let files = self.staging.dir();
        files.parent().unwrap_or(files).to_owned()
    }
}
