//! What the clock sets off: ticks of cron inputs, and branches that a schedule
//! moves.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Controller;
use super::error::{ControllerError, Result};
use super::planning::spec_of_version;
use crate::catalog::{CommitRow, Pipeline, PipelineRow};
use crate::model::{Branch, BranchName, Ref, Timestamp, TreePath};
use crate::pipeline::cron::{Schedule, rfc3339};
use crate::pipeline::spec::{CronInput, Leaf};
use crate::repo::{ChangeNote, NewFile};

/// How long a new schedule waits at most to be noticed.
const NOTICE: Duration = Duration::from_secs(5);

impl Controller {
    /// Ticks until `shutdown` whatever is due.
    pub(super) async fn keep_ticking(&self, shutdown: &CancellationToken) {
        let mut moved = HashMap::new();
        loop {
            let mut wait = NOTICE;
            for due in [self.tick_due().await, self.move_due(&mut moved).await] {
                match due {
                    Ok(next) => wait = wait.min(next),
                    Err(error) => tracing::error!(%error, "schedules rest; trying again"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Ticks what is due; how long nothing else is.
    async fn tick_due(&self) -> Result<Duration> {
        let mut wait = NOTICE;
        for row in self.catalog().pipelines(None).await? {
            if row.stopped {
                continue;
            }
            match self.tick_of(&row).await {
                Ok(next) => wait = wait.min(next),
                // The others tick all the same.
                Err(error) => {
                    tracing::error!(pipeline = %row.pipeline, %error, "a cron input cannot tick");
                }
            }
        }
        Ok(wait)
    }

    /// Ticks what is due of a pipeline; how long nothing else is.
    async fn tick_of(&self, row: &PipelineRow) -> Result<Duration> {
        let (mut wait, mut failed) = (NOTICE, None);
        for cron in crons(row)? {
            match self.tick_on_time(&cron).await {
                Ok(next) => wait = wait.min(next),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(wait),
        }
    }

    /// Ticks when it is time; how long it is not the next time.
    async fn tick_on_time(&self, cron: &CronInput) -> Result<Duration> {
        // What does not parse was accepted by another version: it never ticks.
        let Ok(schedule) = cron.spec.parse::<Schedule>() else { return Ok(NOTICE) };
        let start = self.start_of(cron).await?;
        let branch = cron.repo.branch(BranchName::master());
        let last = self.repos().newest_finished(&branch).await?.map_or(start, |row| row.started);
        let now = self.clock().now();
        if let Some(due) = schedule.due_since(start, last, now) {
            self.tick(cron, due).await?;
        }
        let next = schedule.next_since(start, now);
        Ok(next.map_or(NOTICE, |next| until(self.clock().now(), next)))
    }

    /// Moves the branches whose time has come; how long none else is to move.
    ///
    /// `moved` has the last tick of each, so that a head that somebody put
    /// elsewhere stays there until the next. A new server looks at the last
    /// tick once more: it may have come while there was none.
    async fn move_due(&self, moved: &mut HashMap<Branch, Timestamp>) -> Result<Duration> {
        let rows = self.repos().scheduled_branches().await?;
        moved.retain(|branch, _| rows.iter().any(|row| row.branch == *branch));
        let mut wait = NOTICE;
        for row in rows {
            let schedule = row.trigger.as_ref().map(|trigger| trigger.cron.parse::<Schedule>());
            let Some(Ok(schedule)) = schedule else { continue };
            let mut since = moved.get(&row.branch).copied().unwrap_or(row.created);
            let now = self.clock().now();
            if let Some(tick) = schedule.due(since, now) {
                if let Err(error) = self.repos().move_by_schedule(&row.branch, tick).await {
                    tracing::error!(branch = %row.branch, %error, "a branch cannot be moved");
                    continue;
                }
                moved.insert(row.branch, tick);
                since = tick;
            }
            wait = wait.min(schedule.next_after(since).map_or(NOTICE, |next| until(now, next)));
        }
        Ok(wait)
    }

    /// When a schedule started: its times are counted from there, not from
    /// the last tick, which may have been late.
    async fn start_of(&self, cron: &CronInput) -> Result<Timestamp> {
        let start = cron.start.parse::<jiff::Timestamp>().ok();
        match start.and_then(|start| i64::try_from(start.as_nanosecond()).ok()) {
            Some(start) => Ok(Timestamp::from_nanos(start)),
            None => Ok(self.repos().inspect_repo(&cron.repo).await?.row.created),
        }
    }

    /// Commits a file named after the time of the tick.
    async fn tick(&self, cron: &CronInput, at: Timestamp) -> Result<CommitRow> {
        let master = Ref::branch(BranchName::master());
        let note = ChangeNote::default();
        let mut changes = self.repos().change_files(&cron.repo, &master, note).await?;
        if cron.overwrite {
            changes.delete(&TreePath::root()).await?;
        }
        let path = rfc3339(at)
            .parse()
            .map_err(|error: crate::model::InvalidPath| ControllerError::Job(error.to_string()))?;
        changes.create(&path, NewFile::default()).await?;
        Ok(changes.finish().await?)
    }

    /// Ticks every cron input of a pipeline now: `run cron`.
    ///
    /// # Errors
    /// When there is no such pipeline or it has no cron input.
    pub async fn run_cron(&self, pipeline: &Pipeline) -> Result<Vec<CommitRow>> {
        let row = self.repos().inspect_pipeline(pipeline).await?;
        let mut ticks = Vec::new();
        for cron in crons(&row)? {
            ticks.push(self.tick(&cron, self.clock().now()).await?);
        }
        match ticks.is_empty() {
            true => Err(ControllerError::NotFound {
                kind: "cron input of pipeline",
                name: pipeline.to_string(),
            }),
            false => Ok(ticks),
        }
    }
}

/// How long from one moment to another; nothing when it is past.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let nanos = then.as_nanos().saturating_sub(now.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// The cron inputs of a pipeline.
pub(super) fn crons(row: &PipelineRow) -> Result<Vec<CronInput>> {
    // Most pipelines have none, and then the spec need not be read.
    if !row.spec.contains("\"cron\"") {
        return Ok(Vec::new());
    }
    let spec = spec_of_version(row)?;
    let cron = |leaf: Leaf<'_>| match leaf {
        Leaf::Cron(cron) => Some(cron.clone()),
        Leaf::Pfs(_) => None,
    };
    Ok(spec.input.leaves().into_iter().filter_map(cron).collect())
}
