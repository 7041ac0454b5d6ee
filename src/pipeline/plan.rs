//! Which datums of a job must run.

use std::collections::{BTreeMap, HashMap};

use crate::model::DatumId;
use crate::pipeline::datum::{Delta, Identified};

/// What a job is measured against: the last good job of the pipeline.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// How many datums it had.
    pub total: u64,
    /// Datums it has no outputs for because they were recovered; they run
    /// again even when they have not changed.
    pub recovered: Vec<Identified>,
}

/// What a job has to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Datums to run, in the order to start them.
    pub process: Vec<Identified>,
    /// All datums of the job.
    pub total: u64,
    /// Datums of the base whose outputs must go: they are no more, or run
    /// again. Sorted.
    pub remove: Vec<DatumId>,
}

impl Plan {
    /// Plans a job from what changed since its base.
    #[must_use]
    pub fn new(base: &Base, delta: Delta<Identified>) -> Self {
        let removed: HashMap<DatumId, Identified> =
            delta.removed.into_iter().map(|old| (old.id, old)).collect();
        let added: BTreeMap<DatumId, Identified> =
            delta.added.into_iter().map(|new| (new.id, new)).collect();
        let total = base.total + added.len() as u64 - (removed.len() as u64).min(base.total);
        let mut remove: Vec<DatumId> = Vec::new();
        for (id, old) in &removed {
            if added.get(id).is_none_or(|new| new.hash != old.hash) {
                remove.push(*id);
            }
        }
        let mut process: BTreeMap<DatumId, Identified> = BTreeMap::new();
        for recovered in &base.recovered {
            if !removed.contains_key(&recovered.id) {
                remove.push(recovered.id);
                process.insert(recovered.id, recovered.clone());
            }
        }
        let is_new = |new: &Identified| removed.get(&new.id).is_none_or(|old| old.hash != new.hash);
        process.extend(added.into_iter().filter(|(_, new)| is_new(new)));
        remove.sort_unstable();
        remove.dedup();
        let mut process: Vec<Identified> = process.into_values().collect();
        process.sort_by(|a, b| a.datum.cmp_for_start(&b.datum).then(a.id.cmp(&b.id)));
        Self { process, total, remove }
    }

    /// Plans a job that keeps nothing: no base, another salt, or every datum
    /// wanted. The base's outputs must be dropped whole.
    #[must_use]
    pub fn afresh(datums: Vec<Identified>) -> Self {
        Self::new(&Base::default(), Delta { removed: Vec::new(), added: datums })
    }

    /// How many datums need not run.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.total.saturating_sub(self.process.len() as u64)
    }
}
