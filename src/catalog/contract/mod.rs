//! What every catalog must do: the tests that each implementation runs.
//!
//! An implementation's tests call [`contract_tests`] with a function that
//! opens a fresh catalog and answers it with whatever must outlive it.

mod commits;
mod events;
mod guards;
mod work;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    BranchRow, Catalog, CatalogError, CommitRow, Job, JobCounters, JobRow, JobState, Op, Origin,
    Pipeline, PipelineRow, PipelineState, ProjectRow, RepoRow, StoredRoot,
};
use crate::model::{Branch, Commit, CommitId, ProjectName, Repo, Timestamp};

pub use commits::*;
pub use events::*;
pub use guards::*;
pub use work::*;

/// One test per clause of the contract.
macro_rules! contract_tests {
    ($fresh:path; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (catalog, _guard) = $fresh().await;
                $crate::catalog::contract::$name(catalog).await;
            }
        )*
    };
    ($fresh:path) => {
        $crate::catalog::contract::contract_tests! { $fresh;
            a_batch_is_applied_whole_or_not_at_all
            guards_hold
            deletions_spare_what_is_needed
            wiring_grows_with_provenance
            commits_are_found_by_every_key
            ancestors_are_found_whatever_the_length
            provenance_is_followed_both_ways
            branches_are_followed_downstream
            roots_move_by_compare_and_swap
            concurrent_moves_of_one_head_have_one_winner
            events_follow_the_writes
            consumers_keep_events_alive
            leases_have_one_holder
            secrets_packs_and_settings_are_kept
            transactions_go_through_their_states
            lapsed_transactions_are_found_and_guarded
            gathered_calls_move_by_compare_and_swap
            file_sets_live_until_their_time
            pipelines_have_versions
            jobs_are_listed_and_counted
            datums_are_claimed_under_leases
            workers_never_share_a_claim
        }
    };
}
pub(crate) use contract_tests;

/// What a test is given.
pub type Fresh = Arc<dyn Catalog>;

pub fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub fn repo(name: &str) -> Repo {
    Repo::user(ProjectName::default_project(), name.parse().unwrap())
}

pub fn master(name: &str) -> Branch {
    repo(name).branch("master".parse().unwrap())
}

/// The commit of `name` whose id is made of `n`.
pub fn commit(name: &str, n: u64) -> Commit {
    repo(name).commit(id(n))
}

pub fn id(n: u64) -> CommitId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    CommitId::new(bytes)
}

pub fn root(text: &'static str) -> StoredRoot {
    let encoded = Bytes::from_static(text.as_bytes());
    StoredRoot { bytes: encoded.len() as u64, files: 1, encoded }
}

pub fn commit_row(name: &str, n: u64, parent: Option<u64>) -> CommitRow {
    CommitRow {
        commit: commit(name, n),
        seq: 0,
        number: 0,
        branch: Some("master".parse().unwrap()),
        parent: parent.map(id),
        origin: Origin::User,
        description: format!("commit {n}"),
        author: "somebody".into(),
        started: time(1),
        finished: None,
        error: None,
        root: root("root"),
        provenance: Vec::new(),
    }
}

pub fn branch_row(branch: Branch, head: Option<u64>, provenance: Vec<Branch>) -> BranchRow {
    BranchRow { branch, head: head.map(id), provenance, trigger: None, created: time(3) }
}

pub fn pipeline(name: &str) -> Pipeline {
    Pipeline { project: ProjectName::default_project(), name: name.parse().unwrap() }
}

pub fn pipeline_row(name: &str, version: u64) -> PipelineRow {
    PipelineRow {
        pipeline: pipeline(name),
        version,
        spec_commit: id(100 + version),
        spec: format!("spec {version}"),
        user_spec: format!("as written {version}"),
        salt: "salt".into(),
        inputs: vec![master("a")],
        output_branch: "master".parse().unwrap(),
        state: PipelineState::Starting,
        reason: String::new(),
        stopped: false,
        created: time(4),
    }
}

pub fn job(name: &str, n: u64) -> Job {
    Job { pipeline: pipeline(name), id: id(n) }
}

pub fn job_row(name: &str, n: u64) -> JobRow {
    JobRow {
        job: job(name, n),
        seq: 0,
        version: 1,
        spec_commit: id(101),
        inputs: vec![super::JobInput { branch: master("a"), commit: id(n) }],
        output: commit(name, n),
        base: None,
        state: JobState::Created,
        reason: String::new(),
        counters: JobCounters::default(),
        restarts: 0,
        created: time(5),
        started: None,
        finished: None,
    }
}

/// Creates the default project and repos.
pub async fn repos(catalog: &Fresh, names: &[&str]) {
    let (description, created) = (String::new(), time(0));
    let name = ProjectName::default_project();
    let mut ops =
        vec![Op::CreateProject(ProjectRow { name, description: description.clone(), created })];
    for name in names {
        let (repo, description) = (repo(name), description.clone());
        ops.push(Op::CreateRepo(RepoRow { repo, description, created }));
    }
    catalog.apply(ops).await.unwrap();
}

/// Applies one operation that must be a conflict.
pub async fn refused(catalog: &Fresh, op: Op) {
    let shown = format!("{op:?}");
    match catalog.apply(vec![op]).await {
        Err(CatalogError::Conflict { .. }) => {}
        other => panic!("{shown}: {other:?}"),
    }
}
