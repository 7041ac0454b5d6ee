//! Giving changes up: back to the base, with a transaction of its own for
//! what comes next.

use std::sync::{Arc, PoisonError};

use super::directory::{Started, write_started};
use super::node::{Body, NodeId};
use super::recover::{begin, staging};
use super::state::State;
use super::{Refreshed, Seal, Standing, TransactionView};
use crate::model::TreePath;
use crate::tree::Tree;
use crate::vfs::VfsError;
use crate::vfs::source::{Begin, Source, Upon};

impl TransactionView {
    /// Gives all changes up and goes on from the head of the branch with a new
    /// transaction. The changes stay in the staging directory that they are
    /// in, and files that are open stay what they were. On an error nothing
    /// has changed.
    pub async fn abort(&self, source: &dyn Source, reason: &str) -> Result<(), VfsError> {
        self.abort_and_tell(source, reason).await.map(drop)
    }

    /// The same; answers the names that differ.
    pub(in crate::vfs) async fn abort_and_tell(
        &self,
        source: &dyn Source,
        reason: &str,
    ) -> Result<Vec<Refreshed>, VfsError> {
        let mut seal = self.seal.write().await;
        let (old, dir) = (self.started(), self.dir());
        let id = self.clock.transaction_id();
        let fresh = dir.with_file_name(id.to_string());
        let begin_at = Begin { id, branch: &old.branch, upon: Upon::Newest, staging: &fresh };
        let base = source.begin(begin_at).await?;
        let started = Started { at: self.clock.now(), ..old.upon(id, base.as_ref()) };
        let begun = match begin(&fresh, &started) {
            Ok(begun) => source.abandon(&old, reason).await.map(|()| begun),
            Err(error) => Err(error.into()),
        };
        let (lock, journal) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // Whatever is left of it holds nothing.
                drop(source.abandon(&started, "not begun").await);
                drop(std::fs::remove_dir_all(&fresh));
                return Err(error);
            }
        };
        let ended = (Some(reason.to_owned()), Some(self.clock.now()));
        let noted = Started { ended: ended.0, ended_at: ended.1, ..old };
        if let Err(error) = write_started(&dir, &noted) {
            // A full disk, for one; the source knows that it is over.
            tracing::warn!(%error, "the end of a transaction was not noted");
        }
        let before = self.base();
        let after = Tree::new(source.nodes(), started.root()?);
        let (mut forgotten, touched) = {
            let mut state = self.lock();
            state.staging.keep();
            (state.staging, state.journal) = (staging(&fresh), Some(journal));
            state.started = started;
            let reset = state.reset()?;
            state.settle(after)?;
            reset
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        self.restore(&before, touched).await?;
        forgotten.extend(self.refresh(&before).await?);
        *seal = Seal::Open;
        Ok(forgotten)
    }

    /// Gives directories back the attributes that they have in `base`.
    async fn restore(&self, base: &Tree, touched: Vec<(NodeId, TreePath)>) -> Result<(), VfsError> {
        for (id, path) in touched {
            let Some(entry) = base.get(&path).await? else { continue };
            let mut state = self.lock();
            // The kernel may have forgotten it meanwhile.
            let Ok(node) = state.node_mut(id) else { continue };
            (node.mode, node.mtime, node.ctime) = (entry.mode, entry.mtime, entry.mtime);
            (node.uid, node.gid) = (None, None);
        }
        Ok(())
    }
}

/// Names that differ, and directories whose attributes do.
type Reset = (Vec<Refreshed>, Vec<(NodeId, TreePath)>);

impl State {
    /// Forgets every change. Nodes that are not in the base lose their names;
    /// its directories stay what they are, whoever has them open.
    fn reset(&mut self) -> Result<Reset, VfsError> {
        self.standing = Standing::Open;
        let mut reset = (Vec::new(), Vec::new());
        self.node_mut(NodeId::ROOT)?.changed = false;
        self.reset_below(NodeId::ROOT, &TreePath::root(), &mut reset)?;
        Ok(reset)
    }

    fn reset_below(
        &mut self,
        dir: NodeId,
        path: &TreePath,
        reset: &mut Reset,
    ) -> Result<(), VfsError> {
        let overrides = std::mem::take(&mut self.node_mut(dir)?.dir_mut()?.overrides);
        for (name, over) in overrides {
            reset.0.push(Refreshed { parent: dir, name: Arc::clone(&name), node: None });
            let Some(id) = over.node else { continue };
            // A hard link's other name may have taken it away already.
            let Ok(node) = self.node_mut(id) else { continue };
            let home = path.join(&name)?;
            let at_home = node.origin.as_ref() == Some(&home) && node.is_dir();
            if !at_home {
                self.cast_off(id);
                continue;
            }
            if std::mem::replace(&mut node.changed, false) {
                reset.1.push((id, home.clone()));
            }
            self.node_mut(dir)?.dir_mut()?.clean.insert(name, id);
            self.reset_below(id, &home, reset)?;
        }
        Ok(())
    }

    /// Takes all names from a node and from what is below it.
    pub(super) fn cast_off(&mut self, id: NodeId) {
        let Ok(node) = self.node_mut(id) else { return };
        node.places.clear();
        if let Body::Dir(dir) = &mut node.body {
            let dir = std::mem::take(dir);
            let changed = dir.overrides.into_values().filter_map(|over| over.node);
            let below: Vec<NodeId> = changed.chain(dir.clean.into_values()).collect();
            below.into_iter().for_each(|id| self.cast_off(id));
        }
        self.prune(id);
    }
}
