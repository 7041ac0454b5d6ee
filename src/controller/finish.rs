//! The end of a job: outputs merged, datum table written, commits finished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};

use super::Controller;
use super::datum::decode_outcome;
use super::edits::apply_all;
use super::error::{ControllerError, Result};
use super::planning::{BaseJob, JobContext, recorded};
use crate::catalog::{
    DatumState as RowState, Job, JobChange, JobCounters, JobState, Op, StoredRoot,
};
use crate::chunk::{FileWriter, PackWriter};
use crate::model::{DatumId, TreePath};
use crate::pipeline::job::{DatumState, progress};
use crate::pipeline::output::{OutputClaims, OutputConflict};
use crate::pipeline::plan::Plan;
use crate::pipeline::record::{
    DatumRecord, JobRecord, RECORD_VERSION, datum_path, job_path, log_path, outputs_path,
};
use crate::pipeline::spec::OnConflict;
use crate::repo::{FinishJob, RepoError};
use crate::tree::{ApplyOptions, Edit, Entry, EntryKind, Root, Tree};

/// How many datum rows are read at a time.
const PAGE: usize = 1000;

/// A datum that ran in this job, and the tree with all that is kept of it.
struct Ran {
    id: DatumId,
    tree: Root,
}

/// What became of a job's datums.
#[derive(Default)]
struct Outcomes {
    ran: Vec<Ran>,
    counters: JobCounters,
    recovered: Vec<DatumId>,
    /// The first that failed, and why.
    failure: Option<String>,
    /// How many are still to be run.
    unfinished: u64,
}

impl Outcomes {
    fn add(&mut self, record: &DatumRecord, tree: Root) {
        let id = record.id;
        super::job::add(&mut self.counters, &progress(record.state, &record.stats));
        match record.state {
            DatumState::Recovered => self.recovered.push(id),
            DatumState::Failed if self.failure.is_none() => {
                self.failure = Some(format!("{}: datum {id} failed", record.reason));
            }
            DatumState::Starting
            | DatumState::Skipped
            | DatumState::Success
            | DatumState::Failed => {}
        }
        self.ran.push(Ran { id, tree });
    }
}

/// What the end of a job writes.
struct Ending<'a> {
    controller: &'a Controller,
    job: &'a JobContext,
    plan: &'a Plan,
    outcomes: Outcomes,
    writer: PackWriter,
}

impl Controller {
    /// Ends a job whose datums have all come to an end, well or badly.
    ///
    /// # Errors
    /// [`ControllerError::Unfinished`] while one of them is still to be run
    /// and none has failed: what is published is whole.
    pub(super) async fn finish(&self, job: &JobContext, plan: &Plan) -> Result<()> {
        let outcomes = self.outcomes(&job.row.job).await?;
        let reason = outcomes.failure.clone();
        if reason.is_none() && outcomes.unfinished > 0 {
            return Err(ControllerError::Unfinished(outcomes.unfinished));
        }
        let writer = self.repos().blobs().writer();
        let ending = Ending { controller: self, job, plan, outcomes, writer };
        let (state, reason, output) = match reason {
            Some(reason) => (JobState::Failure, reason, None),
            None => match ending.merge().boxed().await {
                Ok(root) => (JobState::Success, String::new(), Some(root)),
                Err(error) => match error.verdict() {
                    Some(reason) => (JobState::Failure, reason, None),
                    None => return Err(error),
                },
            },
        };
        if let (Some(root), Some(url)) = (&output, &job.spec.egress) {
            let change = JobChange { state: Some(JobState::Egressing), ..JobChange::default() };
            self.change_job(&job.row.job, JobState::Egressing, change).await?;
            super::egress::push(self, &job.row.job, root, url).boxed().await?;
        }
        let counters = ending.counters();
        let meta = ending.meta(&counters).boxed().await?;
        ending.writer.flush().await?;
        let end = FinishJob {
            change: JobChange {
                state: Some(state),
                reason: Some(reason),
                counters: Some(counters),
                base: job.base.as_ref().map(|base| base.id),
                started: job.row.started,
                finished: Some(self.clock().now()),
                restarted: false,
            },
            output: output.map(|root| stored(&root)),
            meta: Some(stored(&meta)),
            also: vec![Op::DeleteDatums(job.row.job.clone())],
        };
        self.end(&job.row.job, &end).await
    }

    async fn end(&self, job: &Job, end: &FinishJob) -> Result<()> {
        match self.repos().finish_job(job, end).boxed().await {
            // Somebody stopped it a moment ago: that stands.
            Ok(_) | Err(RepoError::Finished { .. }) => {
                self.logs().discard(job);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a job without outputs; its datum table has what ran until then.
    pub(super) async fn end_job(&self, job: &Job, state: JobState, reason: String) -> Result<()> {
        let meta = self.remains(job, &reason).await;
        let finished = Some(self.clock().now());
        let (state, reason) = (Some(state), Some(reason));
        let end = FinishJob {
            change: JobChange { state, reason, finished, ..JobChange::default() },
            output: None,
            meta,
            also: vec![Op::DeleteDatums(job.clone())],
        };
        self.end(job, &end).await
    }

    async fn outcomes(&self, job: &Job) -> Result<Outcomes> {
        let mut outcomes = Outcomes::default();
        let mut from = 0;
        loop {
            let page = self.catalog().datums(job, None, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(outcomes) };
            from = last.index + 1;
            for row in page {
                match row.state {
                    RowState::Waiting | RowState::Claimed => outcomes.unfinished += 1,
                    RowState::Success | RowState::Failed | RowState::Recovered => {
                        let (record, tree) = decode_outcome(row.id, &row.outcome)?;
                        outcomes.add(&record, tree);
                    }
                }
            }
        }
    }
}

pub(super) fn stored(root: &Root) -> StoredRoot {
    let totals = root.totals();
    StoredRoot { encoded: root.encode().into(), files: totals.files, bytes: totals.bytes }
}

/// How many places a datum has in a meta tree.
const PLACES: usize = 3;

/// Everything a meta tree has of a datum.
pub(super) fn places(id: DatumId) -> [TreePath; PLACES] {
    // The record and the outputs have a directory of their own.
    let whole = |path: TreePath| path.parent().unwrap_or(path);
    [log_path(id), whole(datum_path(id)), whole(outputs_path(id))]
}

/// The edits of a datum table, in its order: a tree is what is new of a datum,
/// `None` takes it out.
fn table(datums: BTreeMap<DatumId, Option<Root>>) -> impl Iterator<Item = (TreePath, Edit)> {
    let datums: Arc<[(DatumId, Option<Root>)]> = datums.into_iter().collect();
    let each = move |place: usize| {
        let datums = Arc::clone(&datums);
        (0..datums.len()).map(move |at| {
            let (id, tree) = datums[at];
            // `places` is in the order of the tree.
            let path = places(id)[place].clone();
            match tree {
                Some(source) => (path.clone(), Edit::Graft { source, path }),
                None => (path, Edit::Remove),
            }
        })
    };
    (0..PLACES).flat_map(each)
}

/// What the outputs of a datum are, at their paths.
type Outputs = BTreeMap<TreePath, Entry>;

impl Ending<'_> {
    fn counters(&self) -> JobCounters {
        let (total, skipped) = (self.plan.total, self.plan.skipped());
        JobCounters { total, skipped, ..self.outcomes.counters }
    }

    /// The base's datum table with what ran in this job.
    async fn meta(&self, counters: &JobCounters) -> Result<Root> {
        let mut datums: BTreeMap<DatumId, Option<Root>> =
            self.plan.remove.iter().map(|id| (*id, None)).collect();
        datums.extend(self.outcomes.ran.iter().map(|one| (one.id, Some(one.tree))));
        let record = (job_path(), Edit::Replace(self.record(counters).await?));
        let base = self.job.base.as_ref().map_or(Root::empty(), |base| base.meta);
        self.apply(&base, std::iter::once(record).chain(table(datums))).await
    }

    async fn record(&self, counters: &JobCounters) -> Result<Entry> {
        let record = JobRecord {
            version: RECORD_VERSION,
            job: self.job.row.job.id,
            spec: recorded(&self.job.spec),
            commits: self.job.commits.clone(),
            counters: *counters,
            recovered: self.outcomes.recovered.clone(),
        };
        let text = serde_json::to_vec(&record)
            .map_err(|error| ControllerError::Job(format!("the job's record: {error}")))?;
        let mut content = FileWriter::new(&self.writer, &[]);
        content.write(text.into()).await?;
        Ok(Entry::file(content.finish().await?, self.controller.clock().now()))
    }

    async fn apply<E>(&self, base: &Root, edits: E) -> Result<Root>
    where
        E: IntoIterator<Item = (TreePath, Edit), IntoIter: Send + 'static>,
    {
        let options = ApplyOptions { prune_parents: true };
        apply_all(self.controller.nodes(), &self.writer, *base, edits, options).await
    }

    /// The output tree: the base's without what is gone, with what is new.
    async fn merge(&self) -> Result<Root> {
        match (&self.job.base, self.job.spec.on_conflict) {
            (Some(base), OnConflict::Fail) => self.merge_into(base).await,
            // Which datums share a path is not recorded: all are looked at.
            (Some(base), OnConflict::Concat | OnConflict::Last) => {
                let mut trees: BTreeMap<DatumId, Root> = self.kept(base).await?;
                trees.extend(self.outcomes.ran.iter().map(|one| (one.id, one.tree)));
                self.merge_all(&trees).await
            }
            (None, _) => {
                let trees = self.outcomes.ran.iter().map(|one| (one.id, one.tree)).collect();
                self.merge_all(&trees).await
            }
        }
    }

    /// Datums of the base that stay, with the tree their outputs are in.
    async fn kept(&self, base: &BaseJob) -> Result<BTreeMap<DatumId, Root>> {
        let tree = Tree::new(self.controller.nodes(), base.meta);
        let (dir, mut kept, mut after) = (pfs_dir(), BTreeMap::new(), None::<String>);
        if tree.get(&dir).await?.is_none() {
            return Ok(kept);
        }
        loop {
            let page = tree.list(&dir, after.as_deref(), PAGE).await?;
            after = page.last().map(|(name, _)| name.clone());
            for (name, _) in &page {
                if let Ok(id) = name.parse::<DatumId>()
                    && self.plan.remove.binary_search(&id).is_err()
                {
                    kept.insert(id, base.meta);
                }
            }
            if page.len() < PAGE {
                return Ok(kept);
            }
        }
    }

    async fn outputs(&self, tree: &Root, id: DatumId) -> Result<Outputs> {
        let below = outputs_path(id);
        let mut outputs = Outputs::new();
        let mut entries = Tree::new(self.controller.nodes(), *tree).walk(&below, None);
        while let Some(entry) = entries.next().await {
            let (path, entry) = entry?;
            // Everything below a directory starts with it.
            outputs.extend(path.strip_prefix(&below).map(|path| (path, entry)));
        }
        Ok(outputs)
    }

    /// Merges the outputs of all these datums from nothing.
    async fn merge_all(&self, trees: &BTreeMap<DatumId, Root>) -> Result<Root> {
        let mut claims = OutputClaims::new(self.job.spec.on_conflict);
        for (id, tree) in trees {
            for (path, entry) in self.outputs(tree, *id).await? {
                claims.claim(*id, &path, entry.is_dir())?;
            }
        }
        let mut edits = BTreeMap::new();
        let merged: Vec<_> = claims.into_merged().collect();
        for (path, _, datums) in merged {
            let mut merged: Option<Entry> = None;
            for id in datums {
                let tree = Tree::new(self.controller.nodes(), trees[&id]);
                let place = joined(&outputs_path(id), &path)?;
                let Some(entry) = tree.get(&place).await? else { continue };
                merged = Some(match merged {
                    None => entry,
                    Some(before) => self.concatenated(before, entry).await?,
                });
            }
            edits.extend(merged.map(|entry| (path, Edit::Put(entry))));
        }
        self.apply(&Root::empty(), edits).await
    }

    async fn concatenated(&self, first: Entry, second: Entry) -> Result<Entry> {
        let (EntryKind::File(a), EntryKind::File(b)) = (&first.kind, &second.kind) else {
            // Links and directories cannot be joined: the last one stands.
            return Ok(second);
        };
        let mut both = FileWriter::new(&self.writer, a.chunks());
        for part in [a, b] {
            let mut pieces = part.stream(self.writer.blobs(), 0..part.size());
            while let Some(piece) = pieces.next().await {
                both.write(piece?).await?;
            }
        }
        Ok(Entry { kind: EntryKind::File(both.finish().await?), ..second })
    }

    /// Changes the base's output by what ran; costs what changed.
    async fn merge_into(&self, base: &BaseJob) -> Result<Root> {
        let mut claims = OutputClaims::new(OnConflict::Fail);
        let mut new: BTreeMap<TreePath, (DatumId, Entry)> = BTreeMap::new();
        for Ran { id, tree } in &self.outcomes.ran {
            let id = *id;
            for (path, entry) in self.outputs(tree, id).await? {
                claims.claim(id, &path, entry.is_dir())?;
                new.insert(path, (id, entry));
            }
        }
        let mut gone: BTreeMap<TreePath, bool> = BTreeMap::new();
        for id in &self.plan.remove {
            for (path, entry) in self.outputs(&base.meta, *id).await? {
                gone.insert(path, entry.is_dir());
            }
        }
        self.check_against_kept(base, &new, &gone).await?;
        let mut edits = self.removals(base, &gone, &new).await?;
        for (path, (_, entry)) in new {
            let replaces_dir = gone.get(&path) == Some(&true) && !entry.is_dir();
            let replaces_file = gone.get(&path) == Some(&false) && entry.is_dir();
            let edit = match replaces_dir || replaces_file {
                true => Edit::Replace(entry),
                false => Edit::Put(entry),
            };
            edits.insert(path, edit);
        }
        self.apply(&base.output, edits).await
    }

    /// A path written now may not be one that a kept datum wrote.
    async fn check_against_kept(
        &self,
        base: &BaseJob,
        new: &BTreeMap<TreePath, (DatumId, Entry)>,
        gone: &BTreeMap<TreePath, bool>,
    ) -> Result<()> {
        let output = Tree::new(self.controller.nodes(), base.output);
        for (path, (id, entry)) in new {
            let Some(old) = output.get(path).await? else { continue };
            let shared_dir = old.is_dir() && entry.is_dir();
            if shared_dir || gone.get(path) == Some(&false) {
                continue;
            }
            let mixed = old.is_dir() != entry.is_dir();
            if let Some(other) = self.owner(base, path).await? {
                let (first, second) = (other.min(*id), other.max(*id));
                return Err(OutputConflict { path: path.clone(), first, second, mixed }.into());
            }
        }
        Ok(())
    }

    /// The kept datum that wrote a path. Looks at all of them, which only an
    /// error is worth.
    async fn owner(&self, base: &BaseJob, path: &TreePath) -> Result<Option<DatumId>> {
        let tree = Tree::new(self.controller.nodes(), base.meta);
        for id in self.kept(base).await?.into_keys() {
            if tree.get(&joined(&outputs_path(id), path)?).await?.is_some() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// What has to go from the base's output.
    async fn removals(
        &self,
        base: &BaseJob,
        gone: &BTreeMap<TreePath, bool>,
        new: &BTreeMap<TreePath, (DatumId, Entry)>,
    ) -> Result<BTreeMap<TreePath, Edit>> {
        let mut edits = BTreeMap::new();
        let mut emptied = BTreeSet::new();
        for (path, is_dir) in gone {
            match is_dir {
                false if !new.contains_key(path) => {
                    edits.insert(path.clone(), Edit::Remove);
                }
                false => {}
                true => {
                    emptied.insert(path.clone());
                }
            }
        }
        let output = Tree::new(self.controller.nodes(), base.output);
        for dir in emptied {
            let left = output.totals(&dir).await?.unwrap_or_default();
            let entries = below(gone, &dir).count() as u64;
            // Pruning takes directories that lose their last file; an empty
            // one has none to lose.
            let empty = left.files == 0 && left.dirs <= entries;
            let used = new.contains_key(&dir) || below(new, &dir).next().is_some();
            if empty && !used && self.owner(base, &dir).await?.is_none() {
                edits.retain(|path: &TreePath, _| !path.starts_with(&dir));
                edits.insert(dir, Edit::Remove);
            }
        }
        Ok(edits)
    }
}

/// The entries below a directory, without itself.
fn below<'m, V>(map: &'m BTreeMap<TreePath, V>, dir: &TreePath) -> impl Iterator<Item = &'m V> {
    use std::ops::Bound::{Excluded, Unbounded};
    let dir = dir.clone();
    map.range((Excluded(dir.clone()), Unbounded))
        .take_while(move |(path, _)| path.starts_with(&dir))
        .map(|(_, value)| value)
}

fn pfs_dir() -> TreePath {
    outputs_path(DatumId::new([0; 32])).ancestors().nth(1).unwrap_or_else(TreePath::root)
}

fn joined(base: &TreePath, path: &TreePath) -> Result<TreePath> {
    base.join_path(path).map_err(|error| ControllerError::Job(error.to_string()))
}
