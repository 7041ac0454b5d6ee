//! Looking back: the datums of a job and what they printed.

use std::collections::{BTreeMap, HashSet};

use async_stream::try_stream;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::broadcast::error::RecvError;

use super::Controller;
use super::datum::decode_outcome;
use super::error::{ControllerError, Result};
use super::leaves::root_of;
use super::logs::{DatumLine, parse_lines};
use super::planning::meta_of;
use crate::catalog::{DatumState as RowState, Job, JobQuery, JobRow, Pipeline};
use crate::model::{DatumId, TreePath};
use crate::pipeline::job::DatumState;
use crate::pipeline::record::{DatumRecord, log_path};
use crate::tree::{Root, Tree, diff};

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

/// Which lines to read.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only of this pipeline.
    pub pipeline: Option<Pipeline>,
    /// Only of this job.
    pub job: Option<Job>,
    /// Only of this datum.
    pub datum: Option<DatumId>,
    /// Go on with what is printed from now on; never ends by itself unless
    /// the job named is over.
    pub follow: bool,
    /// Only so many of the lines there are; `None`: all.
    pub tail: Option<usize>,
}

impl LogQuery {
    fn wants(&self, line: &DatumLine) -> bool {
        self.pipeline.as_ref().is_none_or(|pipeline| *pipeline == line.job.pipeline)
            && self.job.as_ref().is_none_or(|job| *job == line.job)
            && self.datum.is_none_or(|datum| datum == line.datum)
    }
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
    async fn datum_table(&self, row: &JobRow) -> Result<Root> {
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

    /// What datums printed: oldest job first, each datum's lines together.
    #[must_use]
    pub fn read_logs(&self, query: LogQuery) -> BoxStream<'static, Result<DatumLine>> {
        let controller = self.clone();
        Box::pin(try_stream! {
            let mut live = controller.logs().follow();
            let mut read: BTreeMap<(Job, DatumId), u64> = BTreeMap::new();
            let mut lines = controller.past_lines(&query).await?;
            if let Some(tail) = query.tail {
                lines.drain(..lines.len().saturating_sub(tail));
            }
            for line in lines {
                read.insert((line.job.clone(), line.datum), line.index + 1);
                yield line;
            }
            while query.follow && !controller.is_over(&query).await? {
                let next = tokio::time::timeout(std::time::Duration::from_secs(1), live.recv());
                match next.await {
                    Ok(Ok(line)) => {
                        let known = read.get(&(line.job.clone(), line.datum));
                        if query.wants(&line) && known.is_none_or(|known| line.index >= *known) {
                            yield DatumLine::clone(&line);
                        }
                    }
                    Ok(Err(RecvError::Lagged(_))) | Err(_) => {}
                    Ok(Err(RecvError::Closed)) => break,
                }
            }
        })
    }

    /// Whether nothing more can be printed for a query.
    async fn is_over(&self, query: &LogQuery) -> Result<bool> {
        let Some(job) = &query.job else { return Ok(false) };
        let row = self.catalog().job(job).await?;
        Ok(row.is_none_or(|row| row.state.is_terminal()))
    }

    async fn past_lines(&self, query: &LogQuery) -> Result<Vec<DatumLine>> {
        let mut rows = match &query.job {
            Some(job) => vec![self.repos().inspect_job(job).await?],
            None => {
                let pipeline = query.pipeline.clone();
                self.catalog().jobs(&JobQuery { pipeline, ..JobQuery::default() }).await?
            }
        };
        rows.sort_by_key(|row| row.seq);
        let mut lines = Vec::new();
        for row in rows {
            let of_job = match row.state.is_terminal() {
                true => self.kept_lines(&row).await?,
                false => {
                    let dir = self.logs().job_dir(&row.job);
                    self.logs().spooled(&row.job).map_err(ControllerError::io(dir))?
                }
            };
            lines.extend(of_job.into_iter().filter(|line| query.wants(line)));
        }
        Ok(lines)
    }

    /// The lines printed in a job that is over: those of logs its base does
    /// not have.
    async fn kept_lines(&self, row: &JobRow) -> Result<Vec<DatumLine>> {
        let table = self.datum_table(row).await?;
        let base = match row.base {
            Some(base) => {
                let meta = meta_of(&row.output.repo.commit(base));
                let meta = self.catalog().commit(&meta).await?;
                meta.map_or(Ok(Root::empty()), |meta| root_of(&meta.root))?
            }
            None => Root::empty(),
        };
        let logs = log_path(DatumId::new([0; 32])).parent().unwrap_or_else(TreePath::root);
        let mut lines = Vec::new();
        let mut changed = diff(self.nodes(), &base, &table, &logs);
        while let Some(change) = changed.next().await {
            let change = change?;
            let Ok(datum) = change.path.file_name().parse::<DatumId>() else { continue };
            let Some(text) = self.read_small(&table, &change.path).await? else { continue };
            for (index, line) in parse_lines(&text).into_iter().enumerate() {
                let index = index as u64;
                lines.push(DatumLine { job: row.job.clone(), datum, index, line });
            }
        }
        Ok(lines)
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
