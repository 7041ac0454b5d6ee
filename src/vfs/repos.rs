//! Repos as directories: heads that are followed, refs, transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::VfsError;
use super::patience::patiently;
use super::place::{Place, Top};
use super::source::{Resolved, Source};
use super::transaction::TransactionView;
use super::view::{PlacedView, View};
use crate::model::{ProjectName, Ref, RefBase, Repo, RepoKind, Timestamp, TransactionId};
use crate::store::waits::{self, WaitFor};
use crate::tree::{Root, Tree};

/// A repo to be mounted.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The repo.
    pub repo: Repo,
    /// What of it: the head of `master` unless said.
    pub reference: Option<Ref>,
    /// The transaction, when the directory is writable.
    pub transaction: Option<Arc<TransactionView>>,
}

impl Shown {
    /// The directory's name: `<repo>`, or `<project>.<repo>`.
    #[must_use]
    pub fn name(&self) -> String {
        directory_name(&self.repo)
    }
}

/// The directory's name of a repo.
pub(super) fn directory_name(repo: &Repo) -> String {
    match repo.project.is_default() {
        true => repo.name.to_string(),
        false => format!("{}.{}", repo.project, repo.name),
    }
}

/// The top directory of a mount of repos.
pub(super) struct Repos {
    pub(super) source: Arc<dyn Source>,
    /// Only these; all when `None`.
    only: Option<BTreeMap<Arc<str>, Shown>>,
    open: Mutex<Open>,
    known: Mutex<BTreeSet<Arc<str>>>,
    /// Told when a directory was opened with what may be old.
    opened_late: Notify,
}

/// The directories that were looked up or listed.
#[derive(Default)]
struct Open {
    views: BTreeMap<Arc<str>, OpenView>,
    /// Those that are closed; programs may still have something below them.
    closed: Vec<Weak<PlacedView>>,
    /// Counts how often they have been brought up to date: what was resolved
    /// before the last time may be old.
    rounds: u64,
    /// Those that were opened with what may be old.
    late: BTreeSet<Repo>,
}

impl Open {
    /// Closes a directory. What programs have below it stays; one of the same
    /// name is another.
    fn close(&mut self, placed: &Arc<PlacedView>) {
        self.closed.retain(|closed| closed.strong_count() > 0);
        self.closed.push(Arc::downgrade(placed));
    }

    /// The directory `name` of `repo`, which shows `view`.
    fn follower(&self, name: &str, repo: Repo, reference: Option<Ref>, view: View) -> OpenView {
        let follows = follows(reference.as_ref());
        let view = match follows {
            true => PlacedView::following(name.to_owned(), view),
            false => PlacedView::pinned(name.to_owned(), view),
        };
        let view = Arc::new(view.of_generation(self.generation(name)));
        OpenView { repo, reference, view, follows }
    }

    /// What tells a new directory from those of its name that are in use.
    fn generation(&self, name: &str) -> u64 {
        let closed = self.closed.iter().filter_map(Weak::upgrade);
        let before = closed.filter(|closed| closed.place == name);
        before.map(|closed| closed.generation + 1).max().unwrap_or(0)
    }
}

/// The newest finished commits of `master`, of every repo there is.
pub(super) type Heads = HashMap<Repo, Option<Resolved>>;

/// How often what is resolved is asked for again because a head has moved.
const ROUNDS: u32 = 4;

/// A directory that was looked up.
#[derive(Clone)]
pub(super) struct OpenView {
    pub(super) repo: Repo,
    pub(super) reference: Option<Ref>,
    pub(super) view: Arc<PlacedView>,
    pub(super) follows: bool,
}

impl Repos {
    pub(super) fn new(source: Arc<dyn Source>, only: Option<Vec<Shown>>) -> Self {
        let named = |shown: Shown| (Arc::from(shown.name()), shown);
        let only = only.map(|only| only.into_iter().map(named).collect());
        let (open, known, opened_late) = Default::default();
        Self { source, only, open, known, opened_late }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories that are known and may change, to be brought up to
    /// date.
    pub(super) fn followed(&self) -> Vec<(Arc<str>, OpenView)> {
        let mut open = self.open();
        open.rounds += 1;
        let followed = open.views.iter().filter(|(_, open)| open.follows);
        followed.map(|(name, open)| (Arc::clone(name), open.clone())).collect()
    }

    /// Waits for a directory to be opened with what may be old, and answers its
    /// repo.
    pub(super) async fn opened_late(&self) -> Repo {
        loop {
            if let Some(repo) = self.open().late.pop_first() {
                return repo;
            }
            self.opened_late.notified().await;
        }
    }

    /// Forgets a directory whose repo or ref is gone.
    pub(super) fn close(&self, name: &str) {
        let mut open = self.open();
        if let Some(OpenView { view, .. }) = open.views.remove(name) {
            open.close(&view);
        }
    }

    /// Every head there is, when every repo is shown.
    pub(super) async fn heads(&self) -> Result<Option<Heads>, VfsError> {
        match self.only {
            Some(_) => Ok(None),
            None => Ok(Some(self.source.heads().await?.into_iter().collect())),
        }
    }

    /// The names in `heads` that were not there at the last call, and those
    /// that were.
    pub(super) fn changed_names(&self, heads: &Heads) -> Vec<Arc<str>> {
        let now: BTreeSet<Arc<str>> = names(heads).collect();
        let mut known = self.known();
        let changed = known.symmetric_difference(&now).cloned().collect();
        *known = now;
        changed
    }

    /// Every repo, each as a directory that is known from now on, unless heads
    /// move faster than they are told: then who looks a repo up asks for it.
    async fn list(&self) -> Result<Vec<Arc<str>>, VfsError> {
        for round in 1.. {
            let before = self.open().rounds;
            let heads: Heads = self.source.heads().await?.into_iter().collect();
            let mut open = self.open();
            let moved = open.rounds != before;
            if moved && round < ROUNDS {
                continue;
            }
            let users = heads.iter().filter(|(repo, _)| repo.kind == RepoKind::User && !moved);
            for (repo, resolved) in users {
                let name: Arc<str> = directory_name(repo).into();
                if !open.views.contains_key(&name) {
                    let view = self.view(resolved.as_ref());
                    let fresh = open.follower(&name, repo.clone(), None, view);
                    open.views.insert(name, fresh);
                }
            }
            drop(open);
            let mut listed: Vec<Arc<str>> = names(&heads).collect();
            listed.sort_unstable();
            return Ok(listed);
        }
        Ok(Vec::new()) // rounds do not end
    }

    /// What `name` asks for: a repo that is shown, and a ref.
    fn parse(&self, name: &str) -> Option<(Repo, Option<Ref>)> {
        let (directory, reference) = match name.split_once('@') {
            Some((directory, reference)) => (directory, Some(reference.parse().ok()?)),
            None => (name, None),
        };
        match &self.only {
            Some(only) => {
                let shown = only.get(directory)?;
                Some((shown.repo.clone(), reference.or_else(|| shown.reference.clone())))
            }
            None => {
                let (project, repo) = match directory.split_once('.') {
                    Some((project, repo)) => (project.parse().ok()?, repo),
                    None => (ProjectName::default_project(), directory),
                };
                let repo = Repo { project, name: repo.parse().ok()?, kind: RepoKind::User };
                // A project's prefix is not a second name of the same repo.
                (directory_name(&repo) == directory).then_some((repo, reference))
            }
        }
    }

    /// The view of what was resolved.
    pub(super) fn view(&self, resolved: Option<&Resolved>) -> View {
        let nodes = self.source.nodes();
        match resolved {
            Some(Resolved { commit, root, finished }) => {
                View::whole(Tree::new(nodes, *root), Some(*commit), *finished)
            }
            None => View::whole(Tree::new(nodes, Root::empty()), None, Timestamp::default()),
        }
    }

    /// The transaction whose inodes are numbered by `key`.
    pub(super) fn transaction(&self, key: TransactionId) -> Option<Arc<TransactionView>> {
        let shown = self.only.iter().flat_map(BTreeMap::values);
        let mut transactions = shown.filter_map(|shown| shown.transaction.as_ref());
        transactions.find(|view| view.key() == key).cloned()
    }

    /// A directory as another process has shown it; `None` when there is none
    /// of its name.
    pub(super) fn reopen(&self, placed: PlacedView) -> Option<Arc<PlacedView>> {
        let (repo, reference) = self.parse(&placed.place)?;
        let (follows, placed) = (follows(reference.as_ref()), Arc::new(placed));
        let mut open = self.open();
        let known = open.views.get(placed.place.as_str()).map(|known| Arc::clone(&known.view));
        match known {
            Some(newer) if newer.generation > placed.generation => open.close(&placed),
            older => {
                older.iter().for_each(|older| open.close(older));
                let view = Arc::clone(&placed);
                let fresh = OpenView { repo, reference, view, follows };
                open.views.insert(placed.place.as_str().into(), fresh);
            }
        }
        Some(placed)
    }

    /// Looks up what is not known yet; waits for a source that is away.
    async fn enter(&self, name: &str) -> Result<Option<Place>, VfsError> {
        let Some((repo, reference)) = self.parse(name) else { return Ok(None) };
        for round in 1.. {
            let before = self.open().rounds;
            let resolve = || self.source.resolve(&repo, reference.as_ref());
            let resolved = match waits::on(WaitFor::Server, patiently(resolve)).await {
                Ok(resolved) => resolved,
                Err(VfsError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut open = self.open();
            // Its head may have moved, and nobody has told this one.
            let moved = open.rounds != before;
            if moved && round < ROUNDS {
                continue;
            }
            if moved {
                open.late.insert(repo.clone());
                self.opened_late.notify_one();
            }
            let fresh = open.follower(name, repo, reference, self.view(resolved.as_ref()));
            let known = open.views.entry(name.into()).or_insert(fresh);
            return Ok(Some(Place::View(Arc::clone(&known.view))));
        }
        Ok(None) // rounds do not end
    }
}

/// Whether a directory moves that shows `reference`.
fn follows(reference: Option<&Ref>) -> bool {
    reference.is_none_or(|reference| !matches!(reference.base, RefBase::Commit(_)))
}

/// The directory names of the user repos.
fn names(heads: &Heads) -> impl Iterator<Item = Arc<str>> + '_ {
    let users = heads.keys().filter(|repo| repo.kind == RepoKind::User);
    users.map(|repo| directory_name(repo).into())
}

#[async_trait]
impl Top for Repos {
    async fn find(&self, name: &str) -> Result<Option<Place>, VfsError> {
        let shown = self.only.as_ref().and_then(|only| only.get(name));
        if let Some(transaction) = shown.and_then(|shown| shown.transaction.clone()) {
            return Ok(Some(Place::Transaction(transaction)));
        }
        let known = self.open().views.get(name).map(|open| Arc::clone(&open.view));
        match known {
            Some(view) => Ok(Some(Place::View(view))),
            None => self.enter(name).await,
        }
    }

    async fn names(&self) -> Result<Vec<Arc<str>>, VfsError> {
        if let Some(only) = &self.only {
            return Ok(only.keys().cloned().collect());
        }
        // What is known is better than waiting for a source that is away.
        let known: Vec<Arc<str>> = self.known().iter().cloned().collect();
        match waits::on(WaitFor::Server, self.list()).await {
            Err(VfsError::Unavailable(_)) if !known.is_empty() => Ok(known),
            Err(VfsError::Unavailable(_)) => {
                waits::on(WaitFor::Server, patiently(|| self.list())).await
            }
            listed => listed,
        }
    }

    fn transactions(&self) -> Vec<(Arc<str>, Arc<TransactionView>)> {
        let only = self.only.iter().flatten();
        only.filter_map(|(name, shown)| Some((Arc::clone(name), shown.transaction.clone()?)))
            .collect()
    }
}
