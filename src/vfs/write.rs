//! Changes: passed on to the transaction they belong to.

use std::ops::Range;
use std::sync::Arc;

use super::VfsError;
use super::files::{Files, Node};
use super::transaction::{Allocate, NodeId, Origin, Original, TransactionView};
use super::types::{Attr, InodeNo, NewEntry, RenameMode, SetAttr};

/// Bytes that a copy holds in memory.
const PIECE: u64 = 1 << 20;

/// Bytes that one request copies at most, so that a kernel waits for none long.
const AT_ONCE: u64 = 32 << 20;

impl Files {
    /// The transaction that `ino` is in.
    fn writable(&self, ino: InodeNo) -> Result<(Arc<TransactionView>, NodeId), VfsError> {
        match self.node(ino)? {
            Node::Transaction(transaction, id) => Ok((transaction, id)),
            Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) => Err(VfsError::ReadOnly),
        }
    }

    /// Creates `name` in `parent`; counts as a lookup.
    pub async fn create(
        &self,
        parent: InodeNo,
        name: &str,
        new: NewEntry,
    ) -> Result<Attr, VfsError> {
        let (transaction, dir) = self.writable(parent)?;
        let (id, attr) = transaction.create(dir, name, new).await?;
        self.remember_node(&transaction, id, attr)
    }

    /// Gives the file `ino` one more name; counts as a lookup.
    pub async fn link(&self, ino: InodeNo, parent: InodeNo, name: &str) -> Result<Attr, VfsError> {
        let ((transaction, id), (other, dir)) = (self.writable(ino)?, self.writable(parent)?);
        same(&transaction, &other)?;
        let attr = transaction.link(id, dir, name).await?;
        self.remember_node(&transaction, id, attr)
    }

    /// Removes the file or symlink `name` from `parent`.
    pub async fn unlink(&self, parent: InodeNo, name: &str) -> Result<(), VfsError> {
        let (transaction, dir) = self.writable(parent)?;
        transaction.unlink(dir, name).await
    }

    /// Removes the empty directory `name` from `parent`.
    pub async fn rmdir(&self, parent: InodeNo, name: &str) -> Result<(), VfsError> {
        let (transaction, dir) = self.writable(parent)?;
        transaction.rmdir(dir, name).await
    }

    /// Moves a name in a directory to another.
    pub async fn rename(
        &self,
        from: (InodeNo, &str),
        to: (InodeNo, &str),
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let ((transaction, dir), (other, into)) = (self.writable(from.0)?, self.writable(to.0)?);
        same(&transaction, &other)?;
        transaction.rename((dir, from.1), (into, to.1), mode).await
    }

    /// Changes attributes.
    pub async fn set_attr(&self, ino: InodeNo, set: SetAttr) -> Result<Attr, VfsError> {
        let (transaction, id) = self.writable(ino)?;
        transaction.set_attr(id, set).await?;
        if set.mode.is_none() && set.uid.or(set.gid).is_some() {
            // A file with a new owner runs as nobody but its caller.
            transaction.drop_privileges(id).await?;
        }
        Ok(transaction.attr(id)?.at(ino))
    }

    /// Whether a write to `ino` would wait for nothing but the local disk, as
    /// far as can be told now.
    pub fn takes_at_once(&self, ino: InodeNo) -> bool {
        let file = self.writable(ino);
        file.is_ok_and(|(transaction, id)| transaction.takes_at_once(id))
    }

    /// Writes all of `data` at `offset`; `unprivileged` also takes the set-id
    /// bits away.
    pub async fn write(
        &self,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
        unprivileged: bool,
    ) -> Result<(), VfsError> {
        let (transaction, id) = self.writable(ino)?;
        transaction.write(id, offset, data).await?;
        match unprivileged {
            true => transaction.drop_privileges(id).await,
            false => Ok(()),
        }
    }

    /// Copies up to `count` bytes between files of the mount, from and to where
    /// the pairs say; answers how many. What is in the store is not moved where
    /// the target is empty, or ends in what was copied before.
    pub async fn copy_range(
        &self,
        (from, at): (InodeNo, u64),
        (to, into): (InodeNo, u64),
        count: u64,
        unprivileged: bool,
    ) -> Result<u64, VfsError> {
        let (transaction, id) = self.writable(to)?;
        let copied = match self.original(from).await?.filter(|_| at == into) {
            Some(original) => {
                let end = at.saturating_add(count).min(original.content.size());
                let adopted = at < end && transaction.adopt(id, at..end, &original).await?;
                adopted.then_some(end - at)
            }
            None => None,
        };
        let copied = match copied {
            Some(copied) => copied,
            None => self.copy_bytes((from, at), (&transaction, id, into), count).await?,
        };
        if unprivileged {
            transaction.drop_privileges(id).await?;
        }
        Ok(copied)
    }

    /// What `ino` holds, when all of it is in the store.
    async fn original(&self, ino: InodeNo) -> Result<Option<Original>, VfsError> {
        match self.node(ino)? {
            Node::Leaf(view, path, _) => {
                let content = self.content(ino, &view, &path).await?;
                let origin = Origin { root: *view.tree.root(), path };
                Ok(Some(Original { content, origin }))
            }
            Node::Transaction(transaction, id) => transaction.original(id).await,
            Node::Top | Node::Group(_) | Node::Dir(..) => Err(VfsError::IsDirectory),
        }
    }

    async fn copy_bytes(
        &self,
        (from, at): (InodeNo, u64),
        (transaction, id, into): (&TransactionView, NodeId, u64),
        count: u64,
    ) -> Result<u64, VfsError> {
        let (mut copied, count) = (0, count.min(AT_ONCE));
        while copied < count {
            let bytes = self.read(from, at + copied, PIECE.min(count - copied)).await?;
            if bytes.is_empty() {
                break;
            }
            match transaction.write(id, into + copied, &bytes).await {
                Ok(()) => copied += bytes.len() as u64,
                Err(_) if copied > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// Makes room or zeros in a file.
    pub async fn allocate(
        &self,
        ino: InodeNo,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<(), VfsError> {
        let (transaction, id) = self.writable(ino)?;
        transaction.allocate(id, how, range).await
    }

    /// Returns when the content of `ino` would survive the loss of power.
    pub async fn sync(&self, ino: InodeNo) -> Result<(), VfsError> {
        match self.node(ino)? {
            Node::Transaction(transaction, id) => transaction.sync(id).await,
            Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) => Ok(()),
        }
    }
}

fn same(one: &Arc<TransactionView>, other: &Arc<TransactionView>) -> Result<(), VfsError> {
    match Arc::ptr_eq(one, other) {
        true => Ok(()),
        false => Err(VfsError::CrossesRepos),
    }
}
