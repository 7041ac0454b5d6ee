//! Control without names: extended attributes of files and directories.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::VfsError;
use super::files::{Files, Node};
use super::transaction::{NodeId, Then, TransactionView};
use super::types::{InodeNo, XattrMode};
use super::view::View;
use crate::model::TreePath;
use crate::store::waits::{self, WaitFor};

/// What all names of attributes begin with that programs may set.
const USERS: &str = "user.";
/// What those for control begin with.
const OURS: &str = "user.pfs.";

/// The commit a directory shows or is based on; writing it to the root of a
/// writable repo commits with the value as message.
pub const COMMIT: &str = "user.pfs.commit";
/// The hash of a file's content or of all that a directory holds.
pub const HASH: &str = "user.pfs.hash";
/// The state of the transactions of a mount or a repo, as JSON.
pub const STATUS: &str = "user.pfs.status";
/// Writing it to the root of a writable repo gives the transaction up.
pub const ABORT: &str = "user.pfs.abort";
/// The process that serves the mount, on the top directory.
pub const PROCESS: &str = "user.pfs.process";

impl Files {
    /// The value of an extended attribute.
    pub async fn xattr(&self, ino: InodeNo, name: &str) -> Result<Vec<u8>, VfsError> {
        if self.repos.is_none() {
            return Err(VfsError::Never);
        }
        if !name.starts_with(OURS) {
            return match self.node(ino)? {
                Node::Transaction(transaction, id) => transaction.attribute(id, name),
                Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) => {
                    Err(VfsError::NoAttribute)
                }
            };
        }
        let value = match (name, self.node(ino)?) {
            (PROCESS, _) if ino == InodeNo::ROOT => std::process::id().to_string(),
            (STATUS, Node::Top) => self.all_status()?,
            (STATUS, Node::Transaction(transaction, id)) if is_control(ino, id) => {
                status(&transaction)?.to_string()
            }
            (COMMIT, Node::Transaction(transaction, _)) => text(transaction.base_commit()),
            (HASH, Node::Transaction(transaction, id)) => transaction.hash(id)?,
            (STATUS, Node::Dir(placed, path)) if path.is_root() || ino == InodeNo::ROOT => {
                json!({"state": "READ_ONLY", "commit": text(placed.now().commit)}).to_string()
            }
            (COMMIT, Node::Dir(placed, _)) => text(placed.now().commit),
            (COMMIT, Node::Leaf(view, ..)) => text(view.commit),
            (HASH, Node::Dir(placed, path)) => hash(&placed.now(), &path).await?,
            (HASH, Node::Leaf(view, path, _)) => hash(&view, &path).await?,
            (
                _,
                Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) | Node::Transaction(..),
            ) => {
                return Err(VfsError::NoAttribute);
            }
        };
        Ok(value.into_bytes())
    }

    fn all_status(&self) -> Result<String, VfsError> {
        let mut all = serde_json::Map::new();
        for (name, transaction) in self.transactions() {
            all.insert(name.to_string(), status(&transaction)?);
        }
        Ok(serde_json::Value::Object(all).to_string())
    }

    /// The names of the extended attributes that programs have set, each with
    /// a NUL behind it. Those for control are left out: a copy must not carry
    /// them along.
    pub fn list_xattr(&self, ino: InodeNo) -> Result<Vec<u8>, VfsError> {
        let Node::Transaction(transaction, id) = self.node(ino)? else { return Ok(Vec::new()) };
        let names = transaction.attribute_names(id)?;
        Ok(names.iter().flat_map(|name| name.bytes().chain([0])).collect())
    }

    /// Removes an extended attribute that a program has set.
    pub async fn remove_xattr(&self, ino: InodeNo, name: &str) -> Result<(), VfsError> {
        match self.node(ino)? {
            Node::Transaction(transaction, id) => transaction.remove_attribute(id, name).await,
            Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) => Err(VfsError::ReadOnly),
        }
    }

    /// Sets an extended attribute: one that controls a transaction, or one of a
    /// program's own.
    pub async fn set_xattr(
        &self,
        ino: InodeNo,
        name: &str,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), VfsError> {
        let unsupported = Err(VfsError::Unsupported("only attributes of users are kept"));
        let Some(repos) = &self.repos else { return unsupported };
        if name.starts_with(USERS) && !name.starts_with(OURS) {
            return match self.node(ino)? {
                Node::Transaction(transaction, id) => {
                    transaction.set_attribute(id, name, value, mode).await
                }
                Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..) => {
                    Err(VfsError::ReadOnly)
                }
            };
        }
        let value = String::from_utf8_lossy(value);
        let value = value.trim_end_matches(['\0', '\n']);
        match (name, self.node(ino)?) {
            (COMMIT, Node::Transaction(transaction, id)) if is_control(ino, id) => {
                let source = &*repos.source;
                let commit = transaction.commit(source, value, Then::GoOn);
                let mut done = waits::on(WaitFor::Server, commit).await;
                if let Ok(None) = done {
                    // Nothing to commit: what others have committed shows.
                    done = transaction.follow(source).await.map(|()| None);
                }
                self.tell_refreshed(&transaction);
                done.map(drop)
            }
            (ABORT, Node::Transaction(transaction, id)) if is_control(ino, id) => {
                let done = transaction.abort(&*repos.source, value).await;
                self.tell_refreshed(&transaction);
                done
            }
            (_, Node::Top | Node::Group(_) | Node::Dir(..) | Node::Leaf(..)) => {
                Err(VfsError::ReadOnly)
            }
            (_, Node::Transaction(..)) => unsupported,
        }
    }
}

/// Whether a transaction is controlled by its node `id`: the root of the repo,
/// or that of the mount.
fn is_control(ino: InodeNo, id: NodeId) -> bool {
    id == NodeId::ROOT || ino == InodeNo::ROOT
}

/// What a transaction stands at.
fn status(transaction: &Arc<TransactionView>) -> Result<serde_json::Value, VfsError> {
    let started = transaction.started();
    let (state, reason) = transaction.standing();
    Ok(json!({
        "transaction": started.id.to_string(),
        "branch": started.branch.to_string(),
        "state": state,
        "reason": reason,
        "base": text(started.base),
        "changes": transaction.change_count()?,
        "staging": transaction.dir().display().to_string(),
    }))
}

fn text(commit: Option<crate::model::CommitId>) -> String {
    commit.map(|commit| commit.to_string()).unwrap_or_default()
}

async fn hash(view: &View, path: &TreePath) -> Result<String, VfsError> {
    if path.is_root() {
        return Ok(view.tree.root().hash().to_string());
    }
    let entry = view.tree.get(path).await?.ok_or(VfsError::Stale)?;
    let mut value = String::new();
    match super::view::content(&entry) {
        Some(content) => write!(value, "{}", content.hash()),
        None => match view.tree.subtree_hash(path).await? {
            Some(hash) => write!(value, "{hash}"),
            None => Ok(()),
        },
    }
    .map_err(|_| VfsError::Invalid("a hash has no text"))?;
    Ok(value)
}
