//! Pipelines, jobs, datums.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::{all, limit, one};
use crate::catalog::sqlite::decode::{
    bytes, count, id, integer, json, optional_commit, optional_time, state, text, time,
};
use crate::catalog::{
    DatumRow, DatumState, Job, JobCounters, JobQuery, JobRow, JobState, Pipeline, PipelineRow,
    PipelineState, Result,
};
use crate::model::{CommitId, DatumId, ProjectName};

const PIPELINE: &str = "SELECT p.project, p.name, v.version, v.spec_commit, v.spec, v.salt,
    v.inputs, v.output_branch, p.state, p.reason, p.stopped, v.created, v.user_spec
    FROM pipelines p JOIN pipeline_versions v ON v.pipeline = p.key";

pub fn pipelines(conn: &Connection, project: Option<&ProjectName>) -> Result<Vec<PipelineRow>> {
    let sql = format!(
        "{PIPELINE} WHERE v.version = p.version AND (?1 IS NULL OR p.project = ?1)
        ORDER BY p.key DESC"
    );
    all(conn, &sql, [project.map(ProjectName::as_str)], pipeline_row)
}

pub fn pipeline(conn: &Connection, pipeline: &Pipeline) -> Result<Option<PipelineRow>> {
    let sql = format!("{PIPELINE} WHERE v.version = p.version AND p.project = ? AND p.name = ?");
    one(conn, &sql, [pipeline.project.as_str(), pipeline.name.as_str()], pipeline_row)
}

pub fn pipeline_versions(conn: &Connection, pipeline: &Pipeline) -> Result<Vec<PipelineRow>> {
    let sql = format!("{PIPELINE} WHERE p.project = ? AND p.name = ? ORDER BY v.version DESC");
    all(conn, &sql, [pipeline.project.as_str(), pipeline.name.as_str()], pipeline_row)
}

pub fn pipeline_key(conn: &Connection, pipeline: &Pipeline) -> Result<Option<i64>> {
    let sql = "SELECT key FROM pipelines WHERE project = ? AND name = ?";
    one(conn, sql, [pipeline.project.as_str(), pipeline.name.as_str()], |row| Ok(row.get(0)?))
}

fn pipeline_row(row: &Row<'_>) -> Result<PipelineRow> {
    Ok(PipelineRow {
        pipeline: Pipeline { project: text(row, 0)?, name: text(row, 1)? },
        version: count(row, 2)?,
        spec_commit: id(row, 3)?,
        spec: row.get(4)?,
        user_spec: row.get(12)?,
        salt: row.get(5)?,
        inputs: json(row, 6)?,
        output_branch: text(row, 7)?,
        state: state(row, 8, PipelineState::parse)?,
        reason: row.get(9)?,
        stopped: row.get(10)?,
        created: time(row, 11)?,
    })
}

const JOB: &str = "SELECT j.seq, p.project, p.name, j.id, j.version, j.spec_commit, j.inputs,
    j.output, j.base, j.state, j.reason, j.restarts, j.created, j.started, j.finished,
    j.total, j.processed, j.skipped, j.failed, j.recovered, j.downloaded, j.uploaded,
    j.download_nanos, j.process_nanos, j.upload_nanos
    FROM jobs j JOIN pipelines p ON p.key = j.pipeline";

pub fn job_seq(conn: &Connection, job: &Job) -> Result<Option<i64>> {
    let Some(key) = pipeline_key(conn, &job.pipeline)? else { return Ok(None) };
    let sql = "SELECT seq FROM jobs WHERE pipeline = ? AND id = ?";
    one(conn, sql, params![key, job.id.as_bytes()], |row| Ok(row.get(0)?))
}

pub fn job(conn: &Connection, job: &Job) -> Result<Option<JobRow>> {
    let Some(seq) = job_seq(conn, job)? else { return Ok(None) };
    one(conn, &format!("{JOB} WHERE j.seq = ?"), [seq], job_row)
}

pub fn job_set(conn: &Connection, set: CommitId) -> Result<Vec<JobRow>> {
    let sql = format!("{JOB} WHERE j.id = ? ORDER BY j.seq");
    all(conn, &sql, [set.as_bytes()], job_row)
}

pub fn jobs(conn: &Connection, query: &JobQuery) -> Result<Vec<JobRow>> {
    let mut sql = format!("{JOB} WHERE j.seq < ?");
    let mut values = vec![Value::Integer(query.before.map_or(Ok(i64::MAX), integer)?)];
    if let Some(pipeline) = &query.pipeline {
        let Some(key) = pipeline_key(conn, pipeline)? else { return Ok(Vec::new()) };
        sql.push_str(" AND j.pipeline = ?");
        values.push(Value::Integer(key));
    }
    if let Some(project) = &query.project {
        sql.push_str(" AND p.project = ?");
        values.push(Value::Text(project.as_str().to_owned()));
    }
    if !query.states.is_empty() {
        let marks = vec!["?"; query.states.len()].join(", ");
        sql.push_str(&format!(" AND j.state IN ({marks})"));
        values.extend(query.states.iter().map(|s| Value::Text(s.as_str().to_owned())));
    }
    sql.push_str(" ORDER BY j.seq DESC LIMIT ?");
    values.push(Value::Integer(query.limit.map_or(-1, limit)));
    all(conn, &sql, params_from_iter(values), job_row)
}

fn job_row(row: &Row<'_>) -> Result<JobRow> {
    let pipeline = Pipeline { project: text(row, 1)?, name: text(row, 2)? };
    Ok(JobRow {
        job: Job { pipeline, id: id(row, 3)? },
        seq: count(row, 0)?,
        version: count(row, 4)?,
        spec_commit: id(row, 5)?,
        inputs: json(row, 6)?,
        output: json(row, 7)?,
        base: optional_commit(row, 8)?,
        state: state(row, 9, JobState::parse)?,
        reason: row.get(10)?,
        counters: counters(row)?,
        restarts: count(row, 11)?,
        created: time(row, 12)?,
        started: optional_time(row, 13)?,
        finished: optional_time(row, 14)?,
    })
}

fn counters(row: &Row<'_>) -> Result<JobCounters> {
    Ok(JobCounters {
        total: count(row, 15)?,
        processed: count(row, 16)?,
        skipped: count(row, 17)?,
        failed: count(row, 18)?,
        recovered: count(row, 19)?,
        downloaded: count(row, 20)?,
        uploaded: count(row, 21)?,
        download_nanos: count(row, 22)?,
        process_nanos: count(row, 23)?,
        upload_nanos: count(row, 24)?,
    })
}

const DATUM: &str = "SELECT position, id, state, tries, worker, lease_until, payload, outcome
    FROM datums";

pub fn datums(
    conn: &Connection,
    job: &Job,
    only: Option<DatumState>,
    from: u64,
    most: usize,
) -> Result<Vec<DatumRow>> {
    let Some(seq) = job_seq(conn, job)? else { return Ok(Vec::new()) };
    let only_in = if only.is_some() { "AND state = ?2" } else { "AND ?2 IS NULL" };
    let sql =
        format!("{DATUM} WHERE job = ?1 {only_in} AND position >= ?3 ORDER BY position LIMIT ?4");
    let params = params![seq, only.map(DatumState::as_str), integer(from)?, limit(most)];
    all(conn, &sql, params, datum_row)
}

pub fn datum(conn: &Connection, job: &Job, id: &DatumId) -> Result<Option<DatumRow>> {
    let Some(seq) = job_seq(conn, job)? else { return Ok(None) };
    let sql = format!("{DATUM} WHERE job = ? AND id = ?");
    one(conn, &sql, params![seq, id.as_bytes()], datum_row)
}

pub fn datum_counts(conn: &Connection, job: &Job) -> Result<Vec<(DatumState, u64)>> {
    let Some(seq) = job_seq(conn, job)? else { return Ok(Vec::new()) };
    let sql = "SELECT state, count(*) FROM datums WHERE job = ? GROUP BY state";
    all(conn, sql, [seq], |row| Ok((state(row, 0, DatumState::parse)?, count(row, 1)?)))
}

/// Datums nobody holds, and those whose claim has lapsed at `now`.
pub fn claimable(conn: &Connection, job: i64, now: i64, most: usize) -> Result<Vec<DatumRow>> {
    // Left to itself SQLite walks the rows in order of their position, with
    // all that they hold, to find the few that qualify.
    let datum = format!("{DATUM} INDEXED BY datums_by_state WHERE job = ?");
    let free = format!("{datum} AND state = 'waiting' ORDER BY position LIMIT ?");
    let lapsed =
        format!("{datum} AND state = 'claimed' AND lease_until <= ? ORDER BY position LIMIT ?");
    let mut found = all(conn, &lapsed, params![job, now, limit(most)], datum_row)?;
    found.extend(all(conn, &free, params![job, limit(most)], datum_row)?);
    found.sort_by_key(|datum| datum.index);
    found.truncate(most);
    Ok(found)
}

fn datum_row(row: &Row<'_>) -> Result<DatumRow> {
    Ok(DatumRow {
        index: count(row, 0)?,
        id: id(row, 1)?,
        state: state(row, 2, DatumState::parse)?,
        tries: count(row, 3)?,
        worker: row.get(4)?,
        lease_until: time(row, 5)?,
        payload: bytes(row, 6)?,
        outcome: bytes(row, 7)?,
    })
}
