//! Following heads: what has moved is shown, and kernels are told exactly
//! what to forget.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use super::VfsError;
use super::files::{Files, directory_identity};
use super::place::transaction_node;
use super::repos::{OpenView, Repos};
use super::source::Moved;
use super::transaction::{Refreshed, TransactionView};
use super::types::{InodeNo, Invalidation};
use super::view::{PlacedView, View};
use crate::model::{Repo, TreePath};
use crate::tree::{Tree, diff};

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
        if let Err(error) = repos.changed_names().await {
            tracing::debug!(%error, "the repos could not be listed");
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
        if only.is_none() {
            for name in repos.changed_names().await? {
                send(tell, Invalidation::Entry { parent: InodeNo::ROOT, name }).await;
            }
            // A listing may have been made before the names were first known.
            send(tell, Invalidation::Content(InodeNo::ROOT)).await;
        }
        for (name, open) in repos.followed() {
            if only.as_ref().is_none_or(|repo| *repo == open.repo) {
                self.refresh(repos, &name, &open, tell).await?;
            }
        }
        Ok(())
    }

    async fn refresh(
        &self,
        repos: &Repos,
        name: &Arc<str>,
        open: &OpenView,
        tell: &mpsc::Sender<Invalidation>,
    ) -> Result<(), VfsError> {
        let resolved = match repos.source.resolve(&open.repo, open.reference.as_ref()).await {
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

    /// Tells of what others had changed before `transaction` was committed.
    pub(super) async fn tell_refreshed(
        &self,
        transaction: &TransactionView,
        old: &Tree,
    ) -> Result<(), VfsError> {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refreshed = transaction.refresh(old).await?;
        let Some(tell) = tell else { return Ok(()) };
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
        Ok(())
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
