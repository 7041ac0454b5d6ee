//! What is kept of a job that ends before all its datums did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use futures::FutureExt as _;

use super::Controller;
use super::datum::{decode_outcome, kept_log};
use super::edits::apply_all;
use super::error::{ControllerError, Result};
use super::finish::{places, stored};
use super::leaves::root_of;
use super::planning::meta_of;
use crate::catalog::{
    DatumRow, DatumState as RowState, Job, JobQuery, JobRow, JobState, StoredRoot,
};
use crate::chunk::{FileWriter, PackWriter};
use crate::model::{DatumId, TreePath};
use crate::pipeline::job::DatumState;
use crate::pipeline::record::{DatumRecord, datum_path, log_path};
use crate::tree::{ApplyOptions, Edit, Entry, Root};

/// How many datum rows are read at a time.
const PAGE: usize = 1000;

impl Controller {
    /// The datum table of a job that is ended now: its base's, with the datums
    /// that ran until now and what they printed. `None` when none did.
    pub(super) async fn remains(&self, job: &Job, reason: &str) -> Option<StoredRoot> {
        match self.write_remains(job, reason).boxed().await {
            Ok(root) => root,
            Err(error) => {
                // That the job ends matters more.
                tracing::warn!(%job, %error, "the job's logs are lost");
                None
            }
        }
    }

    async fn write_remains(&self, job: &Job, reason: &str) -> Result<Option<StoredRoot>> {
        let Some(row) = self.catalog().job(job).await? else { return Ok(None) };
        let dir = self.logs().job_dir(job);
        let spools = self.logs().spools(job).map_err(ControllerError::io(dir))?;
        let spools: HashMap<DatumId, PathBuf> = spools.into_iter().collect();
        let writer = self.repos().blobs().writer();
        let mut edits = BTreeMap::new();
        let mut from = 0;
        loop {
            let page = self.catalog().datums(job, None, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.index + 1;
            for datum in page {
                match datum.state {
                    RowState::Success | RowState::Failed | RowState::Recovered => {
                        let (record, source) = decode_outcome(datum.id, &datum.outcome)?;
                        let graft = |path: TreePath| (path.clone(), Edit::Graft { source, path });
                        edits.extend(places(record.id).map(graft));
                    }
                    RowState::Waiting | RowState::Claimed => {
                        if let Some(spool) = spools.get(&datum.id) {
                            self.cut_off(&datum, spool, reason, &writer, &mut edits).await?;
                        }
                    }
                }
            }
        }
        if edits.is_empty() {
            return Ok(None);
        }
        let base = self.table_of_base(&row).await?;
        let (edits, options) = (edits, ApplyOptions { prune_parents: true });
        let root = apply_all(self.nodes(), &writer, base, edits, options).await?;
        writer.flush().await?;
        Ok(Some(stored(&root)))
    }

    /// Keeps a datum whose program was running.
    async fn cut_off(
        &self,
        datum: &DatumRow,
        spool: &Path,
        reason: &str,
        writer: &PackWriter,
        edits: &mut BTreeMap<TreePath, Edit>,
    ) -> Result<()> {
        let unreadable = |error| ControllerError::Job(format!("datum {}: {error}", datum.id));
        let record: DatumRecord = serde_json::from_slice(&datum.payload).map_err(unreadable)?;
        let record = DatumRecord { state: DatumState::Failed, reason: reason.to_owned(), ..record };
        let now = self.clock().now();
        let mut content = FileWriter::new(writer, &[]);
        content.write(serde_json::to_vec(&record).map_err(unreadable)?.into()).await?;
        let record = Entry::file(content.finish().await?, now);
        let log = Entry::file(kept_log(spool, writer).await?, now);
        edits.insert(datum_path(datum.id), Edit::Put(record));
        edits.insert(log_path(datum.id), Edit::Put(log));
        Ok(())
    }

    /// The datum table of the job that another was measured against.
    pub(super) async fn table_of_base(&self, row: &JobRow) -> Result<Root> {
        let Some(base) = row.base else { return Ok(Root::empty()) };
        let meta = meta_of(&row.output.repo.commit(base));
        let meta = self.catalog().commit(&meta).await?;
        meta.map_or(Ok(Root::empty()), |meta| root_of(&meta.root))
    }

    /// Removes the spools of a job that was ended or deleted while its
    /// programs ran.
    pub(super) async fn discard_ended(&self, job: &Job) {
        match self.catalog().job(job).await {
            Ok(Some(row)) if !row.state.is_terminal() => {}
            Ok(_) => self.logs().discard(job),
            Err(error) => tracing::debug!(%job, %error, "spools stay until the next start"),
        }
    }

    /// Removes the spools of jobs that ended while no server was there.
    pub(super) async fn clear_logs(&self) -> Result<()> {
        let states = JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect();
        let query = JobQuery { states, ..JobQuery::default() };
        let live = self.catalog().jobs(&query).await?;
        let live: HashSet<PathBuf> = live.iter().map(|row| self.logs().job_dir(&row.job)).collect();
        self.logs().retain(&live);
        Ok(())
    }
}
