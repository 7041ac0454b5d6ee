//! Repos as directories: heads that are followed, refs, transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::VfsError;
use super::place::{Place, Top};
use super::source::{Resolved, Source};
use super::transaction::TransactionView;
use super::view::{PlacedView, View};
use crate::model::{ProjectName, Ref, RefBase, Repo, RepoKind, Timestamp};
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
    open: Mutex<BTreeMap<Arc<str>, OpenView>>,
    known: Mutex<BTreeSet<Arc<str>>>,
}

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
        Self { source, only, open: Mutex::default(), known: Mutex::default() }
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, OpenView>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories that were looked up and may still change.
    pub(super) fn followed(&self) -> Vec<(Arc<str>, OpenView)> {
        let views = self.views();
        let followed = views.iter().filter(|(_, open)| open.follows);
        followed.map(|(name, open)| (Arc::clone(name), open.clone())).collect()
    }

    /// Forgets a directory whose repo or ref is gone.
    pub(super) fn close(&self, name: &str) {
        self.views().remove(name);
    }

    /// The names of the repos, and those that differ from the last call's.
    pub(super) async fn changed_names(&self) -> Result<Vec<Arc<str>>, VfsError> {
        let now: BTreeSet<Arc<str>> = self.names().await?.into_iter().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = known.symmetric_difference(&now).cloned().collect();
        *known = now;
        Ok(changed)
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

    /// The directory `name` as another process has shown it; `None` when there
    /// is none of that name.
    pub(super) fn reopen(
        &self,
        name: String,
        shown: Arc<View>,
        told: Arc<View>,
    ) -> Option<Arc<PlacedView>> {
        let (repo, reference) = self.parse(&name)?;
        let follows = reference.as_ref().is_none_or(|r| !matches!(r.base, RefBase::Commit(_)));
        let view = Arc::new(PlacedView::found(name.clone(), shown, told));
        let open = OpenView { repo, reference, view: Arc::clone(&view), follows };
        self.views().insert(name.into(), open);
        Some(view)
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, VfsError> {
        let Some((repo, reference)) = self.parse(name) else { return Ok(None) };
        let resolved = match waits::on(
            WaitFor::Server,
            self.source.resolve(&repo, reference.as_ref()),
        )
        .await
        {
            Ok(resolved) => resolved,
            Err(VfsError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let follows = reference.as_ref().is_none_or(|r| !matches!(r.base, RefBase::Commit(_)));
        let view = self.view(resolved.as_ref());
        let view = Arc::new(match follows {
            true => PlacedView::following(name.to_owned(), view),
            false => PlacedView::pinned(name.to_owned(), view),
        });
        let fresh = OpenView { repo, reference, view, follows };
        let mut views = self.views();
        let open = views.entry(name.into()).or_insert(fresh);
        Ok(Some(Place::View(Arc::clone(&open.view))))
    }
}

#[async_trait]
impl Top for Repos {
    async fn find(&self, name: &str) -> Result<Option<Place>, VfsError> {
        let shown = self.only.as_ref().and_then(|only| only.get(name));
        if let Some(transaction) = shown.and_then(|shown| shown.transaction.clone()) {
            return Ok(Some(Place::Transaction(transaction)));
        }
        let open = self.views().get(name).map(|open| Arc::clone(&open.view));
        match open {
            Some(view) => Ok(Some(Place::View(view))),
            None => self.open(name).await,
        }
    }

    async fn names(&self) -> Result<Vec<Arc<str>>, VfsError> {
        if let Some(only) = &self.only {
            return Ok(only.keys().cloned().collect());
        }
        let repos = waits::on(WaitFor::Server, self.source.repos()).await?;
        let users = repos.iter().filter(|repo| repo.kind == RepoKind::User);
        let mut names: Vec<Arc<str>> = users.map(|repo| directory_name(repo).into()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn transactions(&self) -> Vec<(Arc<str>, Arc<TransactionView>)> {
        let only = self.only.iter().flatten();
        only.filter_map(|(name, shown)| Some((Arc::clone(name), shown.transaction.clone()?)))
            .collect()
    }
}
