//! Pipelines, jobs, datums.

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::Batch;
use crate::catalog::sqlite::decode::{conflict, integer, to_json};
use crate::catalog::sqlite::read;
use crate::catalog::{
    DatumRow, DatumState, Event, Job, JobChange, JobCounters, JobRow, JobState, Pipeline,
    PipelineRow, PipelineState, Result,
};
use crate::model::Timestamp;

impl Batch<'_> {
    pub(super) fn put_pipeline(&self, row: &PipelineRow, expected: Option<u64>) -> Result<()> {
        let pipeline = &row.pipeline;
        let (project, name) = (pipeline.project.as_str(), pipeline.name.as_str());
        let key = match expected {
            None => {
                let sql = "INSERT OR IGNORE INTO pipelines
                    (project, name, version, state, reason, stopped) VALUES (?, ?, 0, '', '', 0)";
                let exists = format_args!("pipeline {pipeline} exists");
                self.run_one(sql, [project, name], exists)?;
                self.conn.last_insert_rowid()
            }
            Some(version) => self.pipeline_at(pipeline, version)?,
        };
        let sql = "UPDATE pipelines SET version = ?, state = ?, reason = ?, stopped = ?
            WHERE key = ?";
        let state = row.state.as_str();
        self.run(sql, params![integer(row.version)?, state, row.reason, row.stopped, key])?;
        let sql = "INSERT INTO pipeline_versions
            (pipeline, version, spec_commit, spec, salt, inputs, output_branch, created, user_spec)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            key,
            integer(row.version)?,
            row.spec_commit.as_bytes(),
            row.spec,
            row.salt,
            to_json(&row.inputs)?,
            row.output_branch.as_str(),
            row.created.as_nanos(),
            row.user_spec,
        ];
        self.run(sql, values)?;
        self.emit(&Event::Pipeline(pipeline.clone()))
    }

    /// The key of a pipeline whose current version is `version`.
    fn pipeline_at(&self, pipeline: &Pipeline, version: u64) -> Result<i64> {
        let key = self.pipeline_key(pipeline)?;
        let sql = "SELECT 1 FROM pipelines WHERE key = ? AND version = ?";
        match read::one(self.conn, sql, params![key, integer(version)?], |_| Ok(()))? {
            Some(()) => Ok(key),
            None => Err(conflict(format_args!("pipeline {pipeline} was updated"))),
        }
    }

    pub(super) fn set_pipeline_state(
        &self,
        pipeline: &Pipeline,
        state: PipelineState,
        reason: &str,
        stopped: bool,
    ) -> Result<()> {
        let key = self.pipeline_key(pipeline)?;
        let sql = "UPDATE pipelines SET state = ?, reason = ?, stopped = ? WHERE key = ?";
        self.run(sql, params![state.as_str(), reason, stopped, key])?;
        self.emit(&Event::Pipeline(pipeline.clone()))
    }

    pub(super) fn delete_pipeline(&self, pipeline: &Pipeline) -> Result<()> {
        let key = self.pipeline_key(pipeline)?;
        for sql in [
            "DELETE FROM datums WHERE job IN (SELECT seq FROM jobs WHERE pipeline = ?)",
            "DELETE FROM jobs WHERE pipeline = ?",
            "DELETE FROM pipeline_versions WHERE pipeline = ?",
            "DELETE FROM pipelines WHERE key = ?",
        ] {
            self.run(sql, [key])?;
        }
        self.emit(&Event::Pipeline(pipeline.clone()))
    }

    pub(super) fn create_job(&self, row: &JobRow) -> Result<()> {
        let key = self.pipeline_key(&row.job.pipeline)?;
        let sql = "INSERT OR IGNORE INTO jobs (pipeline, id, version, spec_commit, inputs, output,
            base, state, reason, restarts, created, started, finished, total, processed, skipped,
            failed, recovered, downloaded, uploaded, download_nanos, process_nanos, upload_nanos)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        let values = params![
            key,
            row.job.id.as_bytes(),
            integer(row.version)?,
            row.spec_commit.as_bytes(),
            to_json(&row.inputs)?,
            to_json(&row.output)?,
            row.base.map(|id| *id.as_bytes()),
            row.state.as_str(),
            row.reason,
            integer(row.restarts)?,
            row.created.as_nanos(),
            row.started.map(Timestamp::as_nanos),
            row.finished.map(Timestamp::as_nanos),
        ];
        self.run_one(sql, values, format_args!("job {} exists", row.job))?;
        self.set_counters(self.conn.last_insert_rowid(), &row.counters)?;
        self.emit(&Event::Job(row.job.clone()))
    }

    pub(super) fn update_job(
        &self,
        job: &Job,
        expected: &[JobState],
        change: &JobChange,
    ) -> Result<()> {
        let seq = self.job_seq(job)?;
        let current = read::work::job(self.conn, job)?.map(|row| row.state);
        if !expected.is_empty() && !current.is_some_and(|state| expected.contains(&state)) {
            return Err(conflict(format_args!("job {job} is in another state")));
        }
        let terminal = change.state.is_some_and(JobState::is_terminal);
        let finished = change.finished.or(terminal.then_some(self.now));
        let sql = "UPDATE jobs SET state = coalesce(?2, state), reason = coalesce(?3, reason),
            base = coalesce(?4, base), started = coalesce(?5, started),
            finished = coalesce(?6, finished), restarts = restarts + ?7 WHERE seq = ?1";
        let values = params![
            seq,
            change.state.map(JobState::as_str),
            change.reason,
            change.base.map(|id| *id.as_bytes()),
            change.started.map(Timestamp::as_nanos),
            finished.map(Timestamp::as_nanos),
            change.restarted,
        ];
        self.run(sql, values)?;
        if let Some(counters) = &change.counters {
            self.set_counters(seq, counters)?;
        }
        self.emit(&Event::Job(job.clone()))
    }

    pub(super) fn add_job_progress(&self, job: &Job, delta: &JobCounters) -> Result<()> {
        let seq = self.job_seq(job)?;
        self.write_counters(seq, delta, "+")
    }

    fn set_counters(&self, seq: i64, counters: &JobCounters) -> Result<()> {
        self.write_counters(seq, counters, "* 0 +")
    }

    /// Combines each counter with its new value: `counter <how> value`.
    fn write_counters(&self, seq: i64, c: &JobCounters, how: &str) -> Result<()> {
        let columns = [
            ("total", c.total),
            ("processed", c.processed),
            ("skipped", c.skipped),
            ("failed", c.failed),
            ("recovered", c.recovered),
            ("downloaded", c.downloaded),
            ("uploaded", c.uploaded),
            ("download_nanos", c.download_nanos),
            ("process_nanos", c.process_nanos),
            ("upload_nanos", c.upload_nanos),
        ];
        let set: Vec<_> = columns.iter().map(|(n, _)| format!("{n} = {n} {how} ?")).collect();
        let sql = format!("UPDATE jobs SET {} WHERE seq = ?", set.join(", "));
        let values = columns.iter().map(|(_, v)| integer(*v)).chain([Ok(seq)]);
        let values = values.collect::<Result<Vec<i64>>>()?;
        self.run(&sql, rusqlite::params_from_iter(values)).map(drop)
    }

    pub(super) fn delete_job(&self, job: &Job) -> Result<()> {
        let seq = self.job_seq(job)?;
        self.run("DELETE FROM datums WHERE job = ?", [seq])?;
        self.run("DELETE FROM jobs WHERE seq = ?", [seq])?;
        self.emit(&Event::Job(job.clone()))
    }

    pub(super) fn create_datums(&self, job: &Job, datums: &[DatumRow]) -> Result<()> {
        let seq = self.job_seq(job)?;
        let sql = "INSERT OR IGNORE INTO datums
            (job, position, id, state, tries, worker, lease_until, payload, outcome)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        for datum in datums {
            let values = params![
                seq,
                integer(datum.index)?,
                datum.id.as_bytes(),
                datum.state.as_str(),
                integer(datum.tries)?,
                datum.worker,
                datum.lease_until.as_nanos(),
                &*datum.payload,
                &*datum.outcome,
            ];
            self.run(sql, values)?;
        }
        Ok(())
    }

    pub(super) fn renew_datums(&self, job: &Job, worker: &str, until: Timestamp) -> Result<()> {
        let seq = self.job_seq(job)?;
        let sql = "UPDATE datums SET lease_until = ?
            WHERE job = ? AND state = 'claimed' AND worker = ?";
        self.run(sql, params![until.as_nanos(), seq, worker]).map(drop)
    }

    pub(super) fn complete_datum(
        &self,
        job: &Job,
        index: u64,
        worker: &str,
        state: DatumState,
        outcome: &Bytes,
    ) -> Result<()> {
        let seq = self.job_seq(job)?;
        let sql = "UPDATE datums SET state = ?4, outcome = ?5, worker = '', lease_until = 0
            WHERE job = ?1 AND position = ?2 AND state = 'claimed' AND worker = ?3";
        let values = params![seq, integer(index)?, worker, state.as_str(), &**outcome];
        self.run_one(sql, values, format_args!("{worker} lost datum {index} of job {job}"))
    }

    pub(super) fn release_datums(&self, job: &Job, worker: &str) -> Result<()> {
        let seq = self.job_seq(job)?;
        let sql = "UPDATE datums SET state = 'waiting', worker = '', lease_until = 0
            WHERE job = ? AND state = 'claimed' AND worker = ?";
        self.run(sql, params![seq, worker]).map(drop)
    }

    pub(super) fn delete_datums(&self, job: &Job) -> Result<()> {
        let seq = self.job_seq(job)?;
        self.run("DELETE FROM datums WHERE job = ?", [seq]).map(drop)
    }

    fn pipeline_key(&self, pipeline: &Pipeline) -> Result<i64> {
        read::work::pipeline_key(self.conn, pipeline)?
            .ok_or_else(|| conflict(format_args!("pipeline {pipeline} is gone")))
    }

    fn job_seq(&self, job: &Job) -> Result<i64> {
        read::work::job_seq(self.conn, job)?
            .ok_or_else(|| conflict(format_args!("job {job} is gone")))
    }
}

/// Claims up to `limit` datums for `worker`; those answered are claimed.
pub fn claim(
    conn: &Connection,
    job: &Job,
    worker: &str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<DatumRow>> {
    let Some(seq) = read::work::job_seq(conn, job)? else { return Ok(Vec::new()) };
    let mut datums = read::work::claimable(conn, seq, now.as_nanos(), limit)?;
    let sql = "UPDATE datums SET state = 'claimed', worker = ?, lease_until = ?,
        tries = tries + 1 WHERE job = ? AND position = ?";
    let mut statement = conn.prepare_cached(sql)?;
    for datum in &mut datums {
        statement.execute(params![worker, until.as_nanos(), seq, integer(datum.index)?])?;
        datum.state = DatumState::Claimed;
        worker.clone_into(&mut datum.worker);
        datum.lease_until = until;
        datum.tries += 1;
    }
    Ok(datums)
}
