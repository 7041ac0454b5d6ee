//! A catalog as it will be: reads see writes that nobody has applied yet.
//!
//! Use cases that run one after another on a [`Pending`] catalog each see what
//! those before them planned; the writes of all then go to the catalog below
//! as one batch. Their guards are in the batch too, so that it fails as a
//! whole when the catalog below has moved on meanwhile.

mod apply;
mod commits;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use self::rows::Rows;
use super::{
    Back, BranchRow, Catalog, CatalogError, CommitQuery, CommitRow, DatumRow, DatumState, EventRow,
    FileSetRow, GatheredRow, Job, JobQuery, JobRow, LeaseRow, Op, PackRow, Pipeline, PipelineRow,
    ProjectRow, Reach, RepoRow, Result, SecretRow, TransactionRow, TransactionState,
};
use crate::model::{
    Branch, Commit, CommitId, DatumId, FileSetId, PackId, ProjectName, Repo, Timestamp,
    TransactionId,
};

/// A catalog with writes on top that are not applied to it.
///
/// Projects, repos, branches, commits and pipelines are shown as they will be;
/// everything else as it is below. Writes to anything else are refused.
pub struct Pending {
    base: Arc<dyn Catalog>,
    rows: Mutex<Arc<Rows>>,
}

impl Pending {
    /// Nothing pending yet.
    pub async fn on(base: Arc<dyn Catalog>) -> Result<Self> {
        let wiring = base.wiring().await?;
        Ok(Self { rows: Mutex::new(Arc::new(Rows::new(Arc::clone(&base), wiring))), base })
    }

    /// Everything that was written here, as one batch for the catalog below.
    #[must_use]
    pub fn batch(&self) -> Vec<Op> {
        let rows = self.rows();
        // What was read was read after this.
        let mut batch = vec![Op::ExpectWiring(rows.wiring)];
        batch.extend(rows.ops.iter().cloned());
        batch
    }

    fn rows(&self) -> Arc<Rows> {
        Arc::clone(&self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A question whose answer is not known before the writes are applied.
fn unknown<T>(what: &str) -> Result<T> {
    Err(CatalogError::Failed { message: format!("{what} cannot be known before it happens") })
}

#[async_trait]
impl Catalog for Pending {
    async fn apply(&self, batch: Vec<Op>) -> Result<()> {
        let mut rows = Rows::clone(&self.rows());
        for op in batch {
            rows.write(op).await?;
        }
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rows);
        Ok(())
    }

    async fn claim_datums(
        &self,
        _: &Job,
        _: &str,
        _: Timestamp,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<DatumRow>> {
        unknown("a claim")
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.base.watch()
    }

    async fn projects(&self) -> Result<Vec<ProjectRow>> {
        self.rows().projects().await
    }

    async fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>> {
        self.rows().project(name).await
    }

    async fn repos(&self, project: Option<&ProjectName>) -> Result<Vec<RepoRow>> {
        self.rows().repos(project).await
    }

    async fn repo(&self, repo: &Repo) -> Result<Option<RepoRow>> {
        self.rows().repo(repo).await
    }

    async fn branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        self.rows().branches(repo).await
    }

    async fn branch(&self, branch: &Branch) -> Result<Option<BranchRow>> {
        self.rows().branch(branch).await
    }

    async fn triggered_branches(&self) -> Result<Vec<BranchRow>> {
        unknown("the triggers of all branches")
    }

    async fn branches_at(&self, commit: &Commit) -> Result<Vec<BranchRow>> {
        let mut rows = self.rows().branches(&commit.repo).await?;
        rows.retain(|row| row.head == Some(commit.id));
        Ok(rows)
    }

    async fn downstream(&self, branches: &[Branch]) -> Result<Vec<BranchRow>> {
        self.rows().downstream(branches).await
    }

    async fn wiring(&self) -> Result<u64> {
        Ok(self.rows().wiring)
    }

    async fn commit(&self, commit: &Commit) -> Result<Option<CommitRow>> {
        self.rows().commit(commit).await
    }

    async fn commits(&self, query: &CommitQuery) -> Result<Vec<CommitRow>> {
        self.rows().commits(query).await
    }

    async fn commits_by_prefix(
        &self,
        repo: &Repo,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CommitId>> {
        self.rows().commits_by_prefix(repo, prefix, limit).await
    }

    async fn sets_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CommitId>> {
        self.rows().sets_by_prefix(prefix, limit).await
    }

    async fn ancestor(&self, commit: &Commit, back: Back) -> Result<Option<CommitRow>> {
        self.rows().ancestor(commit, back).await
    }

    async fn ancestors(
        &self,
        commit: &Commit,
        until: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<CommitRow>> {
        self.rows().ancestors(commit, until, limit).await
    }

    async fn children(&self, commit: &Commit) -> Result<Vec<CommitId>> {
        self.rows().children(commit).await
    }

    async fn commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        self.rows().commit_set(id).await
    }

    async fn commit_sets(&self, _: Option<u64>, _: usize) -> Result<Vec<(CommitId, u64)>> {
        unknown("the order of commit sets")
    }

    async fn provenance(&self, _: &Commit, _: Reach) -> Result<Vec<Commit>> {
        unknown("provenance")
    }

    async fn subvenance(&self, _: &Commit, _: Reach) -> Result<Vec<Commit>> {
        unknown("subvenance")
    }

    async fn pipelines(&self, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>> {
        self.rows().pipelines(project).await
    }

    async fn pipeline(&self, pipeline: &Pipeline) -> Result<Option<PipelineRow>> {
        self.rows().pipeline(pipeline).await
    }

    async fn pipeline_versions(&self, pipeline: &Pipeline) -> Result<Vec<PipelineRow>> {
        self.rows().pipeline_versions(pipeline).await
    }

    async fn job(&self, job: &Job) -> Result<Option<JobRow>> {
        self.base.job(job).await
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRow>> {
        self.base.jobs(query).await
    }

    async fn job_set(&self, id: CommitId) -> Result<Vec<JobRow>> {
        self.base.job_set(id).await
    }

    async fn datums(
        &self,
        job: &Job,
        state: Option<DatumState>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DatumRow>> {
        self.base.datums(job, state, from, limit).await
    }

    async fn datum(&self, job: &Job, id: &DatumId) -> Result<Option<DatumRow>> {
        self.base.datum(job, id).await
    }

    async fn datum_counts(&self, job: &Job) -> Result<Vec<(DatumState, u64)>> {
        self.base.datum_counts(job).await
    }

    async fn transactions(&self, states: &[TransactionState]) -> Result<Vec<TransactionRow>> {
        self.base.transactions(states).await
    }

    async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRow>> {
        self.base.transaction(id).await
    }

    async fn lapsed_transactions(
        &self,
        state: TransactionState,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TransactionRow>> {
        self.base.lapsed_transactions(state, before, limit).await
    }

    async fn all_gathered(&self) -> Result<Vec<GatheredRow>> {
        self.base.all_gathered().await
    }

    async fn gathered(&self, id: CommitId) -> Result<Option<GatheredRow>> {
        self.base.gathered(id).await
    }

    async fn file_set(&self, id: FileSetId) -> Result<Option<FileSetRow>> {
        self.base.file_set(id).await
    }

    async fn file_sets(&self) -> Result<Vec<FileSetRow>> {
        self.base.file_sets().await
    }

    async fn secrets(&self) -> Result<Vec<SecretRow>> {
        self.base.secrets().await
    }

    async fn secret(&self, name: &str) -> Result<Option<SecretRow>> {
        self.base.secret(name).await
    }

    async fn events(&self, seq: u64, limit: usize) -> Result<Vec<EventRow>> {
        self.base.events(seq, limit).await
    }

    async fn acknowledged(&self, consumer: &str) -> Result<u64> {
        self.base.acknowledged(consumer).await
    }

    async fn packs(&self, after: Option<PackId>, limit: usize) -> Result<Vec<PackRow>> {
        self.base.packs(after, limit).await
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseRow>> {
        self.base.lease(name).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.base.check().await
    }

    async fn setting(&self, key: &str) -> Result<Option<Bytes>> {
        self.base.setting(key).await
    }
}
