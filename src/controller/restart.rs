//! Starting datums of a running job afresh.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Controller;
use super::error::{ControllerError, Result};
use crate::catalog::{DatumState as RowState, Job, JobState};
use crate::model::DatumId;
use crate::pipeline::record::{DatumRecord, InputRecord};
use crate::repo::RepoError;

/// How many datums are looked at together.
const PAGE: usize = 1000;

/// The datums that this server is processing, each with what interrupts it.
#[derive(Default)]
pub(super) struct Processing(Mutex<HashMap<(Job, DatumId), Interruptible>>);

struct Interruptible {
    inputs: Vec<InputRecord>,
    interrupt: CancellationToken,
}

/// A datum that can be interrupted, for as long as this lives.
pub(super) struct Underway {
    controller: Controller,
    key: (Job, DatumId),
}

impl Processing {
    fn entries(&self) -> MutexGuard<'_, HashMap<(Job, DatumId), Interruptible>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interrupts the datums of a job that have all these inputs; how many.
    fn interrupt(&self, job: &Job, filters: &[String]) -> usize {
        let entries = self.entries();
        let of_job = entries.iter().filter(|((of, _), _)| of == job);
        let found = of_job.filter(|(_, one)| have(&one.inputs, filters));
        found.map(|(_, one)| one.interrupt.cancel()).count()
    }
}

impl Underway {
    /// Lets a datum be interrupted by the token answered with it.
    pub fn new(
        controller: &Controller,
        job: &Job,
        record: &DatumRecord,
        cancel: &CancellationToken,
    ) -> (Self, CancellationToken) {
        let underway = Self { controller: controller.clone(), key: (job.clone(), record.id) };
        let interrupt = cancel.child_token();
        let one = Interruptible { inputs: record.inputs.clone(), interrupt: interrupt.clone() };
        controller.processing().entries().insert(underway.key.clone(), one);
        (underway, interrupt)
    }

    /// Ends the time in which the datum can be interrupted; whether it had
    /// not been.
    pub fn leave(self) -> bool {
        let one = self.controller.processing().entries().remove(&self.key);
        one.is_none_or(|one| !one.interrupt.is_cancelled())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.controller.processing().entries().remove(&self.key);
    }
}

/// Whether every filter names one of the inputs.
fn have(inputs: &[InputRecord], filters: &[String]) -> bool {
    filters.iter().all(|filter| inputs.iter().any(|input| input.is_named(filter)))
}

impl Controller {
    /// Interrupts the datums of a running job whose inputs match all filters,
    /// paths or hashes, and processes them again; the try that was
    /// interrupted does not count.
    ///
    /// # Errors
    /// When the job does not run, and when no datum that is still to be
    /// processed matches.
    pub async fn restart_datums(&self, job: &Job, filters: &[String]) -> Result<()> {
        let row = self.repos().inspect_job(job).await?;
        if row.state != JobState::Running {
            return Err(refused(
                format!(
                    "job {job} is {}: only datums of a running job can be restarted",
                    row.state.as_str()
                ),
                "update the pipeline with --reprocess to process everything again",
            ));
        }
        if self.processing().interrupt(job, filters) > 0 {
            return Ok(());
        }
        match self.furthest_from_end(job, filters).await? {
            // It starts afresh as it is.
            Some(RowState::Waiting | RowState::Claimed) => Ok(()),
            Some(RowState::Success | RowState::Failed | RowState::Recovered) => Err(refused(
                format!("the datum of job {job} with {} has been processed", filters.join(", ")),
                "only a datum that is being processed can be restarted",
            )),
            None => {
                let name = format!("of job {job} with {}", filters.join(", "));
                Err(ControllerError::NotFound { kind: "datum", name })
            }
        }
    }

    /// The state of a datum that matches: of one still to be processed, if
    /// there is one.
    async fn furthest_from_end(&self, job: &Job, filters: &[String]) -> Result<Option<RowState>> {
        let (mut from, mut over) = (0, None);
        loop {
            let page = self.catalog().datums(job, None, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(over) };
            from = last.index + 1;
            for row in page {
                let record: DatumRecord = serde_json::from_slice(&row.payload)
                    .map_err(|error| ControllerError::Job(format!("datum {}: {error}", row.id)))?;
                if have(&record.inputs, filters) {
                    match row.state {
                        RowState::Waiting | RowState::Claimed => return Ok(Some(row.state)),
                        RowState::Success | RowState::Failed | RowState::Recovered => {
                            over = Some(row.state);
                        }
                    }
                }
            }
        }
    }
}

fn refused(what: String, remedy: &'static str) -> ControllerError {
    RepoError::Refused { what, remedy: Some(remedy.into()) }.into()
}
