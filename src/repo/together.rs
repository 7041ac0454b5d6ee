//! Several use cases as one: each sees what those before it have done, and
//! all of it happens in one step, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::graph::Changes;
use super::{Repos, Result, object};
use crate::catalog::{Catalog, CatalogError, CommitRow, Op, Pending};
use crate::model::{Branch, Commit, CommitId};

/// What happens besides the writes to the catalog.
pub(super) struct Gathering {
    /// The id of every commit that is made.
    id: CommitId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    changes: Changes,
    /// The ids that what follows would have had, one use case at a time.
    sets: BTreeSet<CommitId>,
    objects: BTreeMap<Commit, CommitRow>,
    gone: BTreeSet<Commit>,
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changes from which other things follow.
    pub(super) fn follow(&self, changes: &Changes, set: CommitId) {
        let Changes { heads, rewired, forced, pipelines } = changes.clone();
        let mut state = self.state();
        state.sets.insert(set);
        state.changes.heads.extend(heads);
        state.changes.rewired.extend(rewired);
        state.changes.forced.extend(forced);
        state.changes.pipelines.extend(pipelines);
    }

    /// A commit that is finished, whose object must be written.
    pub(super) fn keep(&self, row: &CommitRow) {
        self.state().objects.insert(row.commit.clone(), row.clone());
    }

    /// Commits that are gone, whose objects are to be deleted.
    pub(super) fn forget(&self, commits: Vec<Commit>) {
        let mut state = self.state();
        for commit in commits {
            state.objects.remove(&commit);
            state.gone.insert(commit);
        }
    }
}

/// Use cases that happen together, see [`Repos::together`].
pub struct Together {
    base: Repos,
    pending: Arc<Pending>,
    gathering: Arc<Gathering>,
}

impl Repos {
    /// Begins use cases that happen together; every commit that they make has
    /// the id `id`.
    pub async fn together(&self, id: CommitId) -> Result<Together> {
        // Anything else that happens meanwhile may create it, too.
        self.ensure_default_project().await?;
        let pending = Arc::new(Pending::on(Arc::clone(&self.catalog)).await?);
        let gathering = Arc::new(Gathering { id, state: Mutex::default() });
        Ok(Together { base: self.clone(), pending, gathering })
    }

    /// The id of commits that are about to be made.
    pub(super) fn fresh_set(&self) -> CommitId {
        match &self.together {
            Some(gathering) => gathering.id,
            None => self.clock.commit_id(),
        }
    }
}

impl Together {
    /// The use cases to plan with: they see each other's effects; nobody else
    /// does.
    #[must_use]
    pub fn repos(&self) -> Repos {
        Repos {
            catalog: Arc::clone(&self.pending) as Arc<dyn Catalog>,
            together: Some(Arc::clone(&self.gathering)),
            ..self.base.clone()
        }
    }

    /// Makes all of it happen, and `also` with it; or, when something that was
    /// read has changed meanwhile, nothing: then the answer is `false`, and
    /// all must be planned again.
    pub async fn publish(self, also: Vec<Op>) -> Result<bool> {
        self.derive().await?;
        let (objects, gone) = {
            let mut state = self.gathering.state();
            (std::mem::take(&mut state.objects), std::mem::take(&mut state.gone))
        };
        for row in objects.values() {
            if let Err(error) = self.base.write_object(row).await {
                // What is left behind here fsck finds.
                drop(self.withdraw(objects.keys()).await);
                return Err(error);
            }
        }
        let mut batch = self.pending.batch();
        batch.extend(also);
        let gone: Vec<_> = gone.into_iter().collect();
        let removing = match gone.is_empty() {
            true => None,
            false => Some(self.base.removing.lock().await),
        };
        if removing.is_some() {
            batch.push(self.base.note_removal(&gone).await?);
        }
        match self.base.catalog.apply(batch).await {
            Ok(()) => {
                if removing.is_some() {
                    self.base.delete_objects().await?;
                }
                Ok(true)
            }
            Err(CatalogError::Conflict { .. }) => {
                self.withdraw(objects.keys()).await?;
                Ok(false)
            }
            // When the catalog itself failed, the commits may be there.
            Err(error) => Err(error.into()),
        }
    }

    /// What follows from everything, under one id.
    async fn derive(&self) -> Result<()> {
        let repos = self.repos();
        let (mut changes, sets) = {
            let state = self.gathering.state();
            (state.changes.clone(), state.sets.clone())
        };
        self.drop_lost(&mut changes).await?;
        if changes.heads.is_empty() && changes.rewired.is_empty() {
            return Ok(());
        }
        // What follows from one commit alone carries the id of that one.
        let set = match sets.len() {
            1 => sets.first().copied().unwrap_or(self.gathering.id),
            _ => self.gathering.id,
        };
        let derived = repos.derive_now(&changes, set).await?;
        let mut ops = derived.guards;
        ops.extend(derived.plan.into_ops());
        Ok(self.pending.apply(ops).await?)
    }

    /// Leaves out the branches that were deleted or rewired since.
    async fn drop_lost(&self, changes: &mut Changes) -> Result<()> {
        let mut there: BTreeMap<Branch, Vec<Branch>> = BTreeMap::new();
        for branch in changes.heads.keys().chain(changes.rewired.keys()) {
            if let Some(row) = self.pending.branch(branch).await? {
                there.insert(branch.clone(), row.provenance);
            }
        }
        changes.heads.retain(|branch, _| there.contains_key(branch));
        changes.rewired.retain(|branch, provenance| match there.get(branch) {
            Some(now) => {
                provenance.clone_from(now);
                !provenance.is_empty()
            }
            None => false,
        });
        Ok(())
    }

    /// Takes back the objects of commits that were not finished after all.
    async fn withdraw(&self, commits: impl Iterator<Item = &Commit>) -> Result<()> {
        for commit in commits {
            match self.base.catalog.commit(commit).await? {
                Some(row) if !row.is_open() => self.base.write_object(&row).await?,
                // What is left behind here fsck finds.
                Some(_) | None => drop(self.base.store().delete(&object::key(commit)).await),
            }
        }
        Ok(())
    }
}
