//! The end of a transaction that nobody writes to any more.

use super::noted::note_end;
use super::{Seal, TransactionView};
use crate::model::TreePath;
use crate::vfs::VfsError;
use crate::vfs::source::Source;

impl TransactionView {
    /// Returns when every change that was begun is done and would survive the
    /// loss of power, and no other can be made. It can be committed or given up
    /// still.
    pub async fn close(&self) -> Result<(), VfsError> {
        {
            let mut seal = self.seal.write().await;
            // What is not settled stays so: the next commit tells.
            if *seal == Seal::Open {
                *seal = Seal::Closed;
            }
        }
        self.checkpoint().await
    }

    /// Gives the changes of a closed transaction up, and lets go of its
    /// directory, in which they stay to be looked at.
    ///
    /// Fails with [`VfsError::Conflict`] when they were committed. After an error
    /// it may be done again.
    pub async fn give_up(&self, source: &dyn Source, reason: &str) -> Result<(), VfsError> {
        source.abandon(&self.started(), reason).await?;
        note_end(&self.dir(), reason, self.clock.now())?;
        self.release();
        Ok(())
    }
}

impl TransactionView {
    /// Whether there is something at `path`.
    pub async fn has(&self, path: &TreePath) -> Result<bool, VfsError> {
        match self.above(path).await {
            Ok((dir, name)) => Ok(self.pin(dir.id, name).await?.is_some()),
            Err(VfsError::NotFound | VfsError::NotDirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
