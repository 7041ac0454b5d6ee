//! Giving changes up: back to the base, with a transaction of its own for
//! what comes next.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::Flock;

use super::journal::Journal;
use super::mirror::Entry as Mirrored;
use super::node::{Body, NodeId};
use super::noted::{Started, note_end};
use super::recover::{begin, staging};
use super::state::State;
use super::{Refreshed, Seal, Standing, TransactionView};
use crate::model::TreePath;
use crate::tree::{Root, Stat, Tree};
use crate::vfs::VfsError;
use crate::vfs::source::{Begin, Source, Upon};

/// A transaction without changes.
struct Fresh {
    started: Started,
    held: Flock<File>,
    journal: Journal,
}

impl TransactionView {
    /// Gives all changes up and goes on from the head of the branch with a new
    /// transaction. The changes stay in the staging directory that they are
    /// in, and files that are open stay what they were. Where no other can begin
    /// on a full disk, they stay readable here, and nothing can be changed.
    ///
    /// Fails with [`VfsError::Conflict`] when they were committed. After
    /// [`VfsError::Unsettled`] they are given up, but the head cannot be shown
    /// yet. On any other error nothing has changed.
    pub async fn abort(&self, source: &dyn Source, reason: &str) -> Result<(), VfsError> {
        let mut seal = self.seal.write().await;
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(%error, "what is given up may not survive the loss of power");
        }
        let (old, dir) = (self.started(), self.dir());
        let begun = self.begin_afresh(source, &old, &dir).await?;
        let give_up = async {
            let started = begun.as_ref().map_or(&old, |fresh| &fresh.started);
            let attributes = self.attributes_in(source, started).await?;
            source.abandon(&old, reason).await.map(|()| attributes)
        };
        let attributes = match (give_up.await, &begun) {
            (Ok(attributes), _) => attributes,
            (Err(error), Ok(fresh)) => {
                self.take_back(source, &fresh.started).await;
                return Err(error);
            }
            (Err(error), Err(_)) => return Err(error),
        };
        if let Err(error) = note_end(&dir, reason, self.clock.now()) {
            // A full disk, for one; the source knows that it is over.
            tracing::warn!(%error, "the end of a transaction was not noted");
        }
        let fresh = match begun {
            Ok(fresh) => fresh,
            Err(error) => {
                *seal = Seal::Closed;
                let why = format!("given up, but nothing new can begin: {error}");
                self.lock().stand(Standing::Aborted(why));
                return Ok(());
            }
        };
        self.go_on_with(fresh, source, attributes)?;
        let refreshed = self.refresh().await;
        *seal = self.settled(refreshed.as_ref().err());
        refreshed.map_err(|error| VfsError::Unsettled(format!("given up, but then: {error}")))
    }

    /// Begins the transaction that comes after `old`, which is kept in `dir`;
    /// within it an error of the disk.
    async fn begin_afresh(
        &self,
        source: &dyn Source,
        old: &Started,
        dir: &Path,
    ) -> Result<io::Result<Fresh>, VfsError> {
        let place = source.place(&old.branch.repo).await?;
        let id = self.clock.transaction_id();
        let dir = dir.with_file_name(id.to_string());
        let asked = Begin { id, branch: &old.branch, upon: Upon::Newest, staging: &dir };
        let base = source.begin(asked).await?;
        let started = Started { at: self.clock.now(), place, ..old.upon(id, base.as_ref()) };
        match begin(&dir, &started) {
            Ok((held, journal)) => Ok(Ok(Fresh { started, held, journal })),
            Err(error) => {
                self.take_back(source, &started).await;
                Ok(Err(error))
            }
        }
    }

    /// Removes what is left of a transaction that never held anything.
    async fn take_back(&self, source: &dyn Source, begun: &Started) {
        drop(source.abandon(begun, "not begun").await);
        drop(std::fs::remove_dir_all(self.dir().with_file_name(begun.id.to_string())));
    }

    /// Makes `fresh` what this is about.
    fn go_on_with(
        &self,
        fresh: Fresh,
        source: &dyn Source,
        attributes: Vec<(NodeId, Stat)>,
    ) -> Result<(), VfsError> {
        let Fresh { started, held, journal } = fresh;
        let dir = self.dir().with_file_name(started.id.to_string());
        let base = Tree::new(source.nodes(), started.root()?);
        let mut state = self.lock();
        state.staging.keep();
        (state.staging, state.journal) = (staging(&dir), Some(journal));
        state.started = started;
        state.unsynced.clear();
        state.removed.clear();
        state.removed_small.clear();
        (state.synced, state.durable_files, state.unkept) = (0, 0, None);
        let before = state.base.clone();
        let forgotten = state.reset(attributes)?;
        state.refreshed.extend(forgotten);
        state.settle(base)?;
        state.unrefreshed.push(before);
        state.mark_head();
        self.hold(held);
        Ok(())
    }

    /// What directories that stayed in their place with other attributes have in
    /// the base of `started`, or have had where it is without them.
    async fn attributes_in(
        &self,
        source: &dyn Source,
        started: &Started,
    ) -> Result<Vec<(NodeId, Stat)>, VfsError> {
        let (before, changed) = {
            let state = self.lock();
            (state.base.clone(), state.changed_in_place()?)
        };
        let base = Tree::new(source.nodes(), started.root()?);
        let mut found = Vec::with_capacity(changed.len());
        for (id, path) in changed {
            let stat = match base.stat(&path).await? {
                Some(stat) => Some(stat),
                None => before.stat(&path).await?,
            };
            found.extend(stat.map(|stat| (id, stat)));
        }
        Ok(found)
    }
}

impl State {
    /// The directories of the base that are where they were, as far as
    /// something in them or about them was changed.
    fn in_place(&self) -> Result<Vec<(NodeId, TreePath)>, VfsError> {
        let mut found = vec![(NodeId::ROOT, TreePath::root())];
        let mut at = 0;
        while let Some((dir, path)) = found.get(at).cloned() {
            for (name, over) in &self.dir(dir)?.overrides {
                let Some(id) = over.node else { continue };
                let (node, home) = (self.node(id)?, path.join(name)?);
                if node.is_dir() && node.origin.as_ref() == Some(&home) {
                    found.push((id, home));
                }
            }
            at += 1;
        }
        Ok(found)
    }

    fn changed_in_place(&self) -> Result<Vec<(NodeId, TreePath)>, VfsError> {
        let mut found = self.in_place()?;
        found.retain(|(id, _)| self.node(*id).is_ok_and(|node| node.changed));
        Ok(found)
    }

    /// Forgets every change; answers the names that differ. Nodes that are not
    /// in the base lose their names; its directories stay what they are,
    /// whoever has them open.
    fn reset(&mut self, attributes: Vec<(NodeId, Stat)>) -> Result<Vec<Refreshed>, VfsError> {
        let in_place = self.in_place()?;
        let mut forgotten = Vec::new();
        let mut others = Vec::new();
        for (dir, path) in &in_place {
            self.note(Mirrored::Cleared(dir.0));
            let node = self.node_mut(*dir)?;
            node.changed = false;
            node.attributes.clear();
            for (name, over) in std::mem::take(&mut node.dir_mut()?.overrides) {
                let told = Refreshed { parent: *dir, name: Arc::clone(&name), node: None };
                forgotten.push(told);
                let Some(id) = over.node else { continue };
                let child = self.node(id)?;
                match child.is_dir() && child.origin == path.join(&name).ok() {
                    true => {
                        self.mark(id);
                        self.node_mut(*dir)?.dir_mut()?.clean.insert(name, id);
                    }
                    false => others.push(id),
                }
            }
        }
        let root = self.known_root();
        others.into_iter().for_each(|id| self.cast_off(id, root));
        for (id, stat) in attributes {
            let node = self.node_mut(id)?;
            (node.mode, node.mtime, node.ctime) = (stat.mode, stat.mtime, stat.mtime);
            (node.uid, node.gid) = (None, None);
        }
        // What is below a directory goes before it.
        in_place.into_iter().rev().for_each(|(id, _)| self.prune(id));
        Ok(forgotten)
    }

    /// Takes all names from a node, known from the tree `root`, and from what
    /// is below it.
    pub(super) fn cast_off(&mut self, id: NodeId, root: Root) {
        let Ok(node) = self.node_mut(id) else { return };
        node.places.clear();
        self.note_origin_in(id, root);
        self.note(Mirrored::Cleared(id.0));
        let Ok(node) = self.node_mut(id) else { return };
        if let Body::Dir(dir) = &mut node.body {
            let dir = std::mem::take(dir);
            let changed = dir.overrides.into_values().filter_map(|over| over.node);
            let below: Vec<NodeId> = changed.chain(dir.clean.into_values()).collect();
            below.into_iter().for_each(|id| self.cast_off(id, root));
        }
        self.prune(id);
    }
}
