//! The catalog on SQLite.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::*;

pub struct Sqlite;

impl Sqlite {
    pub async fn open(path: PathBuf, clock: Arc<dyn Clock>) -> Result<Self> {
        todo!()
    }
}

#[async_trait]
impl Catalog for Sqlite {
    async fn apply(&self, batch: Vec<Op>) -> Result<()> {
        todo!()
    }
    async fn claim_datums(
        &self,
        job: &Job,
        worker: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<DatumRow>> {
        todo!()
    }
    fn watch(&self) -> watch::Receiver<u64> {
        todo!()
    }
    async fn projects(&self) -> Result<Vec<ProjectRow>> {
        todo!()
    }
    async fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>> {
        todo!()
    }
    async fn repos(&self, project: Option<&ProjectName>) -> Result<Vec<RepoRow>> {
        todo!()
    }
    async fn repo(&self, repo: &Repo) -> Result<Option<RepoRow>> {
        todo!()
    }
    async fn branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        todo!()
    }
    async fn branch(&self, branch: &Branch) -> Result<Option<BranchRow>> {
        todo!()
    }
    async fn branches_at(&self, commit: &Commit) -> Result<Vec<BranchRow>> {
        todo!()
    }
    async fn downstream(&self, branches: &[Branch]) -> Result<Vec<BranchRow>> {
        todo!()
    }
    async fn commit(&self, commit: &Commit) -> Result<Option<CommitRow>> {
        todo!()
    }
    async fn commits(&self, query: &CommitQuery) -> Result<Vec<CommitRow>> {
        todo!()
    }
    async fn commits_by_prefix(
        &self,
        repo: &Repo,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CommitId>> {
        todo!()
    }
    async fn ancestor(&self, commit: &Commit, back: Back) -> Result<Option<CommitRow>> {
        todo!()
    }
    async fn ancestors(
        &self,
        commit: &Commit,
        until: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<CommitRow>> {
        todo!()
    }
    async fn children(&self, commit: &Commit) -> Result<Vec<CommitId>> {
        todo!()
    }
    async fn commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        todo!()
    }
    async fn commit_sets(&self, before: Option<u64>, limit: usize) -> Result<Vec<(CommitId, u64)>> {
        todo!()
    }
    async fn provenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        todo!()
    }
    async fn subvenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        todo!()
    }
    async fn pipelines(&self, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>> {
        todo!()
    }
    async fn pipeline(&self, pipeline: &Pipeline) -> Result<Option<PipelineRow>> {
        todo!()
    }
    async fn pipeline_versions(&self, pipeline: &Pipeline) -> Result<Vec<PipelineRow>> {
        todo!()
    }
    async fn job(&self, job: &Job) -> Result<Option<JobRow>> {
        todo!()
    }
    async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRow>> {
        todo!()
    }
    async fn job_set(&self, id: CommitId) -> Result<Vec<JobRow>> {
        todo!()
    }
    async fn datums(
        &self,
        job: &Job,
        state: Option<DatumState>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DatumRow>> {
        todo!()
    }
    async fn datum(&self, job: &Job, id: &DatumId) -> Result<Option<DatumRow>> {
        todo!()
    }
    async fn datum_counts(&self, job: &Job) -> Result<Vec<(DatumState, u64)>> {
        todo!()
    }
    async fn transactions(&self, states: &[TransactionState]) -> Result<Vec<TransactionRow>> {
        todo!()
    }
    async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRow>> {
        todo!()
    }
    async fn secrets(&self) -> Result<Vec<SecretRow>> {
        todo!()
    }
    async fn secret(&self, name: &str) -> Result<Option<SecretRow>> {
        todo!()
    }
    async fn events(&self, seq: u64, limit: usize) -> Result<Vec<EventRow>> {
        todo!()
    }
    async fn acknowledged(&self, consumer: &str) -> Result<u64> {
        todo!()
    }
    async fn packs(&self, after: Option<PackId>, limit: usize) -> Result<Vec<PackRow>> {
        todo!()
    }
    async fn lease(&self, name: &str) -> Result<Option<LeaseRow>> {
        todo!()
    }
    async fn setting(&self, key: &str) -> Result<Option<Bytes>> {
        todo!()
    }
}
