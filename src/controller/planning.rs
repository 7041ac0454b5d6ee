//! What a job has to do, from its inputs and the last good job.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Controller;
use super::error::{ControllerError, Result};
use super::leaves::{changes, root_of, scan};
use crate::catalog::{Back, JobRow, PipelineRow};
use crate::model::{Commit, CommitId, DatumId, Repo, RepoKind};
use crate::pipeline::datum::{
    Datum, Delta, Identified, LeafMatches, Origins, evaluate, evaluate_all, needs_full,
};
use crate::pipeline::plan::{Base, Plan};
use crate::pipeline::record::{DatumRecord, JobRecord, datum_path, job_path};
use crate::pipeline::spec::{KeyStyle, OnConflict, PipelineSpec, ReprocessPolicy};
use crate::tree::{EntryKind, Root, Tree};

/// A job with everything its datums share.
pub(super) struct JobContext {
    pub row: JobRow,
    pub spec: PipelineSpec,
    pub origins: Origins,
    /// The commit each leaf is read at.
    pub commits: Vec<CommitId>,
    /// Its tree.
    pub trees: Vec<Tree>,
    /// Values of the secrets the program gets.
    pub secrets: BTreeMap<String, BTreeMap<String, Bytes>>,
    /// What it builds upon.
    pub base: Option<BaseJob>,
}

/// The last good job.
pub(super) struct BaseJob {
    pub id: CommitId,
    pub record: JobRecord,
    pub output: Root,
    pub meta: Root,
}

impl BaseJob {
    /// The spec it ran, where this version still understands it.
    fn spec(&self) -> Option<PipelineSpec> {
        PipelineSpec::from_json(&self.record.spec.to_string()).ok()
    }
}

/// The spec as records keep it: without what only the request said.
pub(super) fn recorded(spec: &PipelineSpec) -> serde_json::Value {
    let spec = PipelineSpec { update: false, reprocess: false, ..spec.clone() };
    spec.to_json(KeyStyle::Snake)
}

/// The meta commit that belongs to an output commit.
pub(super) fn meta_of(output: &Commit) -> Commit {
    Repo { kind: RepoKind::Meta, ..output.repo.clone() }.commit(output.id)
}

impl Controller {
    /// Reads everything that datums of the job share.
    pub(super) async fn context(&self, row: JobRow) -> Result<JobContext> {
        let spec = self.spec_of(&row).await?;
        let mut commits = Vec::new();
        let mut trees = Vec::new();
        for leaf in spec.input.leaves() {
            let branch = leaf.repo().branch(leaf.branch());
            let input = row.inputs.iter().find(|input| input.branch == branch);
            let Some(input) = input else {
                return Err(ControllerError::Job(format!("the job has no commit for {branch}")));
            };
            commits.push(input.commit);
            trees.push(self.tree(&branch.repo.commit(input.commit)).await?);
        }
        let secrets = self.secrets_of(&spec).await?;
        let base = self.base_of(&row).await?;
        let origins = Origins::of(&spec.input);
        Ok(JobContext { row, spec, origins, commits, trees, secrets, base })
    }

    async fn spec_of(&self, row: &JobRow) -> Result<PipelineSpec> {
        let versions = self.catalog().pipeline_versions(&row.job.pipeline).await?;
        let version = versions.iter().find(|version| version.version == row.version);
        version.map_or_else(
            || {
                Err(ControllerError::Job(format!(
                    "version {} of the pipeline is gone",
                    row.version
                )))
            },
            spec_of_version,
        )
    }

    /// The tree of a finished commit.
    pub(super) async fn tree(&self, commit: &Commit) -> Result<Tree> {
        let Some(row) = self.catalog().commit(commit).await? else {
            return Err(ControllerError::NotFound { kind: "commit", name: commit.to_string() });
        };
        Ok(Tree::new(self.nodes(), root_of(&row.root)?))
    }

    async fn secrets_of(
        &self,
        spec: &PipelineSpec,
    ) -> Result<BTreeMap<String, BTreeMap<String, Bytes>>> {
        let mut secrets = BTreeMap::new();
        for name in spec.transform.secret_names() {
            let Some(row) = self.catalog().secret(name).await? else {
                return Err(ControllerError::Job(format!("secret {name} does not exist")));
            };
            secrets.insert(name.to_owned(), row.values);
        }
        Ok(secrets)
    }

    /// The nearest ancestor whose output and meta commits are both good.
    async fn base_of(&self, row: &JobRow) -> Result<Option<BaseJob>> {
        let Some(output) = self.catalog().commit(&row.output).await? else { return Ok(None) };
        let mut next = output.parent;
        while let Some(parent) = next {
            let parent = row.output.repo.commit(parent);
            let Some(good) = self.catalog().ancestor(&parent, Back::Good).await? else { break };
            if let Some(base) = self.base_at(&good.commit, &good.root).await? {
                return Ok(Some(base));
            }
            next = good.parent;
        }
        Ok(None)
    }

    async fn base_at(
        &self,
        output: &Commit,
        root: &crate::catalog::StoredRoot,
    ) -> Result<Option<BaseJob>> {
        let Some(meta) = self.catalog().commit(&meta_of(output)).await? else { return Ok(None) };
        if !meta.is_good() {
            return Ok(None);
        }
        let meta = root_of(&meta.root)?;
        let Some(text) = self.read_small(&meta, &job_path()).await? else { return Ok(None) };
        let record = serde_json::from_slice::<JobRecord>(&text);
        Ok(match record {
            Ok(record) => Some(BaseJob { id: output.id, record, output: root_of(root)?, meta }),
            Err(error) => {
                tracing::warn!(%output, %error, "a job's record cannot be read: starting afresh");
                None
            }
        })
    }

    /// The whole of a small file, if it is there.
    pub(super) async fn read_small(
        &self,
        root: &Root,
        path: &crate::model::TreePath,
    ) -> Result<Option<Bytes>> {
        let entry = Tree::new(self.nodes(), *root).get(path).await?;
        match entry.map(|entry| entry.kind) {
            Some(EntryKind::File(content)) => {
                let size = content.size();
                Ok(Some(content.read_range(self.repos().blobs(), 0..size).await?))
            }
            Some(EntryKind::Dir | EntryKind::Symlink(_)) | None => Ok(None),
        }
    }

    /// Works out what to run. The same inputs and base give the same plan.
    ///
    /// Drops the base from the context when nothing of it can be kept.
    pub(super) async fn plan(&self, job: &mut JobContext) -> Result<Plan> {
        let usable = match &job.base {
            Some(base) => base.spec().filter(|old| keeps_datums(old, &job.spec)),
            None => None,
        };
        let Some((old_spec, base)) = usable.zip(job.base.as_ref()) else {
            job.base = None;
            return Ok(Plan::afresh(self.identified(job, &job.trees).await?));
        };
        let Some(old_trees) = self.trees_of_base(&old_spec, base).await? else {
            tracing::info!(job = %job.row.job, "the base's inputs are gone: starting afresh");
            job.base = None;
            return Ok(Plan::afresh(self.identified(job, &job.trees).await?));
        };
        let total = base.record.counters.total;
        if old_spec.input == job.spec.input {
            let delta = self.incremental(job, &old_trees).await?;
            let recovered = self.recovered(base).await?;
            return Ok(Plan::new(&Base { total, recovered }, delta));
        }
        let old = self.evaluated(&old_spec, &Origins::of(&old_spec.input), &old_trees).await?;
        let new = self.identified(job, &job.trees).await?;
        let was_recovered = |one: &&Identified| base.record.recovered.contains(&one.id);
        let recovered = new.iter().filter(was_recovered).cloned().collect();
        Ok(Plan::new(&Base { total, recovered }, differences(old, new)))
    }

    async fn incremental(&self, job: &JobContext, old: &[Tree]) -> Result<Delta<Identified>> {
        let leaves = job.spec.input.leaves();
        let mut found = Vec::new();
        for ((leaf, tree), old) in leaves.iter().zip(&job.trees).zip(old) {
            let delta = changes(old, tree, *leaf).await?;
            found.push(LeafMatches { delta, full: None });
        }
        let changed: Vec<bool> = found.iter().map(|leaf| !leaf.delta.is_empty()).collect();
        let needed = needs_full(&job.spec.input, &changed);
        for (index, needed) in needed.into_iter().enumerate() {
            if needed {
                found[index].full = Some(scan(&job.trees[index], leaves[index]).await?);
            }
        }
        let delta = evaluate(&job.spec.input, &found);
        let identify = |datums: Vec<Datum>| -> Vec<Identified> {
            datums.into_iter().map(|one| job.origins.identify(one, &job.spec.salt)).collect()
        };
        Ok(Delta { removed: identify(delta.removed), added: identify(delta.added) })
    }

    async fn identified(&self, job: &JobContext, trees: &[Tree]) -> Result<Vec<Identified>> {
        self.evaluated(&job.spec, &job.origins, trees).await
    }

    /// What the base read; `None` when that is gone, e.g. with its repo.
    async fn trees_of_base(
        &self,
        spec: &PipelineSpec,
        base: &BaseJob,
    ) -> Result<Option<Vec<Tree>>> {
        let mut trees = Vec::new();
        for (leaf, commit) in spec.input.leaves().into_iter().zip(&base.record.commits) {
            match self.tree(&leaf.repo().commit(*commit)).await {
                Ok(tree) => trees.push(tree),
                Err(ControllerError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(trees))
    }

    /// All datums of a spec's input.
    pub(super) async fn evaluated(
        &self,
        spec: &PipelineSpec,
        origins: &Origins,
        trees: &[Tree],
    ) -> Result<Vec<Identified>> {
        let mut found = Vec::new();
        for (leaf, tree) in spec.input.leaves().into_iter().zip(trees) {
            found.push(scan(tree, leaf).await?);
        }
        let datums = evaluate_all(&spec.input, &found);
        Ok(datums.into_iter().map(|datum| origins.identify(datum, &spec.salt)).collect())
    }

    /// Recovered datums of the base, which had the same input.
    async fn recovered(&self, base: &BaseJob) -> Result<Vec<Identified>> {
        let mut recovered = Vec::new();
        for id in &base.record.recovered {
            recovered.extend(self.record_in(&base.meta, *id).await?.map(|one| one.identified()));
        }
        Ok(recovered)
    }

    /// A datum's record in a meta tree.
    pub(super) async fn record_in(&self, meta: &Root, id: DatumId) -> Result<Option<DatumRecord>> {
        let Some(text) = self.read_small(meta, &datum_path(id)).await? else { return Ok(None) };
        match serde_json::from_slice(&text) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::warn!(datum = %id, %error, "a datum's record cannot be read");
                Ok(None)
            }
        }
    }
}

/// The spec of a pipeline's version, its salt as the catalog has it.
pub(super) fn spec_of_version(version: &PipelineRow) -> Result<PipelineSpec> {
    let spec = PipelineSpec::from_json(&version.spec)?;
    Ok(PipelineSpec { salt: version.salt.clone(), ..spec })
}

/// Whether datums of a job under the old spec may stand under the new.
fn keeps_datums(old: &PipelineSpec, new: &PipelineSpec) -> bool {
    let same_merge = old.on_conflict == new.on_conflict;
    old.salt == new.salt
        && new.reprocess_policy == ReprocessPolicy::UntilSuccess
        // A laxer rule may have let pass what the new one refuses.
        && (same_merge || new.on_conflict != OnConflict::Fail)
}

/// What takes the old datums to the new.
fn differences(old: Vec<Identified>, new: Vec<Identified>) -> Delta<Identified> {
    let key = |one: &Identified| (one.id, one.hash);
    let before: std::collections::HashSet<_> = old.iter().map(key).collect();
    let after: std::collections::HashSet<_> = new.iter().map(key).collect();
    Delta {
        removed: old.into_iter().filter(|one| !after.contains(&key(one))).collect(),
        added: new.into_iter().filter(|one| !before.contains(&key(one))).collect(),
    }
}
