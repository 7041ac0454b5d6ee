//! Reads what a plan of derived commits depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::derive::{Graph, Node, Plan, plan};
use super::{Repos, Result};
use crate::catalog::{Back, BranchRow, CommitRow, Op, Pipeline, PipelineRow, StoredRoot};
use crate::model::{Branch, CommitId, Repo, RepoKind};

/// What a use case is about to change, as far as derived commits depend on it.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Finished commits that heads move to.
    pub heads: BTreeMap<Branch, CommitId>,
    /// Branches with what they will derive from.
    pub rewired: BTreeMap<Branch, Vec<Branch>>,
    /// Rewired branches that get a commit though nothing changed.
    pub forced: BTreeSet<Branch>,
    /// Pipelines as they will be, by output branch.
    pub pipelines: BTreeMap<Branch, PipelineRow>,
}

/// Derived commits with the guards that hold as long as what was read does.
#[derive(Debug, Default)]
pub struct Derived {
    /// To apply before anything else of the batch.
    pub guards: Vec<Op>,
    /// To apply after the changes themselves.
    pub plan: Plan,
}

impl Repos {
    /// Reads the branches downstream of the changes and plans what follows
    /// under the id `set`.
    ///
    /// Where several use cases happen together nothing follows yet: all that
    /// follows from all of them is derived at the end, once.
    pub(super) async fn derive(&self, changes: &Changes, set: CommitId) -> Result<Derived> {
        match &self.together {
            Some(gathering) => {
                gathering.follow(changes, set);
                Ok(Derived::default())
            }
            None => self.derive_now(changes, set).await,
        }
    }

    /// The same, at once.
    pub(super) async fn derive_now(&self, changes: &Changes, set: CommitId) -> Result<Derived> {
        let mut reading = Reading::new(changes);
        // Before all else: what is read after it is guarded by it.
        reading.guards.push(Op::ExpectWiring(self.catalog.wiring().await?));
        for row in self.affected(changes).await? {
            let node = self.node(&mut reading, row).await?;
            if self.catalog.commit(&node.branch.repo.commit(set)).await?.is_some() {
                reading.graph.taken.insert(node.branch.repo.clone());
            }
            reading.graph.nodes.push(node);
        }
        self.read_inputs(&mut reading, set).await?;
        let spare = || self.clock.commit_id();
        let plan = plan(&reading.graph, set, spare, self.clock.now());
        Ok(Derived { guards: reading.guards, plan })
    }

    /// Rewired branches and all downstream, but those whose head is given.
    async fn affected(&self, changes: &Changes) -> Result<Vec<BranchRow>> {
        let moved: Vec<_> = changes.heads.keys().chain(changes.rewired.keys()).cloned().collect();
        let mut rows: BTreeMap<Branch, BranchRow> = BTreeMap::new();
        for row in self.catalog.downstream(&moved).await? {
            rows.insert(row.branch.clone(), row);
        }
        for (branch, provenance) in &changes.rewired {
            let mut row = match self.catalog.branch(branch).await? {
                Some(row) => row,
                None => self.unborn(branch),
            };
            row.provenance.clone_from(provenance);
            rows.insert(branch.clone(), row);
        }
        rows.retain(|branch, _| !changes.heads.contains_key(branch));
        Ok(rows.into_values().collect())
    }

    fn unborn(&self, branch: &Branch) -> BranchRow {
        BranchRow {
            branch: branch.clone(),
            head: None,
            provenance: Vec::new(),
            trigger: None,
            created: self.clock.now(),
        }
    }

    async fn node(&self, reading: &mut Reading<'_>, row: BranchRow) -> Result<Node> {
        let head = self.head_row(&row).await?;
        let pipeline = match reading.changes.pipelines.get(&row.branch) {
            Some(pipeline) => Some(pipeline.clone()),
            None => self.pipeline_of(&row.branch).await?,
        };
        // A rewired branch may not exist yet; its creation is guard enough.
        if self.catalog.branch(&row.branch).await?.is_some() {
            let expected = row.head;
            reading.guards.push(Op::ExpectHead { branch: row.branch.clone(), expected });
        }
        // A pipeline's commit begins empty; elsewhere somebody goes on from
        // what there is.
        let derived = pipeline.is_some() || row.branch.repo.kind != RepoKind::User;
        let root = match &head {
            Some(head) if !derived => head.root.clone(),
            _ => StoredRoot::default(),
        };
        Ok(Node {
            forced: reading.changes.forced.contains(&row.branch),
            derived_from: head.map(|row| row.provenance).unwrap_or_default(),
            branch: row.branch,
            head: row.head,
            provenance: row.provenance,
            pipeline,
            root,
        })
    }

    async fn head_row(&self, row: &BranchRow) -> Result<Option<CommitRow>> {
        match row.head {
            Some(id) => Ok(self.catalog.commit(&row.branch.repo.commit(id)).await?),
            None => Ok(None),
        }
    }

    /// The pipeline that writes to a branch.
    pub(super) async fn pipeline_of(&self, branch: &Branch) -> Result<Option<PipelineRow>> {
        let pipeline = self.pipeline_named_as(&branch.repo).await?;
        let writes = |row: &PipelineRow| {
            branch.repo.kind == RepoKind::User && row.output_branch == branch.name
        };
        Ok(pipeline.filter(writes))
    }

    /// The pipeline that a repo belongs to.
    pub(super) async fn pipeline_named_as(&self, repo: &Repo) -> Result<Option<PipelineRow>> {
        let Ok(name) = repo.name.as_str().parse() else { return Ok(None) };
        let pipeline = Pipeline { project: repo.project.clone(), name };
        Ok(self.catalog.pipeline(&pipeline).await?)
    }

    /// Reads what the branches outside the graph stand for.
    async fn read_inputs(&self, reading: &mut Reading<'_>, set: CommitId) -> Result<()> {
        let inside: BTreeSet<_> = reading.graph.nodes.iter().map(|n| n.branch.clone()).collect();
        let wanted = reading.graph.nodes.iter().flat_map(|node| node.provenance.clone());
        let wanted: BTreeSet<_> = wanted.filter(|branch| !inside.contains(branch)).collect();
        for branch in wanted {
            let commit = match reading.changes.heads.get(&branch) {
                Some(id) => Some(*id),
                None => self.stands_for(reading, &branch, set).await?,
            };
            reading.graph.inputs.insert(branch, commit);
        }
        Ok(())
    }

    /// The commit that an input branch stands for: its head, but where users
    /// have a commit open there the newest finished before it. Derived commits
    /// close by themselves, and those of the same set belong together.
    async fn stands_for(
        &self,
        reading: &mut Reading<'_>,
        branch: &Branch,
        set: CommitId,
    ) -> Result<Option<CommitId>> {
        let Some(row) = self.catalog.branch(branch).await? else { return Ok(None) };
        let expected = row.head;
        reading.guards.push(Op::ExpectHead { branch: branch.clone(), expected });
        let Some(head) = self.head_row(&row).await? else { return Ok(None) };
        let closes = head.origin == crate::catalog::Origin::Auto || head.commit.id == set;
        if !head.is_open() || closes {
            return Ok(Some(head.commit.id));
        }
        reading.guards.push(Op::ExpectOpen { commit: head.commit.clone(), open: true });
        let good = self.catalog.ancestor(&head.commit, Back::Good).await?;
        Ok(good.map(|row| row.commit.id))
    }
}

/// A graph being read.
struct Reading<'c> {
    changes: &'c Changes,
    graph: Graph,
    guards: Vec<Op>,
}

impl<'c> Reading<'c> {
    fn new(changes: &'c Changes) -> Self {
        Self { changes, graph: Graph::default(), guards: Vec::new() }
    }
}
