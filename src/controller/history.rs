//! Looking back: the datums of a job.

use std::collections::HashSet;

use async_stream::try_stream;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::Controller;
use super::datum::decode_outcome;
use super::error::{ControllerError, Result};
use super::leaves::root_of;
use super::planning::meta_of;
use crate::catalog::{DatumState as RowState, Job, JobRow};
use crate::model::{DatumId, TreePath};
use crate::pipeline::job::DatumState;
use crate::pipeline::record::DatumRecord;
use crate::tree::{Root, Tree};

/// How many datums are looked at together.
const PAGE: usize = 500;

/// A datum of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumInfo {
    /// How it stands in this job.
    pub state: DatumState,
    /// Its record; of a skipped datum, that of the job that ran it.
    pub record: DatumRecord,
}

impl Controller {
    /// The datums of a job: those that ran or are to run, then those skipped.
    #[must_use]
    pub fn list_datums(&self, job: &Job) -> BoxStream<'static, Result<DatumInfo>> {
        let (controller, job) = (self.clone(), job.clone());
        Box::pin(try_stream! {
            let row = controller.repos().inspect_job(&job).await?;
            let mut seen = HashSet::new();
            let mut from = 0;
            while !row.state.is_terminal() {
                let page = controller.catalog().datums(&job, None, from, PAGE).await?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                for datum in &page {
                    let info = of_row(datum)?;
                    seen.insert(info.record.id);
                    yield info;
                }
            }
            let table = controller.datum_table(&row).await?;
            let mut records = controller.records(&table);
            while let Some(record) = records.next().await {
                let record = record?;
                if !seen.contains(&record.id) {
                    yield in_job(&job, record);
                }
            }
        })
    }

    /// One datum of a job.
    pub async fn inspect_datum(&self, job: &Job, id: DatumId) -> Result<DatumInfo> {
        let row = self.repos().inspect_job(job).await?;
        if let Some(datum) = self.catalog().datum(job, &id).await? {
            return of_row(&datum);
        }
        let table = self.datum_table(&row).await?;
        match self.record_in(&table, id).await? {
            Some(record) => Ok(in_job(job, record)),
            None => Err(ControllerError::NotFound { kind: "datum", name: id.to_string() }),
        }
    }

    /// The datum table of a job; while it runs, that of its base.
    pub(super) async fn datum_table(&self, row: &JobRow) -> Result<Root> {
        let output = match row.state.is_terminal() {
            true => Some(row.output.clone()),
            false => row.base.map(|base| row.output.repo.commit(base)),
        };
        let Some(output) = output else { return Ok(Root::empty()) };
        match self.catalog().commit(&meta_of(&output)).await? {
            Some(meta) => root_of(&meta.root),
            None => Ok(Root::empty()),
        }
    }

    fn records(&self, table: &Root) -> BoxStream<'static, Result<DatumRecord>> {
        let (controller, table) = (self.clone(), *table);
        Box::pin(try_stream! {
            let dir: TreePath = match "meta".parse() {
                Ok(dir) => dir,
                Err(_) => return,
            };
            let tree = Tree::new(controller.nodes(), table);
            let mut after: Option<String> = None;
            if tree.get(&dir).await?.is_none() {
                return;
            }
            loop {
                let page = tree.list(&dir, after.as_deref(), PAGE).await?;
                after = page.last().map(|(name, _)| name.clone());
                for (name, _) in &page {
                    let Ok(id) = name.parse::<DatumId>() else { continue };
                    if let Some(record) = controller.record_in(&table, id).await? {
                        yield record;
                    }
                }
                if page.len() < PAGE {
                    return;
                }
            }
        })
    }
}

/// A datum of a job that is not over.
fn of_row(row: &crate::catalog::DatumRow) -> Result<DatumInfo> {
    let record = match row.state {
        RowState::Waiting | RowState::Claimed => serde_json::from_slice(&row.payload)
            .map_err(|error| ControllerError::Job(format!("datum {}: {error}", row.id)))?,
        RowState::Success | RowState::Failed | RowState::Recovered => {
            decode_outcome(row.id, &row.outcome)?.0
        }
    };
    Ok(DatumInfo { state: record.state, record })
}

/// A datum in the table of a job: skipped unless that job ran it.
fn in_job(job: &Job, record: DatumRecord) -> DatumInfo {
    let state = if record.job == job.id { record.state } else { DatumState::Skipped };
    DatumInfo { state, record }
}
