//! What follows from heads that moved: a pure plan over rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{
    CommitRow, Job, JobCounters, JobInput, JobRow, JobState, Op, Origin, PipelineRow, StoredRoot,
};
use crate::model::{Branch, Commit, CommitId, Repo, RepoKind, Timestamp};

/// A branch that may have to follow.
#[derive(Debug, Clone)]
pub struct Node {
    /// The branch.
    pub branch: Branch,
    /// Its head.
    pub head: Option<CommitId>,
    /// What its head is directly derived from.
    pub derived_from: Vec<Commit>,
    /// The branches it derives from.
    pub provenance: Vec<Branch>,
    /// The pipeline whose output branch it is.
    pub pipeline: Option<PipelineRow>,
    /// The tree a new commit begins with.
    pub root: StoredRoot,
    /// Whether it gets a commit though nothing it derives from has changed.
    pub forced: bool,
}

/// Everything a plan depends on.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The branches that may have to follow, in any order.
    pub nodes: Vec<Node>,
    /// The commit that each other branch they derive from stands for.
    pub inputs: BTreeMap<Branch, Option<CommitId>>,
    /// Repos that already have a commit of the set's id.
    pub taken: BTreeSet<Repo>,
}

/// The commits to open and the jobs to create, upstream first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The commits, each with the head it moves.
    pub opened: Vec<Opened>,
    /// The jobs.
    pub jobs: Vec<JobRow>,
}

/// An output commit to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The branch whose head it becomes.
    pub branch: Branch,
    /// The head before.
    pub before: Option<CommitId>,
    /// The commit.
    pub row: CommitRow,
}

impl Plan {
    /// The plan as guarded writes.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        let commits = self.opened.into_iter().flat_map(|opened| {
            let Opened { branch, before, row } = opened;
            let new = Some(row.commit.id);
            [Op::CreateCommit(row), Op::MoveHead { branch, expected: before, new }]
        });
        commits.chain(self.jobs.into_iter().map(Op::CreateJob)).collect()
    }
}

/// Plans what follows, under the id `set`; `spare` replaces it where a repo
/// already has a commit of that id.
///
/// A branch follows when every branch it derives from has a commit, not all of
/// those are spec commits, and they differ from what its head is derived from.
#[must_use]
pub fn plan(
    graph: &Graph,
    set: CommitId,
    mut spare: impl FnMut() -> CommitId,
    now: Timestamp,
) -> Plan {
    let mut stands_for = graph.inputs.clone();
    let mut taken = graph.taken.clone();
    // All outputs of one plan share an id: a job's output and datum table too.
    let nodes = in_order(&graph.nodes);
    let mut id = set;
    if nodes.iter().any(|node| taken.contains(&node.branch.repo)) {
        id = spare();
        taken.clear();
    }
    let mut plan = Plan::default();
    for node in nodes {
        let Some(inputs) = inputs_of(node, &stands_for) else {
            stands_for.insert(node.branch.clone(), node.head);
            continue;
        };
        let provenance = commits_of(&inputs);
        if !node.forced && !follows(node, &provenance) {
            stands_for.insert(node.branch.clone(), node.head);
            continue;
        }
        let fresh = taken.insert(node.branch.repo.clone());
        let id = if fresh { id } else { spare() };
        stands_for.insert(node.branch.clone(), Some(id));
        plan.jobs.extend(job(node, id, &inputs, now));
        plan.opened.push(open(node, id, provenance, now));
    }
    plan
}

/// Upstream before downstream.
fn in_order(nodes: &[Node]) -> Vec<&Node> {
    let by_branch: BTreeMap<_, _> = nodes.iter().map(|node| (&node.branch, node)).collect();
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    for node in nodes {
        visit(node, &by_branch, &mut seen, &mut ordered);
    }
    ordered
}

fn visit<'n>(
    node: &'n Node,
    by_branch: &BTreeMap<&'n Branch, &'n Node>,
    seen: &mut BTreeSet<&'n Branch>,
    ordered: &mut Vec<&'n Node>,
) {
    if !seen.insert(&node.branch) {
        return;
    }
    for upstream in &node.provenance {
        if let Some(upstream) = by_branch.get(upstream) {
            visit(upstream, by_branch, seen, ordered);
        }
    }
    ordered.push(node);
}

/// The commit of every branch a node derives from; `None` when one has none.
fn inputs_of(
    node: &Node,
    stands_for: &BTreeMap<Branch, Option<CommitId>>,
) -> Option<Vec<JobInput>> {
    let input = |branch: &Branch| {
        let commit = stands_for.get(branch).copied().flatten()?;
        Some(JobInput { branch: branch.clone(), commit })
    };
    node.provenance.iter().map(input).collect()
}

/// The commits, each once, in order.
fn commits_of(inputs: &[JobInput]) -> Vec<Commit> {
    let mut seen = BTreeSet::new();
    let commits = inputs.iter().map(|input| input.branch.repo.commit(input.commit));
    commits.filter(|commit| seen.insert(commit.clone())).collect()
}

fn follows(node: &Node, provenance: &[Commit]) -> bool {
    let only_specs = provenance.iter().all(|commit| commit.repo.kind == RepoKind::Spec);
    let set = |commits: &[Commit]| commits.iter().cloned().collect::<BTreeSet<_>>();
    let same = node.head.is_some() && set(&node.derived_from) == set(provenance);
    !only_specs && !same
}

fn open(node: &Node, id: CommitId, provenance: Vec<Commit>, now: Timestamp) -> Opened {
    let row = CommitRow {
        commit: node.branch.repo.commit(id),
        seq: 0,
        number: 0,
        branch: Some(node.branch.name.clone()),
        parent: node.head,
        origin: Origin::Auto,
        description: String::new(),
        author: String::new(),
        started: now,
        finished: None,
        error: None,
        root: node.root.clone(),
        provenance,
    };
    Opened { branch: node.branch.clone(), before: node.head, row }
}

fn job(node: &Node, id: CommitId, inputs: &[JobInput], now: Timestamp) -> Option<JobRow> {
    let pipeline = node.pipeline.as_ref()?;
    let reads = |branch: &Branch| inputs.iter().find(|input| input.branch == *branch).cloned();
    Some(JobRow {
        job: Job { pipeline: pipeline.pipeline.clone(), id },
        seq: 0,
        version: pipeline.version,
        spec_commit: pipeline.spec_commit,
        inputs: pipeline.inputs.iter().filter_map(reads).collect(),
        output: node.branch.repo.commit(id),
        base: None,
        state: JobState::Created,
        reason: String::new(),
        counters: JobCounters::default(),
        restarts: 0,
        created: now,
        started: None,
        finished: None,
    })
}
