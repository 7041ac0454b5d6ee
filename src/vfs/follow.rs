//! Following heads: what has moved is shown, and kernels are told exactly
//! what to forget.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use super::VfsError;
use super::files::{Files, directory_identity};
use super::place::transaction_node;
use super::repos::{Heads, OpenView, Repos};
use super::source::{Moved, Source};
use super::transaction::{Refreshed, TransactionView};
use super::types::{InodeNo, Invalidation};
use super::view::{PlacedView, View};
use crate::model::{Repo, TreePath};
use crate::tree::diff;

/// How many invalidations wait for the kernel before the follower does.
pub const WAITING: usize = 4096;

impl Files {
    /// Shows what has moved since this call, until the receiver is gone or the
    /// source ends. Run what it answers beside the mount.
    pub fn follow(
        self: &Arc<Self>,
        tell: mpsc::Sender<Invalidation>,
    ) -> impl Future<Output = ()> + Send + 'static {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell.clone());
        if let Some(datums) = &self.datums {
            datums.tell(tell.clone());
        }
        let moved = self.repos.as_ref().map(|repos| repos.source.watch());
        let this = Arc::clone(self);
        async move {
            if let (Some(repos), Some(moved)) = (&this.repos, moved) {
                this.listen(repos, moved, tell).await;
            }
        }
    }

    async fn listen(
        &self,
        repos: &Repos,
        mut moved: BoxStream<'static, Moved>,
        tell: mpsc::Sender<Invalidation>,
    ) {
        // What was known before is only compared with from now on.
        match repos.heads().await {
            Ok(heads) => drop(heads.map(|heads| repos.changed_names(&heads))),
            Err(error) => tracing::debug!(%error, "the repos could not be listed"),
        }
        while let Some(moved) = moved.next().await {
            if tell.is_closed() {
                break;
            }
            if let Err(error) = self.catch_up(repos, moved, &tell).await {
                // The next event tries again; what is shown is an older state.
                tracing::warn!(%error, "a moved head could not be followed");
            }
        }
    }

    async fn catch_up(
        &self,
        repos: &Repos,
        moved: Moved,
        tell: &mpsc::Sender<Invalidation>,
    ) -> Result<(), VfsError> {
        let only: Option<Repo> = match moved {
            Moved::Head(repo) => Some(repo),
            Moved::Everything => None,
        };
        self.follow_transactions(&*repos.source, only.as_ref()).await;
        let heads = match only {
            Some(_) => None,
            None => repos.heads().await?,
        };
        if let Some(heads) = &heads {
            for name in repos.changed_names(heads) {
                send(tell, Invalidation::Entry { parent: InodeNo::ROOT, name }).await;
            }
            // A listing may have been made before the names were first known.
            send(tell, Invalidation::Content(InodeNo::ROOT)).await;
        }
        let mut failed = None;
        for (name, open) in repos.followed() {
            if only.as_ref().is_none_or(|repo| *repo == open.repo) {
                let done = self.refresh(repos, &name, &open, (heads.as_ref(), tell)).await;
                failed = done.err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn refresh(
        &self,
        repos: &Repos,
        name: &Arc<str>,
        open: &OpenView,
        (heads, tell): (Option<&Heads>, &mpsc::Sender<Invalidation>),
    ) -> Result<(), VfsError> {
        let resolved = match (heads, &open.reference) {
            (Some(heads), None) => heads.get(&open.repo).cloned().ok_or(VfsError::NotFound),
            (_, reference) => repos.source.resolve(&open.repo, reference.as_ref()).await,
        };
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(VfsError::NotFound) => {
                repos.close(name);
                let name = Arc::clone(name);
                send(tell, Invalidation::Entry { parent: InodeNo::ROOT, name }).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let next = repos.view(resolved.as_ref());
        let now = open.view.now();
        if next.commit == now.commit && next.tree.root() == now.tree.root() {
            return Ok(());
        }
        let old = open.view.advance(next).await;
        self.invalidate(&open.view, &old, tell).await
    }

    /// Moves the unchanged transactions on a repo, or all.
    async fn follow_transactions(&self, source: &dyn Source, only: Option<&Repo>) {
        for (name, transaction) in self.transactions() {
            if only.is_some_and(|repo| *repo != transaction.started().branch.repo) {
                continue;
            }
            match transaction.follow(source).await {
                Ok(refreshed) => self.tell_refreshed(&transaction, refreshed),
                // The next event tries again; what is shown is an older state.
                Err(error) => tracing::warn!(%error, %name, "a moved head was not followed"),
            }
        }
    }

    /// Tells of names in a transaction that are others now.
    pub(super) fn tell_refreshed(&self, transaction: &TransactionView, refreshed: Vec<Refreshed>) {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(tell) = tell else { return };
        let number = |id| self.inodes.find(&transaction_node(transaction, id));
        let mut forgotten = Vec::new();
        for Refreshed { parent, name, node } in refreshed {
            let Some(parent) = number(parent) else { continue };
            forgotten.extend(node.and_then(number).map(Invalidation::Content));
            forgotten.push(Invalidation::Entry { parent, name });
            forgotten.push(Invalidation::Content(parent));
        }
        // Later: the caller's request locks the directory until it is answered.
        tokio::spawn(async move {
            for what in forgotten {
                send(&tell, what).await;
            }
        });
    }

    /// Names every cached entry of `placed` that differs from `old`.
    pub(super) async fn invalidate(
        &self,
        placed: &PlacedView,
        old: &View,
        tell: &mpsc::Sender<Invalidation>,
    ) -> Result<(), VfsError> {
        let new = placed.now();
        let (from, to) = (old.tree.root(), new.tree.root());
        let mut changes = diff(new.tree.nodes(), from, to, &TreePath::root());
        let mut listings = HashSet::new();
        while let Some(change) = changes.next().await {
            let path = change?.path;
            let Some(parent) = path.parent() else { continue };
            // What the kernel has never looked up it has not cached.
            let Some(parent) = self.inodes.find(&directory_identity(placed, &parent)) else {
                continue;
            };
            let name = path.file_name().into();
            send(tell, Invalidation::Entry { parent, name }).await;
            if listings.insert(parent) {
                send(tell, Invalidation::Content(parent)).await;
            }
        }
        // The root shows the time of its commit.
        if let Some(root) = self.inodes.find(&directory_identity(placed, &TreePath::root())) {
            send(tell, Invalidation::Content(root)).await;
        }
        Ok(())
    }
}

async fn send(tell: &mpsc::Sender<Invalidation>, what: Invalidation) {
    // Without a receiver the mount is gone, and its caches with it.
    drop(tell.send(what).await);
}
