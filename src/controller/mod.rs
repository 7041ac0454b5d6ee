//! From closed commits to jobs, from jobs to datums, from datums to commits.
//!
//! The loop is level-triggered: whatever an event says, it looks at all jobs
//! that are not over and goes on with what it finds. State is in the catalog
//! alone; a server that was killed goes on where the catalog says it was, and
//! a datum recorded as finished is not run again. Jobs of one pipeline run one
//! after another, in the order they were made.

mod collect;
mod datum;
mod edits;
mod egress;
mod error;
pub mod executor;
mod finish;
mod history;
pub mod identity;
mod job;
mod leaves;
mod log_reader;
pub mod logs;
mod mount_points;
mod pipelines;
mod planning;
mod remains;
mod restart;
mod sweeps;
mod ticks;
mod views;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::{ControllerError, Result};
pub use history::DatumInfo;
pub use leaves::{match_at, root_of, scan};
pub use log_reader::LogQuery;
pub use pipelines::{CreatePipeline, DatumPreview};
pub use views::{InputViews, MountedViews, OpenViews, ViewSource};

use crate::catalog::{Catalog, Job, JobChange, JobQuery, JobRow, JobState, Op, Pipeline};
use crate::model::Clock;
use crate::repo::Repos;
use crate::tree::Nodes;
use executor::Executor;
use logs::Logs;
use mount_points::MountPoints;

/// How long a job rests after something that is not its fault went wrong.
const REST: Duration = Duration::from_secs(2);

/// The loop looks around this often even when nothing seems to happen.
const LOOK_AROUND: Duration = Duration::from_secs(30);

/// Where and how jobs run.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// A directory for scratch files and logs of running datums, this
    /// server's own.
    pub dir: PathBuf,
    /// What this server is called where it claims datums. A server that comes
    /// back under the same name takes its former claims over at once.
    pub worker: String,
    /// How many datums run at the same time on this server.
    pub max_workers: usize,
    /// How long a claim on a datum outlives its server.
    pub lease: Duration,
}

impl ControllerConfig {
    /// The defaults for a server whose files are in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            dir,
            worker: "server".to_owned(),
            max_workers: (4 * cores).max(16),
            lease: Duration::from_secs(30),
        }
    }
}

/// Runs pipelines. A cheap clone.
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

struct Inner {
    repos: Repos,
    nodes: Nodes,
    executor: Arc<dyn Executor>,
    views: Option<Arc<dyn InputViews>>,
    logs: Logs,
    mount_points: MountPoints,
    config: ControllerConfig,
    permits: Arc<Semaphore>,
    active: Mutex<HashMap<Pipeline, Active>>,
    processing: restart::Processing,
    changed: Notify,
    scratch: AtomicU64,
}

/// A job that runs now.
struct Active {
    job: Job,
    cancel: CancellationToken,
}

impl Controller {
    /// A controller that runs programs through `executor`. Without `views`
    /// every input is copied.
    #[must_use]
    pub fn new(
        repos: Repos,
        nodes: Nodes,
        executor: Arc<dyn Executor>,
        views: Option<Arc<dyn InputViews>>,
        config: ControllerConfig,
    ) -> Self {
        let logs = Logs::new(config.dir.join("logs"), Arc::clone(repos.clock()));
        let mount_points = MountPoints::new(config.dir.join("mount-points"));
        let permits = Arc::new(Semaphore::new(config.max_workers.max(1)));
        Self(Arc::new(Inner {
            repos,
            nodes,
            executor,
            views,
            logs,
            mount_points,
            config,
            permits,
            active: Mutex::default(),
            processing: restart::Processing::default(),
            changed: Notify::new(),
            scratch: AtomicU64::new(0),
        }))
    }

    fn repos(&self) -> &Repos {
        &self.0.repos
    }

    fn catalog(&self) -> &Arc<dyn Catalog> {
        self.0.repos.catalog()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.0.repos.clock()
    }

    fn nodes(&self) -> &Nodes {
        &self.0.nodes
    }

    fn executor(&self) -> &Arc<dyn Executor> {
        &self.0.executor
    }

    fn views(&self) -> Option<&Arc<dyn InputViews>> {
        self.0.views.as_ref()
    }

    fn config(&self) -> &ControllerConfig {
        &self.0.config
    }

    fn mount_points(&self) -> &MountPoints {
        &self.0.mount_points
    }

    /// What ends the programs of a job that runs here.
    fn cancel_of(&self, job: &Job) -> CancellationToken {
        let active = self.active();
        let running = active.get(&job.pipeline).filter(|active| active.job == *job);
        running.map_or_else(CancellationToken::new, |active| active.cancel.clone())
    }

    /// The logs of running datums.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// What `--executor` calls the way programs are run.
    #[must_use]
    pub fn executor_name(&self) -> &'static str {
        self.0.executor.name()
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Pipeline, Active>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn processing(&self) -> &restart::Processing {
        &self.0.processing
    }

    /// A directory of this server that nothing else uses; not made yet.
    fn scratch_dir(&self) -> PathBuf {
        let next = self.0.scratch.fetch_add(1, Ordering::Relaxed);
        self.config().dir.join("scratch").join(next.to_string())
    }

    fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.permits).try_acquire_owned().ok()
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        // It is never closed while the controller lives.
        Arc::clone(&self.0.permits).acquire_owned().await.map_err(|_| ControllerError::Cancelled)
    }

    /// Runs jobs until `shutdown`; then ends all programs and returns. What
    /// they were at runs again at the next start.
    ///
    /// # Errors
    /// When the server's own directory cannot be used.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<()> {
        self.clear_scratch().await?;
        let mut events = self.catalog().watch();
        let tasks = TaskTracker::new();
        let (ticking, until) = (self.clone(), shutdown.clone());
        tasks.spawn(async move { ticking.keep_ticking(&until).await });
        let (sweeping, until) = (self.clone(), shutdown.clone());
        tasks.spawn(async move { sweeping.keep_sweeping(&until).await });
        while !shutdown.is_cancelled() {
            events.borrow_and_update();
            let wait = match self.look(&tasks, &shutdown).await {
                Ok(()) => LOOK_AROUND,
                Err(error) => {
                    tracing::error!(%error, "jobs cannot be looked at; trying again");
                    REST
                }
            };
            tokio::select! {
                changed = events.changed() => if changed.is_err() { break },
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
        for active in self.active().values() {
            active.cancel.cancel();
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    /// Removes what a former server of this directory left behind.
    async fn clear_scratch(&self) -> Result<()> {
        let dir = self.config().dir.join("scratch");
        let left = dir.clone();
        // Nothing of it is needed, so whether it is gone is seen by the making.
        let _ = tokio::task::spawn_blocking(move || datum::remove_scratch(&left)).await;
        tokio::fs::create_dir_all(&dir).await.map_err(ControllerError::io(dir))?;
        self.mount_points().clear_left();
        self.clear_logs().await
    }

    /// Starts what can be started, and stops what is over.
    async fn look(&self, tasks: &TaskTracker, shutdown: &CancellationToken) -> Result<()> {
        let states = JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect();
        let query = JobQuery { states, ..JobQuery::default() };
        let mut rows = self.catalog().jobs(&query).await?;
        rows.sort_by_key(|row| row.seq);
        let live: HashSet<&Job> = rows.iter().map(|row| &row.job).collect();
        for active in self.active().values().filter(|active| !live.contains(&active.job)) {
            active.cancel.cancel();
        }
        self.pause_stopped().await?;
        let mut first = HashSet::new();
        for row in &rows {
            let pipeline = &row.job.pipeline;
            if !first.insert(pipeline) || self.active().contains_key(pipeline) {
                continue;
            }
            if self.is_ready(row).await? {
                self.start(row.clone(), tasks, shutdown);
            }
        }
        Ok(())
    }

    /// Ends the programs of pipelines that were stopped. Their jobs go on with
    /// what they have not done when the pipeline is started again.
    async fn pause_stopped(&self) -> Result<()> {
        let running: Vec<Pipeline> = self.active().keys().cloned().collect();
        for pipeline in running {
            let stopped = self.catalog().pipeline(&pipeline).await?.is_some_and(|row| row.stopped);
            if let Some(active) = self.active().get(&pipeline).filter(|_| stopped) {
                active.cancel.cancel();
            }
        }
        Ok(())
    }

    /// Gives back the claims of a former server of this name.
    async fn take_over(&self, job: &Job) -> Result<()> {
        let (job, worker) = (job.clone(), self.config().worker.clone());
        Ok(self.catalog().apply(vec![Op::ReleaseDatums { job, worker }]).await?)
    }

    /// Whether all inputs of a job are finished and its pipeline is not
    /// stopped. A job whose input failed is ended here.
    async fn is_ready(&self, row: &JobRow) -> Result<bool> {
        let Some(pipeline) = self.catalog().pipeline(&row.job.pipeline).await? else {
            return Ok(false);
        };
        if row.version < pipeline.version {
            // Its update did not get to it.
            self.end_replaced(&row.job, pipeline.version).await?;
            return Ok(false);
        }
        if pipeline.stopped {
            return Ok(false);
        }
        for input in &row.inputs {
            let commit = input.branch.repo.commit(input.commit);
            let ended = match self.catalog().commit(&commit).await? {
                Some(found) if found.is_open() => return Ok(false),
                Some(found) => found.error.map(|_| "failed"),
                None => Some("was deleted"),
            };
            if let Some(what) = ended {
                let reason = format!("inputs {} {what}", input.branch.repo);
                self.end_job(&row.job, JobState::Unrunnable, reason).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets users see why a job does not go on.
    async fn say_why(&self, job: &Job, error: &ControllerError) {
        let reason = Some(format!("trying again: {error}"));
        let change = JobChange { reason, ..JobChange::default() };
        let expected = JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect();
        let op = Op::UpdateJob { job: job.clone(), expected, change };
        if let Err(error) = self.catalog().apply(vec![op]).await {
            tracing::debug!(%job, %error, "the reason is not recorded");
        }
    }

    fn start(&self, row: JobRow, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let job = row.job.clone();
        let cancel = shutdown.child_token();
        let active = Active { job: job.clone(), cancel: cancel.clone() };
        self.active().insert(job.pipeline.clone(), active);
        let controller = self.clone();
        tasks.spawn(async move {
            match controller.run_job(row, &cancel).await {
                Ok(()) => {}
                Err(ControllerError::Cancelled) if cancel.is_cancelled() => {}
                Err(error) => {
                    tracing::error!(%job, %error, "the job rests");
                    controller.say_why(&job, &error).await;
                    tokio::select! {
                        () = tokio::time::sleep(REST) => {}
                        () = cancel.cancelled() => {}
                    }
                }
            }
            controller.discard_ended(&job).await;
            controller.active().remove(&job.pipeline);
            controller.0.changed.notify_one();
        });
    }
}
