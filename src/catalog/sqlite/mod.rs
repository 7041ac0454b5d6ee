//! The catalog on SQLite: one writing thread, a few reading connections.

mod apply;
mod decode;
mod read;
mod schema;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{Semaphore, watch};

use self::writer::Writer;
use super::{
    Back, BranchRow, Catalog, CatalogError, CommitQuery, CommitRow, DatumRow, DatumState, EventRow,
    FileSetRow, GatheredRow, Job, JobQuery, JobRow, LeaseRow, Op, PackRow, Pipeline, PipelineRow,
    ProjectRow, Reach, RepoRow, Result, SecretRow, TransactionRow, TransactionState,
};
use crate::model::{
    Branch, Clock, Commit, CommitId, DatumId, FileSetId, PackId, ProjectName, Repo, Timestamp,
    TransactionId,
};

/// Connections that read at the same time; more only wait for the disk.
const READERS: usize = 4;

/// A catalog in one SQLite database.
pub struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
    newest: watch::Receiver<u64>,
    clock: Arc<dyn Clock>,
}

/// Idle reading connections.
struct Readers {
    path: PathBuf,
    free: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Opens or creates the database and takes its lock.
    pub async fn open(path: PathBuf, clock: Arc<dyn Clock>) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| CatalogError::Failed { message: e.to_string() };
        let opened = tokio::task::spawn_blocking(move || -> Result<_> {
            let lock = schema::lock(&path)?;
            let conn = schema::writer(&path)?;
            let newest = watch::Sender::new(read::records::newest_event(&conn)?);
            let watching = newest.subscribe();
            Ok((Writer::start(conn, lock, newest)?, path, watching))
        });
        let (writer, path, newest) = opened.await.map_err(|e| failed(&e))??;
        let idle = Mutex::new(Vec::new());
        let readers = Arc::new(Readers { path, free: Semaphore::new(READERS), idle });
        Ok(Self { writer, readers, newest, clock })
    }

    /// Runs a query in a read transaction.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let closed = |e: &dyn std::fmt::Display| CatalogError::Failed { message: e.to_string() };
        let _turn = self.readers.free.acquire().await.map_err(|e| closed(&e))?;
        let readers = Arc::clone(&self.readers);
        let run = tokio::task::spawn_blocking(move || {
            let conn = readers.take()?;
            let result = in_snapshot(&conn, query);
            readers.give_back(conn);
            result
        });
        run.await.map_err(|e| closed(&e))?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| schema::reader(&self.path), Ok)
    }

    fn give_back(&self, conn: Connection) {
        if conn.is_autocommit() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

fn in_snapshot<T>(conn: &Connection, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    conn.execute_batch("BEGIN")?;
    let result = query(conn);
    conn.execute_batch("COMMIT")?;
    result
}

#[async_trait]
impl Catalog for Sqlite {
    async fn apply(&self, batch: Vec<Op>) -> Result<()> {
        let now = self.clock.now();
        self.writer.run(move |conn| apply::apply(conn, now, batch)).await
    }

    async fn claim_datums(
        &self,
        job: &Job,
        worker: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<DatumRow>> {
        let (job, worker) = (job.clone(), worker.to_owned());
        self.writer.run(move |conn| apply::claim(conn, &job, &worker, now, until, limit)).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    async fn projects(&self) -> Result<Vec<ProjectRow>> {
        self.read(read::repos::projects).await
    }

    async fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>> {
        let name = name.clone();
        self.read(move |conn| read::repos::project(conn, &name)).await
    }

    async fn repos(&self, project: Option<&ProjectName>) -> Result<Vec<RepoRow>> {
        let project = project.cloned();
        self.read(move |conn| read::repos::repos(conn, project.as_ref())).await
    }

    async fn repo(&self, repo: &Repo) -> Result<Option<RepoRow>> {
        let repo = repo.clone();
        self.read(move |conn| read::repos::repo(conn, &repo)).await
    }

    async fn branches(&self, repo: &Repo) -> Result<Vec<BranchRow>> {
        let repo = repo.clone();
        self.read(move |conn| read::repos::branches(conn, &repo)).await
    }

    async fn branch(&self, branch: &Branch) -> Result<Option<BranchRow>> {
        let branch = branch.clone();
        self.read(move |conn| read::repos::branch(conn, &branch)).await
    }

    async fn branches_at(&self, commit: &Commit) -> Result<Vec<BranchRow>> {
        let commit = commit.clone();
        self.read(move |conn| read::repos::branches_at(conn, &commit)).await
    }

    async fn triggered_branches(&self) -> Result<Vec<BranchRow>> {
        self.read(read::repos::triggered_branches).await
    }

    async fn downstream(&self, branches: &[Branch]) -> Result<Vec<BranchRow>> {
        let branches = branches.to_vec();
        self.read(move |conn| read::repos::downstream(conn, &branches)).await
    }

    async fn wiring(&self) -> Result<u64> {
        self.read(read::repos::wiring).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Option<CommitRow>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::commit(conn, &commit)).await
    }

    async fn commits(&self, query: &CommitQuery) -> Result<Vec<CommitRow>> {
        let query = query.clone();
        self.read(move |conn| read::commits::commits(conn, &query)).await
    }

    async fn sets_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<CommitId>> {
        let prefix = prefix.to_owned();
        self.read(move |conn| read::commits::sets_by_prefix(conn, &prefix, limit)).await
    }

    async fn commits_by_prefix(
        &self,
        repo: &Repo,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<CommitId>> {
        let (repo, prefix) = (repo.clone(), prefix.to_owned());
        self.read(move |conn| read::commits::by_prefix(conn, &repo, &prefix, limit)).await
    }

    async fn ancestor(&self, commit: &Commit, back: Back) -> Result<Option<CommitRow>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::ancestor(conn, &commit, back)).await
    }

    async fn ancestors(
        &self,
        commit: &Commit,
        until: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<CommitRow>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::ancestors(conn, &commit, until, limit)).await
    }

    async fn children(&self, commit: &Commit) -> Result<Vec<CommitId>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::children(conn, &commit)).await
    }

    async fn commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        self.read(move |conn| read::commits::set(conn, id)).await
    }

    async fn commit_sets(&self, before: Option<u64>, limit: usize) -> Result<Vec<(CommitId, u64)>> {
        self.read(move |conn| read::commits::sets(conn, before, limit)).await
    }

    async fn provenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::provenance(conn, &commit, reach)).await
    }

    async fn subvenance(&self, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
        let commit = commit.clone();
        self.read(move |conn| read::commits::subvenance(conn, &commit, reach)).await
    }

    async fn pipelines(&self, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>> {
        let project = project.cloned();
        self.read(move |conn| read::work::pipelines(conn, project.as_ref())).await
    }

    async fn pipeline(&self, pipeline: &Pipeline) -> Result<Option<PipelineRow>> {
        let pipeline = pipeline.clone();
        self.read(move |conn| read::work::pipeline(conn, &pipeline)).await
    }

    async fn pipeline_versions(&self, pipeline: &Pipeline) -> Result<Vec<PipelineRow>> {
        let pipeline = pipeline.clone();
        self.read(move |conn| read::work::pipeline_versions(conn, &pipeline)).await
    }

    async fn job(&self, job: &Job) -> Result<Option<JobRow>> {
        let job = job.clone();
        self.read(move |conn| read::work::job(conn, &job)).await
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobRow>> {
        let query = query.clone();
        self.read(move |conn| read::work::jobs(conn, &query)).await
    }

    async fn job_set(&self, id: CommitId) -> Result<Vec<JobRow>> {
        self.read(move |conn| read::work::job_set(conn, id)).await
    }

    async fn datums(
        &self,
        job: &Job,
        state: Option<DatumState>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DatumRow>> {
        let job = job.clone();
        self.read(move |conn| read::work::datums(conn, &job, state, from, limit)).await
    }

    async fn datum(&self, job: &Job, id: &DatumId) -> Result<Option<DatumRow>> {
        let (job, id) = (job.clone(), *id);
        self.read(move |conn| read::work::datum(conn, &job, &id)).await
    }

    async fn datum_counts(&self, job: &Job) -> Result<Vec<(DatumState, u64)>> {
        let job = job.clone();
        self.read(move |conn| read::work::datum_counts(conn, &job)).await
    }

    async fn transactions(&self, states: &[TransactionState]) -> Result<Vec<TransactionRow>> {
        let states = states.to_vec();
        self.read(move |conn| read::records::transactions(conn, &states)).await
    }

    async fn lapsed_transactions(
        &self,
        state: TransactionState,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TransactionRow>> {
        self.read(move |conn| read::records::lapsed_transactions(conn, state, before, limit)).await
    }

    async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRow>> {
        self.read(move |conn| read::records::transaction(conn, id)).await
    }

    async fn all_gathered(&self) -> Result<Vec<GatheredRow>> {
        self.read(read::records::all_gathered).await
    }

    async fn gathered(&self, id: CommitId) -> Result<Option<GatheredRow>> {
        self.read(move |conn| read::records::gathered(conn, id)).await
    }

    async fn file_set(&self, id: FileSetId) -> Result<Option<FileSetRow>> {
        self.read(move |conn| read::records::file_set(conn, id)).await
    }

    async fn file_sets(&self) -> Result<Vec<FileSetRow>> {
        self.read(read::records::file_sets).await
    }

    async fn secrets(&self) -> Result<Vec<SecretRow>> {
        self.read(read::records::secrets).await
    }

    async fn secret(&self, name: &str) -> Result<Option<SecretRow>> {
        let name = name.to_owned();
        self.read(move |conn| read::records::secret(conn, &name)).await
    }

    async fn events(&self, seq: u64, limit: usize) -> Result<Vec<EventRow>> {
        self.read(move |conn| read::records::events(conn, seq, limit)).await
    }

    async fn acknowledged(&self, consumer: &str) -> Result<u64> {
        let consumer = consumer.to_owned();
        self.read(move |conn| read::records::acknowledged(conn, &consumer)).await
    }

    async fn packs(&self, after: Option<PackId>, limit: usize) -> Result<Vec<PackRow>> {
        self.read(move |conn| read::records::packs(conn, after, limit)).await
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseRow>> {
        let name = name.to_owned();
        self.read(move |conn| read::records::lease(conn, &name)).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.read(read::records::check).await
    }

    async fn setting(&self, key: &str) -> Result<Option<Bytes>> {
        let key = key.to_owned();
        self.read(move |conn| read::records::setting(conn, &key)).await
    }
}

#[cfg(test)]
mod tests;
