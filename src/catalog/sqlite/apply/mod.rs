//! Writes: each operation with its guards, inside the writer's transaction.

mod commits;
mod records;
mod repos;
mod work;

use rusqlite::{Connection, Params, params};

use super::decode::{conflict, to_json};
use crate::catalog::{Event, Op, Result};
use crate::model::Timestamp;

pub use work::claim;

/// One batch being applied.
pub struct Batch<'c> {
    conn: &'c Connection,
    now: Timestamp,
}

/// Applies a batch; on an error the caller rolls its savepoint back.
pub fn apply(conn: &Connection, now: Timestamp, ops: Vec<Op>) -> Result<()> {
    let batch = Batch { conn, now };
    ops.into_iter().try_for_each(|op| batch.op(op))
}

impl Batch<'_> {
    #[expect(clippy::too_many_lines, reason = "one arm per operation")]
    fn op(&self, op: Op) -> Result<()> {
        match op {
            Op::CreateProject(row) => self.create_project(&row),
            Op::DescribeProject { name, description } => self.describe_project(&name, &description),
            Op::DeleteProject(name) => self.delete_project(&name),
            Op::CreateRepo(row) => self.create_repo(&row),
            Op::DescribeRepo { repo, description } => self.describe_repo(&repo, &description),
            Op::DeleteRepo(repo) => self.delete_repo(&repo),
            Op::CreateBranch(row) => self.create_branch(&row),
            Op::MoveHead { branch, expected, new } => self.move_head(&branch, expected, new),
            Op::SetProvenance { branch, expected, new } => {
                self.set_provenance(&branch, &expected, &new)
            }
            Op::SetTrigger { branch, trigger } => self.set_trigger(&branch, trigger.as_ref()),
            Op::DeleteBranch { branch, expected } => self.delete_branch(&branch, expected),
            Op::ExpectHead { branch, expected } => self.expect_head(&branch, expected).map(drop),
            Op::ExpectOpen { commit, open } => self.expect_open(&commit, open).map(drop),
            Op::ExpectWiring(version) => self.expect_wiring(version),
            Op::CreateCommit(row) => self.create_commit(&row),
            Op::SetRoot { commit, expected, new } => self.set_root(&commit, &expected, &new),
            Op::FinishCommit { commit, expected, root, description, error, finished } => {
                let (description, error) = (description.as_deref(), error.as_deref());
                let expected = expected.as_ref();
                self.finish_commit(&commit, expected, &root, description, error, finished)
            }
            Op::DescribeCommit { commit, description } => {
                self.describe_commit(&commit, &description)
            }
            Op::Reparent { commit, expected, new } => self.reparent(&commit, expected, new),
            Op::DeleteCommit(commit) => self.delete_commit(&commit),
            Op::PutPipeline { row, expected } => self.put_pipeline(&row, expected),
            Op::SetPipelineState { pipeline, state, reason, stopped } => {
                self.set_pipeline_state(&pipeline, state, &reason, stopped)
            }
            Op::DeletePipeline(pipeline) => self.delete_pipeline(&pipeline),
            Op::CreateJob(row) => self.create_job(&row),
            Op::UpdateJob { job, expected, change } => self.update_job(&job, &expected, &change),
            Op::AddJobProgress { job, delta } => self.add_job_progress(&job, &delta),
            Op::DeleteJob(job) => self.delete_job(&job),
            Op::CreateDatums { job, datums } => self.create_datums(&job, &datums),
            Op::RenewDatums { job, worker, until } => self.renew_datums(&job, &worker, until),
            Op::CompleteDatum { job, index, worker, state, outcome } => {
                self.complete_datum(&job, index, &worker, state, &outcome)
            }
            Op::ReleaseDatums { job, worker } => self.release_datums(&job, &worker),
            Op::DeleteDatums(job) => self.delete_datums(&job),
            Op::CreateTransaction(row) => self.create_transaction(&row),
            Op::UpdateTransaction { id, expected, change } => {
                self.update_transaction(id, &expected, &change)
            }
            Op::ExpectStaged { id, root } => self.expect_staged(id, &root),
            Op::RenewTransaction { id, until } => self.renew_transaction(id, until),
            Op::ExpectLapsed { id, before } => self.expect_lapsed(id, before),
            Op::DeleteTransaction(id) => self.delete_transaction(id),
            Op::PutGathered { row, expected } => self.put_gathered(&row, expected),
            Op::DeleteGathered { id, version } => self.delete_gathered(id, version),
            Op::CreateFileSet(row) => self.create_file_set(&row),
            Op::RenewFileSet { id, until } => self.renew_file_set(id, until),
            Op::DropFileSets(now) => self.drop_file_sets(now),
            Op::PutSecret(row) => self.put_secret(&row),
            Op::DeleteSecret(name) => self.delete_secret(&name),
            Op::CreatePack(row) => self.create_pack(&row),
            Op::DeletePack(id) => self.delete_pack(id),
            Op::TakeLease { name, holder, now, until } => {
                self.take_lease(&name, &holder, now, until)
            }
            Op::DropLease { name, holder } => self.drop_lease(&name, &holder),
            Op::Acknowledge { consumer, seq } => self.acknowledge(&consumer, seq),
            Op::TrimEvents { keep, most } => self.trim_events(keep, most),
            Op::PutSetting { key, value } => self.put_setting(&key, &value),
            Op::DeleteSetting(key) => self.delete_setting(&key),
        }
    }

    /// Runs a statement and says how many rows it changed.
    fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// Runs a statement that must change exactly one row.
    fn run_one(&self, sql: &str, params: impl Params, what: impl std::fmt::Display) -> Result<()> {
        match self.run(sql, params)? {
            1 => Ok(()),
            _ => Err(conflict(what)),
        }
    }

    /// Records an event.
    fn emit(&self, event: &Event) -> Result<()> {
        let sql = "INSERT INTO events (at, event) VALUES (?, ?)";
        self.run(sql, params![self.now.as_nanos(), to_json(event)?]).map(drop)
    }
}
