//! Semantics on a real catalog in a directory of its own; no sockets.

mod dag;
mod history;
mod lifecycle;
mod publishing;
mod refs;
mod together;
mod transactions;
mod triggers;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::catalog::{CommitRow, Pipeline, StoredRoot};
use crate::chunk::BlobConfig;
use crate::model::{Branch, Commit, ProjectName, Repo, RepoKind, SystemClock, Timestamp};

/// A clock that goes on by a second whenever somebody looks.
pub struct SteppingClock(AtomicI64);

impl SteppingClock {
    pub fn forward(&self, by: std::time::Duration) {
        self.0.fetch_add(i64::try_from(by.as_secs()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for SteppingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_parts(self.0.fetch_add(1, Ordering::Relaxed), 0)
    }

    fn random(&self) -> [u8; 16] {
        SystemClock.random()
    }
}

/// Use cases over a fresh catalog and a store in memory.
pub struct Fixture {
    pub repos: Repos,
    pub stepping: Arc<SteppingClock>,
    _dir: TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = Repos;

    fn deref(&self) -> &Repos {
        &self.repos
    }
}

pub async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let stepping = Arc::new(SteppingClock(AtomicI64::new(1000)));
    let clock: Arc<dyn Clock> = Arc::clone(&stepping) as Arc<dyn Clock>;
    let url = format!("sqlite://{}", dir.path().join("catalog.db").display());
    let catalog = crate::catalog::open(&url, Arc::clone(&clock)).await.unwrap();
    let store = Store::memory();
    let blobs = Blobs::new(store, Arc::clone(&clock), BlobConfig::default());
    Fixture { repos: Repos::new(catalog, blobs, clock), stepping, _dir: dir }
}

pub fn repo(name: &str) -> Repo {
    Repo::user(ProjectName::default_project(), name.parse().unwrap())
}

/// `repo@branch`.
pub fn branch(text: &str) -> Branch {
    let (name, branch) = text.split_once('@').unwrap();
    let (name, kind) = match name.split_once('.') {
        Some((name, "spec")) => (name, RepoKind::Spec),
        Some((name, "meta")) => (name, RepoKind::Meta),
        _ => (name, RepoKind::User),
    };
    Repo { kind, ..repo(name) }.branch(branch.parse().unwrap())
}

pub fn pipeline(name: &str) -> Pipeline {
    Pipeline { project: ProjectName::default_project(), name: name.parse().unwrap() }
}

/// A tree that only its size tells from others.
pub fn root(bytes: u64) -> StoredRoot {
    StoredRoot { encoded: Bytes::from(format!("tree of {bytes}")), files: 1, bytes }
}

impl Fixture {
    pub async fn repo(&self, name: &str) -> Repo {
        self.create_repo(&repo(name), "", false).await.unwrap();
        repo(name)
    }

    pub async fn start(&self, at: &str) -> CommitRow {
        self.try_start(at).await.unwrap()
    }

    pub async fn try_start(&self, at: &str) -> Result<CommitRow> {
        let Branch { repo, name } = branch(at);
        let (description, author) = (String::new(), String::new());
        let branch = Some(name);
        let spec = StartCommit { repo, branch, parent: None, description, author, id: None };
        self.start_commit(&spec).await
    }

    pub async fn finish(&self, commit: &Commit, bytes: u64) -> CommitRow {
        let spec = FinishCommit { root: Some(root(bytes)), ..FinishCommit::default() };
        self.finish_commit(commit, &spec).await.unwrap()
    }

    /// A one-shot commit on top of whatever is there.
    pub async fn put(&self, at: &str, bytes: u64) -> CommitRow {
        self.try_put(at, bytes).await.unwrap()
    }

    pub async fn try_put(&self, at: &str, bytes: u64) -> Result<CommitRow> {
        let branch = branch(at);
        let row = self.catalog.branch(&branch).await?;
        let spec = OneShot {
            parent: row.and_then(|row| row.head),
            root: root(bytes),
            description: String::new(),
            author: String::new(),
        };
        self.commit_once(&branch, &spec).await
    }

    pub fn pipeline_spec(name: &str, inputs: &[&str], replaces: Option<u64>) -> PutPipeline {
        PutPipeline {
            pipeline: pipeline(name),
            replaces,
            spec: "{}".into(),
            user_spec: "{}".into(),
            spec_root: root(2),
            salt: "salt".into(),
            inputs: inputs.iter().map(|text| branch(text)).collect(),
            triggers: Default::default(),
            own_repos: Vec::new(),
            output_branch: "master".parse().unwrap(),
            description: String::new(),
        }
    }

    pub async fn pipeline(&self, name: &str, inputs: &[&str]) {
        self.put_pipeline(&Self::pipeline_spec(name, inputs, None)).await.unwrap();
    }

    /// Runs every job whose inputs have finished, until none is left.
    pub async fn run_jobs(&self) {
        use crate::catalog::{JobQuery, JobState};
        loop {
            let states = vec![JobState::Created];
            let query = JobQuery { states, ..JobQuery::default() };
            let mut jobs = self.catalog.jobs(&query).await.unwrap();
            jobs.reverse();
            let Some(job) = jobs.first() else { return };
            for input in &job.inputs {
                let commit = input.branch.repo.commit(input.commit);
                assert!(!self.inspect_commit(&commit).await.unwrap().is_open(), "{commit}");
            }
            self.end_job(&job.job, JobState::Success).await;
        }
    }

    pub async fn end_job(&self, job: &crate::catalog::Job, state: crate::catalog::JobState) {
        use crate::catalog::{JobChange, JobState};
        let good = state == JobState::Success;
        let end = FinishJob {
            change: JobChange { state: Some(state), ..JobChange::default() },
            output: good.then(|| root(10)),
            meta: good.then(|| root(11)),
            also: Vec::new(),
        };
        self.finish_job(job, &end).await.unwrap();
    }

    pub async fn head(&self, at: &str) -> Option<CommitRow> {
        let branch = branch(at);
        let head = self.catalog.branch(&branch).await.unwrap()?.head?;
        Some(self.inspect_commit(&branch.repo.commit(head)).await.unwrap())
    }

    pub async fn commit_count(&self, repo: &Repo) -> usize {
        self.list_commits(repo, &ListCommits::default()).await.unwrap().len()
    }
}
