//! Following heads: what has moved is shown, and kernels are told exactly
//! what to forget.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use super::VfsError;
use super::files::{Files, directory_identity};
use super::place::transaction_node;
use super::repos::{Heads, OpenView, Repos};
use super::source::{Moved, Source};
use super::transaction::{Refreshed, Then, TransactionView};
use super::types::{InodeNo, Invalidation};
use super::view::{PlacedView, View};
use crate::model::{Repo, TreePath};
use crate::tree::diff;

/// How soon what could not be followed is tried again, and how late at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// How often transactions are made durable without anybody asking.
const SAFE: Duration = Duration::from_secs(30);

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
                let following = this.listen(repos, moved, tell.clone());
                tokio::select! {
                    () = following => {}
                    () = this.keep_safe(repos) => {}
                    () = tell.closed() => {}
                }
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
        let mut pause = AGAIN;
        let mut failed = false;
        loop {
            let news = tokio::select! {
                news = moved.next() => news,
                repo = repos.opened_late() => Some(Moved::Head(repo)),
                () = tokio::time::sleep(pause), if failed => Some(Moved::Everything),
            };
            let Some(news) = news else { break };
            // What failed may have been about anything.
            let news = if failed { Moved::Everything } else { news };
            let again = failed;
            failed = match self.catch_up(repos, news, &tell).await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "a moved head could not be followed; trying again");
                    true
                }
            };
            pause = if failed && again { (pause * 2).min(AGAIN_AT_MOST) } else { AGAIN };
        }
    }

    /// Now and then makes transactions durable, and finds out about commits
    /// whose outcome was never heard.
    async fn keep_safe(&self, repos: &Repos) {
        let mut timer = tokio::time::interval(SAFE);
        loop {
            timer.tick().await;
            for (name, transaction) in self.transactions() {
                if let Err(error) = transaction.checkpoint().await {
                    tracing::warn!(%error, %name, "what was written is not durable yet");
                }
                if transaction.is_unsettled() {
                    let settled = transaction.commit(&*repos.source, "", Then::GoOn).await;
                    self.tell_refreshed(&transaction);
                    if let Err(error) = settled {
                        tracing::warn!(%error, %name, "what became of a commit is not known yet");
                    }
                }
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
        let mut outcome = self.follow_transactions(&*repos.source, only.as_ref()).await;
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
        for (name, open) in repos.followed() {
            if only.as_ref().is_none_or(|repo| *repo == open.repo) {
                // What fails must not keep the others behind.
                let done = self.refresh(repos, &name, &open, (heads.as_ref(), tell)).await;
                outcome = outcome.and(done);
            }
        }
        outcome
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
            // What is the root cannot go away; it follows again when there is
            // something to follow.
            Err(VfsError::NotFound) if self.inodes.is_rooted() => return Ok(()),
            Err(VfsError::NotFound) => {
                repos.close(name);
                let name = Arc::clone(name);
                send(tell, Invalidation::Entry { parent: InodeNo::ROOT, name }).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let placed = &open.view;
        // First what was shown before without the kernel having been told.
        self.tell_of(placed, placed.now(), tell).await?;
        let (now, next) = (placed.now(), Arc::new(repos.view(resolved.as_ref())));
        if next.commit == now.commit && next.tree.root() == now.tree.root() {
            return Ok(());
        }
        // What cannot be compared is not shown: nobody could say what to forget.
        let mut changes =
            diff(next.tree.nodes(), now.tree.root(), next.tree.root(), &TreePath::root());
        while changes.next().await.transpose()?.is_some() {}
        // Before anything of it is shown, for a process that goes on from here;
        // after it, for a place that was not known yet.
        self.inodes.show(placed, &next);
        placed.advance(Arc::clone(&next)).await;
        self.inodes.show(placed, &next);
        self.tell_of(placed, next, tell).await
    }

    /// Tells the kernel of what it was not told yet; `shown` is what is shown.
    async fn tell_of(
        &self,
        placed: &Arc<PlacedView>,
        shown: Arc<View>,
        tell: &mpsc::Sender<Invalidation>,
    ) -> Result<(), VfsError> {
        let told = placed.told();
        if !Arc::ptr_eq(&told, &shown) {
            self.invalidate(placed, &told, tell).await?;
            self.inodes.told(placed, &shown);
            placed.tell(shown);
        }
        Ok(())
    }

    /// Moves the unchanged transactions on a repo, or all.
    async fn follow_transactions(
        &self,
        source: &dyn Source,
        only: Option<&Repo>,
    ) -> Result<(), VfsError> {
        let mut outcome = Ok(());
        for (_, transaction) in self.transactions() {
            if only.is_none_or(|repo| *repo == transaction.started().branch.repo) {
                let done = transaction.follow(source).await;
                self.tell_refreshed(&transaction);
                outcome = outcome.and(done);
            }
        }
        outcome
    }

    /// Tells of names in a transaction that are others now.
    pub(super) fn tell_refreshed(&self, transaction: &TransactionView) {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refreshed = transaction.take_refreshed();
        let Some(tell) = tell.filter(|_| !refreshed.is_empty()) else { return };
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
        // Below it there may be a root whose own entry is in no directory that
        // the kernel knows.
        if self.inodes.is_rooted() {
            send(tell, Invalidation::Content(InodeNo::ROOT)).await;
        }
        Ok(())
    }
}

async fn send(tell: &mpsc::Sender<Invalidation>, what: Invalidation) {
    // Without a receiver the mount is gone, and its caches with it.
    drop(tell.send(what).await);
}
