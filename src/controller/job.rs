//! One job from its plan to its last datum.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Controller;
use super::datum::{DatumOutcome, Work};
use super::error::{ControllerError, Result};
use super::planning::JobContext;
use crate::catalog::{
    CatalogError, DatumRow, DatumState as RowState, JobChange, JobCounters, JobRow, JobState, Op,
};
use crate::chunk::PackWriter;
use crate::model::Timestamp;
use crate::pipeline::job::{DatumState, predecessors, progress};
use crate::pipeline::plan::Plan;
use crate::pipeline::record::DatumRecord;

/// How many datum rows go into one batch.
const ROWS: usize = 1000;

/// Finished datums wait for one another this long, to become durable
/// together.
const LINGER: Duration = Duration::from_millis(40);

/// No more than this many wait.
const LINGER_MOST: usize = 64;

impl Controller {
    /// Changes a job that may get into `next`.
    pub(super) async fn change_job(
        &self,
        job: &crate::catalog::Job,
        next: JobState,
        change: JobChange,
    ) -> Result<()> {
        let op = Op::UpdateJob { job: job.clone(), expected: predecessors(next), change };
        match self.catalog().apply(vec![op]).await {
            Ok(()) => Ok(()),
            // Only somebody who stopped it can have been before us.
            Err(CatalogError::Conflict { .. }) => Err(ControllerError::Cancelled),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a job whose inputs are finished.
    ///
    /// # Errors
    /// When the job ought to be tried again later; everything that is the
    /// job's own fault ends the job instead.
    pub(super) async fn run_job(&self, row: JobRow, cancel: &CancellationToken) -> Result<()> {
        let job = row.job.clone();
        match self.try_job(row, cancel).await {
            Ok(()) => Ok(()),
            Err(error) => match error.verdict() {
                Some(reason) => self.end_job(&job, JobState::Failure, reason).await,
                None => Err(error),
            },
        }
    }

    async fn try_job(&self, row: JobRow, cancel: &CancellationToken) -> Result<()> {
        let resumed = row.state != JobState::Created;
        let running = row.state == JobState::Running;
        let mut context = self.context(row).boxed().await?;
        let plan = self.plan(&mut context).boxed().await?;
        let now = self.clock().now();
        let started = context.row.started.unwrap_or(now);
        let change = JobChange {
            state: Some(JobState::Starting).filter(|_| !running),
            started: Some(started),
            base: context.base.as_ref().map(|base| base.id),
            restarted: resumed,
            reason: Some(String::new()),
            ..JobChange::default()
        };
        context.row.started = Some(started);
        let context = Arc::new(context);
        if resumed {
            // Nobody runs datums of this job under this server's name now.
            self.take_over(&context.row.job).await?;
        }
        self.insert_datums(&context, &plan, change, running).await?;
        let deadline = context.spec.job_timeout.map(|limit| after(started, limit));
        self.run_datums(&context, cancel, deadline).boxed().await?;
        self.finish(&context, &plan).boxed().await
    }

    /// Makes rows of the datums to run, and then the job running. The same plan
    /// gives the same rows: what a killed server left half done is completed.
    async fn insert_datums(
        &self,
        job: &JobContext,
        plan: &Plan,
        change: JobChange,
        running: bool,
    ) -> Result<()> {
        let key = &job.row.job;
        let expected = predecessors(JobState::Starting);
        let state = |state| (!running).then_some(state);
        for (page, datums) in plan.process.chunks(ROWS).enumerate() {
            let rows = datums.iter().enumerate().map(|(at, planned)| {
                let record = DatumRecord::planned(key.id, planned, &job.origins, &job.commits);
                self.datum_row((page * ROWS + at) as u64, &record)
            });
            let datums = rows.collect::<Result<_>>()?;
            // No rows for a job that was stopped meanwhile.
            let change = JobChange { state: state(JobState::Starting), ..JobChange::default() };
            let job = key.clone();
            self.catalog()
                .apply(vec![
                    Op::UpdateJob { job: job.clone(), expected: expected.clone(), change },
                    Op::CreateDatums { job, datums },
                ])
                .await?;
        }
        let counters =
            JobCounters { total: plan.total, skipped: plan.skipped(), ..JobCounters::default() };
        let counters = (!running).then_some(counters);
        let change = JobChange { state: state(JobState::Running), counters, ..change };
        let op = Op::UpdateJob { job: key.clone(), expected, change };
        Ok(self.catalog().apply(vec![op]).await?)
    }

    fn datum_row(&self, index: u64, record: &DatumRecord) -> Result<DatumRow> {
        let payload = serde_json::to_vec(record)
            .map_err(|error| ControllerError::Job(format!("a datum's record: {error}")))?;
        Ok(DatumRow {
            index,
            id: record.id,
            state: RowState::Waiting,
            tries: 0,
            worker: String::new(),
            lease_until: Timestamp::default(),
            payload: payload.into(),
            outcome: Bytes::new(),
        })
    }

    /// Runs every datum of the job that is still to be run.
    async fn run_datums(
        &self,
        job: &Arc<JobContext>,
        cancel: &CancellationToken,
        deadline: Option<Timestamp>,
    ) -> Result<()> {
        let limit = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(until(self.clock().now(), deadline)).await,
                None => std::future::pending().await,
            }
        };
        let stop = cancel.child_token();
        let workers = usize::try_from(job.spec.parallelism).unwrap_or(usize::MAX);
        let crew = Crew {
            controller: self.clone(),
            job: Arc::clone(job),
            writer: self.repos().blobs().writer(),
            cancel: stop.clone(),
            workers: workers.min(self.config().max_workers),
            held: HashSet::new(),
            waiting: VecDeque::new(),
            permit: None,
            running: JoinSet::new(),
            done: Vec::new(),
            failed: false,
        };
        let mut work = std::pin::pin!(crew.work());
        let why = tokio::select! {
            ended = &mut work => return ended,
            () = limit => ControllerError::Job("the job ran longer than job_timeout".to_owned()),
            () = cancel.cancelled() => ControllerError::Cancelled,
        };
        stop.cancel();
        // Programs are ended and what had finished is recorded.
        match work.await {
            Ok(()) | Err(ControllerError::Cancelled) => Err(why),
            Err(error) => Err(error),
        }
    }
}

/// The workers of a job.
struct Crew {
    controller: Controller,
    job: Arc<JobContext>,
    writer: PackWriter,
    cancel: CancellationToken,
    workers: usize,
    /// The datums that were handed to this crew: waiting, running or done.
    held: HashSet<u64>,
    waiting: VecDeque<DatumRow>,
    /// Leave to run one more datum on this server.
    permit: Option<OwnedSemaphorePermit>,
    running: JoinSet<(u64, Result<DatumOutcome>)>,
    done: Vec<(u64, DatumOutcome)>,
    failed: bool,
}

impl Crew {
    async fn work(mut self) -> Result<()> {
        let ended = self.drive().await;
        if ended.is_err() {
            self.wind_down().await;
        }
        ended
    }

    async fn drive(&mut self) -> Result<()> {
        let config = self.controller.config().clone();
        let mut renew = tokio::time::interval(config.lease / 3);
        let mut linger = std::pin::pin!(tokio::time::sleep(LINGER));
        loop {
            self.fill().await?;
            if self.running.is_empty() && (self.failed || self.waiting.is_empty()) {
                self.record().await?;
                if self.failed || !self.claim(self.workers).await? {
                    return Ok(());
                }
                continue;
            }
            let controller = self.controller.clone();
            tokio::select! {
                permit = controller.permit(), if self.running.is_empty() => {
                    self.permit = Some(permit?);
                }
                ended = self.running.join_next(), if !self.running.is_empty() => {
                    if self.done.is_empty() {
                        linger.as_mut().reset(tokio::time::Instant::now() + LINGER);
                    }
                    self.ended(ended)?;
                    if self.done.len() >= LINGER_MOST {
                        self.record().await?;
                    }
                }
                () = &mut linger, if !self.done.is_empty() => self.record().await?,
                _ = renew.tick() => self.renew().await?,
                () = self.cancel.cancelled() => return Err(ControllerError::Cancelled),
            }
        }
    }

    /// Ends the programs, and records those that had finished before.
    async fn wind_down(&mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.running.join_next().await {
            if let Ok((index, Ok(outcome))) = ended {
                self.done.push((index, outcome));
            }
        }
        if let Err(error) = self.record().await {
            // They run again, unless the job is over.
            tracing::debug!(%error, "datums that finished last are not recorded");
        }
    }

    /// Starts datums until every worker has one, or the server is busy.
    async fn fill(&mut self) -> Result<()> {
        while self.running.len() < self.workers && !self.failed {
            if self.waiting.is_empty() && !self.claim(self.workers * 2).await? {
                return Ok(());
            }
            let Some(permit) = self.permit.take().or_else(|| self.controller.try_permit()) else {
                return Ok(());
            };
            let Some(row) = self.waiting.pop_front() else { return Ok(()) };
            let record = serde_json::from_slice(&row.payload).map_err(|error| {
                ControllerError::Job(format!("the plan of datum {}: {error}", row.id))
            })?;
            let work = Work {
                controller: self.controller.clone(),
                job: Arc::clone(&self.job),
                record,
                writer: self.writer.clone(),
                cancel: self.cancel.clone(),
                interrupt: self.cancel.clone(),
            };
            self.running.spawn(async move {
                let outcome = work.run().boxed().await;
                drop(permit);
                (row.index, outcome)
            });
        }
        Ok(())
    }

    /// Claims datums; whether there were any.
    async fn claim(&mut self, limit: usize) -> Result<bool> {
        let config = self.controller.config();
        let now = self.controller.clock().now();
        let until = after(now, config.lease);
        let catalog = self.controller.catalog();
        let rows =
            catalog.claim_datums(&self.job.row.job, &config.worker, now, until, limit).await?;
        // What this crew has is not handed out twice, even when its lease
        // lapsed while the machine slept; claiming renewed it.
        self.waiting.extend(rows.into_iter().filter(|row| self.held.insert(row.index)));
        Ok(!self.waiting.is_empty())
    }

    fn ended(
        &mut self,
        ended: Option<Result<(u64, Result<DatumOutcome>), tokio::task::JoinError>>,
    ) -> Result<()> {
        match ended {
            None => Ok(()),
            Some(Ok((index, outcome))) => {
                let outcome = outcome?;
                self.failed |= outcome.record.state == DatumState::Failed;
                self.done.push((index, outcome));
                Ok(())
            }
            Some(Err(error)) => Err(ControllerError::Job(format!("a worker broke down: {error}"))),
        }
    }

    /// Makes finished datums durable, then says that they are finished.
    async fn record(&mut self) -> Result<()> {
        if self.done.is_empty() {
            return Ok(());
        }
        self.writer.flush().await?;
        let done = std::mem::take(&mut self.done);
        let batches: Vec<_> = done.iter().map(|one| self.completed(one)).collect::<Result<_>>()?;
        let (ops, deltas): (Vec<Op>, Vec<JobCounters>) = batches.iter().cloned().unzip();
        match self.complete(ops, &deltas).await {
            Err(CatalogError::Conflict { .. }) => {}
            outcome => return Ok(outcome?),
        }
        // One of them was given to somebody else, or the job was ended.
        let mut recorded = 0;
        for (op, delta) in batches {
            match self.complete(vec![op], &[delta]).await {
                Ok(()) => recorded += 1,
                Err(CatalogError::Conflict { what }) => tracing::info!(what, "a datum is lost"),
                Err(error) => return Err(error.into()),
            }
        }
        if recorded == 0 { Err(ControllerError::Cancelled) } else { Ok(()) }
    }

    /// How a finished datum is recorded, and what it adds to the counters.
    fn completed(&self, (index, outcome): &(u64, DatumOutcome)) -> Result<(Op, JobCounters)> {
        let record = &outcome.record;
        let text = serde_json::to_vec(outcome)
            .map_err(|error| ControllerError::Job(format!("the outcome of a datum: {error}")))?;
        let op = Op::CompleteDatum {
            job: self.job.row.job.clone(),
            index: *index,
            worker: self.controller.config().worker.clone(),
            state: row_state(record.state),
            outcome: text.into(),
        };
        Ok((op, progress(record.state, &record.stats)))
    }

    async fn complete(&self, mut ops: Vec<Op>, deltas: &[JobCounters]) -> Result<(), CatalogError> {
        let mut delta = JobCounters::default();
        deltas.iter().for_each(|more| add(&mut delta, more));
        ops.push(Op::AddJobProgress { job: self.job.row.job.clone(), delta });
        self.controller.catalog().apply(ops).await
    }

    async fn renew(&self) -> Result<()> {
        let config = self.controller.config();
        let until = after(self.controller.clock().now(), config.lease);
        let job = self.job.row.job.clone();
        let op = Op::RenewDatums { job, worker: config.worker.clone(), until };
        Ok(self.controller.catalog().apply(vec![op]).await?)
    }
}

fn row_state(state: DatumState) -> RowState {
    match state {
        DatumState::Starting => RowState::Waiting,
        DatumState::Skipped | DatumState::Success => RowState::Success,
        DatumState::Failed => RowState::Failed,
        DatumState::Recovered => RowState::Recovered,
    }
}

pub(super) fn add(sum: &mut JobCounters, more: &JobCounters) {
    sum.total += more.total;
    sum.processed += more.processed;
    sum.skipped += more.skipped;
    sum.failed += more.failed;
    sum.recovered += more.recovered;
    sum.downloaded += more.downloaded;
    sum.uploaded += more.uploaded;
    sum.download_nanos += more.download_nanos;
    sum.process_nanos += more.process_nanos;
    sum.upload_nanos += more.upload_nanos;
}

/// A moment later.
fn after(from: Timestamp, duration: Duration) -> Timestamp {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(from.as_nanos().saturating_add(nanos))
}

/// How long from one moment to another; nothing when it is past.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let nanos = then.as_nanos().saturating_sub(now.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
