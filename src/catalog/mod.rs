//! The catalog: everything mutable, in one transactional database.
//!
//! Reads are typed queries. All writes go through [`Catalog::apply`]: a batch
//! of guarded operations, one database transaction. Semantics live above, in
//! `repo`: it reads rows, plans a batch and applies it by compare-and-swap.
//! Nothing here knows trees, chunks or what a commit means.

#[cfg(test)]
pub(crate) mod contract;
mod event;
mod op;
mod pending;
mod query;
mod records;
mod rows;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub use event::{Event, EventRow};
pub use op::{JobChange, Op, TransactionChange};
pub use pending::Pending;
pub use query::{Back, CommitQuery, JobQuery, Reach};
pub use records::{FileSetRow, GatheredRow, LeaseRow, PackRow, SecretRow};
pub use rows::{
    BranchRow, CommitRow, DatumRow, DatumState, Job, JobCounters, JobInput, JobRow, JobState,
    Origin, Pipeline, PipelineRow, PipelineState, ProjectRow, RepoRow, StoredRoot, TransactionRow,
    TransactionState, Trigger,
};

use crate::model::{
    Branch, Clock, Commit, CommitId, DatumId, FileSetId, PackId, ProjectName, Repo, Timestamp,
    TransactionId,
};

/// Why the catalog did not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// A guard failed: what was read has changed since. Nothing was written;
    /// read again and retry.
    #[error("conflict: {what}")]
    Conflict {
        /// What was not as expected.
        what: String,
    },
    /// Another server holds this catalog.
    #[error("another server is using {path}")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// A later version wrote this catalog.
    #[error("the catalog {path} has version {found}, this program knows versions up to {known}")]
    Newer {
        /// The database.
        path: String,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The URL names no catalog this build can open.
    #[error("catalog URL {url:?}: {reason}")]
    Unsupported {
        /// The URL.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The disk is full. Nothing was written.
    #[error("no space left for the catalog")]
    NoSpace,
    /// A row that cannot be understood.
    #[error("the catalog is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The database failed.
    #[error("the catalog failed: {message}")]
    Failed {
        /// What it said.
        message: String,
    },
}

/// The catalog's result type.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// The database that several implementations provide.
///
/// Every query sees a consistent state, at least as new as the last `apply`
/// that returned. A missing row is `None` or an empty list, never an error.
/// Lists are in the order their method names; those with a limit page by the
/// key of the last row.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Applies all operations in order, or none: durable once it returns.
    async fn apply(&self, batch: Vec<Op>) -> Result<()>;

    /// Claims up to `limit` datums for `worker` until `until`, in index order:
    /// those nobody holds and those whose claim has lapsed at `now`.
    async fn claim_datums(
        &self,
        job: &Job,
        worker: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<DatumRow>>;

    /// Follows the sequence number of the newest event.
    fn watch(&self) -> watch::Receiver<u64>;

    /// All projects by name.
    async fn projects(&self) -> Result<Vec<ProjectRow>>;
    /// One project.
    async fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>>;

    /// All repos, or those of one project, of every kind; newest first.
    async fn repos(&self, project: Option<&ProjectName>) -> Result<Vec<RepoRow>>;
    /// One repo.
    async fn repo(&self, repo: &Repo) -> Result<Option<RepoRow>>;

    /// The branches of a repo; newest first.
    async fn branches(&self, repo: &Repo) -> Result<Vec<BranchRow>>;
    /// One branch.
    async fn branch(&self, branch: &Branch) -> Result<Option<BranchRow>>;
    /// The branches whose head is `commit`.
    async fn branches_at(&self, commit: &Commit) -> Result<Vec<BranchRow>>;
    /// Every branch that has a trigger, oldest first.
    async fn triggered_branches(&self) -> Result<Vec<BranchRow>>;
    /// The branches that derive from any of `branches`, directly or through
    /// others, those themselves left out.
    async fn downstream(&self, branches: &[Branch]) -> Result<Vec<BranchRow>>;

    /// A number that grows whenever the provenance of any branch changes.
    async fn wiring(&self) -> Result<u64>;

    /// One commit.
    async fn commit(&self, commit: &Commit) -> Result<Option<CommitRow>>;
    /// Commits that match a query, by creation order.
    async fn commits(&self, query: &CommitQuery) -> Result<Vec<CommitRow>>;
    /// The commits of a repo whose id starts with the hex digits `prefix`, up
    /// to `limit`.
    async fn commits_by_prefix(
        &self,
        repo: &Repo,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CommitId>>;
    /// The commit sets whose id starts with the hex digits `prefix`, up to
    /// `limit`.
    async fn sets_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CommitId>>;
    /// The nearest ancestor (the commit itself included) that `back` names.
    /// Logarithmic in the length of history.
    async fn ancestor(&self, commit: &Commit, back: Back) -> Result<Option<CommitRow>>;
    /// A commit and its ancestors, newest first, up to `limit`, stopping
    /// before `until`.
    async fn ancestors(
        &self,
        commit: &Commit,
        until: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<CommitRow>>;
    /// The commits whose parent is `commit`.
    async fn children(&self, commit: &Commit) -> Result<Vec<CommitId>>;
    /// The commits of a set in creation order: upstream before downstream.
    async fn commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>>;
    /// Commit sets, newest first, each with its newest commit's `seq`; those
    /// with a `seq` below `before`, up to `limit`.
    async fn commit_sets(&self, before: Option<u64>, limit: usize) -> Result<Vec<(CommitId, u64)>>;
    /// The commits that `commit` derives from, upstream first when `All`.
    async fn provenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>>;
    /// The commits that derive from `commit`, in creation order.
    async fn subvenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>>;

    /// Current versions of all pipelines, or those of one project; newest
    /// first.
    async fn pipelines(&self, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>>;
    /// The current version of a pipeline.
    async fn pipeline(&self, pipeline: &Pipeline) -> Result<Option<PipelineRow>>;
    /// All versions of a pipeline, newest first. State is the current one.
    async fn pipeline_versions(&self, pipeline: &Pipeline) -> Result<Vec<PipelineRow>>;

    /// One job.
    async fn job(&self, job: &Job) -> Result<Option<JobRow>>;
    /// Jobs that match a query, newest first.
    async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRow>>;
    /// The jobs of a commit set in creation order.
    async fn job_set(&self, id: CommitId) -> Result<Vec<JobRow>>;

    /// Datums of a job in index order from `from`, up to `limit`; only those
    /// in `state` when given.
    async fn datums(
        &self,
        job: &Job,
        state: Option<DatumState>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DatumRow>>;
    /// One datum of a job.
    async fn datum(&self, job: &Job, id: &DatumId) -> Result<Option<DatumRow>>;
    /// How many datums of a job are in each state; states of none left out.
    async fn datum_counts(&self, job: &Job) -> Result<Vec<(DatumState, u64)>>;

    /// Write transactions, oldest first; those in one of `states`, or all.
    async fn transactions(&self, states: &[TransactionState]) -> Result<Vec<TransactionRow>>;
    /// Write transactions in a state whose lease lapsed before then, the
    /// longest lapsed first, up to `limit`.
    async fn lapsed_transactions(
        &self,
        state: TransactionState,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TransactionRow>>;
    /// One write transaction.
    async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRow>>;

    /// Everything gathered, oldest first.
    async fn all_gathered(&self) -> Result<Vec<GatheredRow>>;
    /// Calls gathered under one id.
    async fn gathered(&self, id: CommitId) -> Result<Option<GatheredRow>>;
    /// One file set, gone or not.
    async fn file_set(&self, id: FileSetId) -> Result<Option<FileSetRow>>;
    /// All file sets, oldest first.
    async fn file_sets(&self) -> Result<Vec<FileSetRow>>;

    /// All secrets by name.
    async fn secrets(&self) -> Result<Vec<SecretRow>>;
    /// One secret.
    async fn secret(&self, name: &str) -> Result<Option<SecretRow>>;

    /// Events after `seq` in order, up to `limit`.
    async fn events(&self, seq: u64, limit: usize) -> Result<Vec<EventRow>>;
    /// The last event a consumer acknowledged; 0 for a new one.
    async fn acknowledged(&self, consumer: &str) -> Result<u64>;

    /// Packs by id after `after`, up to `limit`.
    async fn packs(&self, after: Option<PackId>, limit: usize) -> Result<Vec<PackRow>>;
    /// A named lease, lapsed or not.
    async fn lease(&self, name: &str) -> Result<Option<LeaseRow>>;
    /// What the database finds wrong with itself; reads all of it.
    async fn check(&self) -> Result<Vec<String>>;
    /// A value of the installation itself.
    async fn setting(&self, key: &str) -> Result<Option<Bytes>>;
}

/// Opens the catalog at `url`, creating it when there is none.
///
/// `sqlite:///path/catalog.db` is the only kind this build has; the directory
/// must exist. One process may hold it at a time: the lock is released when
/// the last handle is dropped or the process ends, however it ends.
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Catalog>> {
    match url.split_once("://") {
        Some(("sqlite", path)) => Ok(Arc::new(sqlite::Sqlite::open(path.into(), clock).await?)),
        Some(("postgres" | "postgresql", _)) => Err(CatalogError::Unsupported {
            url: without_password(url),
            reason: "PostgreSQL is not supported in this build; use sqlite://PATH",
        }),
        _ => Err(CatalogError::Unsupported {
            url: without_password(url),
            reason: "expected sqlite://PATH",
        }),
    }
}

/// The URL with user and password left out.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
