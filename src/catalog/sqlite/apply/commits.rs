//! Commits.

use bytes::Bytes;
use rusqlite::params;

use super::Batch;
use crate::catalog::sqlite::decode::{conflict, integer};
use crate::catalog::sqlite::read;
use crate::catalog::{CommitRow, Event, Job, Pipeline, Result, StoredRoot};
use crate::model::{BranchName, Commit, CommitId, Repo, RepoKind, Timestamp};

impl Batch<'_> {
    pub(super) fn create_commit(&self, row: &CommitRow) -> Result<()> {
        let repo = self.repo_key(&row.commit.repo)?;
        let parent = self.optional_commit_seq(&row.commit.repo, row.parent)?;
        let (number, jump) = read::commits::place(self.conn, parent)?;
        let sql = "INSERT OR IGNORE INTO commits (repo, id, branch, parent, number, jump, origin,
            description, author, started, finished, error, root, files, bytes)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            repo,
            row.commit.id.as_bytes(),
            row.branch.as_ref().map(BranchName::as_str),
            parent,
            number,
            jump,
            row.origin.as_str(),
            row.description,
            row.author,
            row.started.as_nanos(),
            row.finished.map(Timestamp::as_nanos),
            row.error,
            &*row.root.encoded,
            integer(row.root.files)?,
            integer(row.root.bytes)?,
        ];
        self.run_one(sql, values, format_args!("commit {} exists", row.commit))?;
        self.insert_commit_provenance(self.conn.last_insert_rowid(), &row.provenance)?;
        self.emit(&Event::Commit(row.commit.clone()))
    }

    fn insert_commit_provenance(&self, seq: i64, provenance: &[Commit]) -> Result<()> {
        for (position, upstream) in (0_i64..).zip(provenance) {
            let upstream = self.commit_seq(upstream)?;
            let sql = "INSERT INTO provenance (derived, position, upstream) VALUES (?, ?, ?)";
            self.run(sql, params![seq, position, upstream])?;
        }
        Ok(())
    }

    pub(super) fn set_root(
        &self,
        commit: &Commit,
        expected: &Bytes,
        new: &StoredRoot,
    ) -> Result<()> {
        let seq = self.open_commit_seq(commit)?;
        // `root IN` lets a repeated call succeed.
        let sql = "UPDATE commits SET root = ?2, files = ?3, bytes = ?4
            WHERE seq = ?1 AND root IN (?2, ?5)";
        let (files, bytes) = (integer(new.files)?, integer(new.bytes)?);
        let values = params![seq, &*new.encoded, files, bytes, &**expected];
        self.run_one(sql, values, format_args!("the tree of {commit} has changed"))?;
        self.emit(&Event::Commit(commit.clone()))
    }

    pub(super) fn finish_commit(
        &self,
        commit: &Commit,
        expected: Option<&Bytes>,
        root: &StoredRoot,
        description: Option<&str>,
        error: Option<&str>,
        finished: Timestamp,
    ) -> Result<()> {
        let seq = self.open_commit_seq(commit)?;
        let sql = "UPDATE commits SET root = ?2, files = ?3, bytes = ?4, finished = ?5,
            error = ?6, description = coalesce(?7, description)
            WHERE seq = ?1 AND (?8 IS NULL OR root = ?8)";
        let values = params![
            seq,
            &*root.encoded,
            integer(root.files)?,
            integer(root.bytes)?,
            finished.as_nanos(),
            error,
            description,
            expected.map(|root| &**root),
        ];
        self.run_one(sql, values, format_args!("the tree of {commit} has changed"))?;
        self.emit(&Event::Commit(commit.clone()))
    }

    pub(super) fn describe_commit(&self, commit: &Commit, description: &str) -> Result<()> {
        let seq = self.commit_seq(commit)?;
        self.run("UPDATE commits SET description = ? WHERE seq = ?", params![description, seq])?;
        self.emit(&Event::Commit(commit.clone()))
    }

    pub(super) fn reparent(
        &self,
        commit: &Commit,
        expected: Option<CommitId>,
        new: Option<CommitId>,
    ) -> Result<()> {
        let seq = self.commit_seq(commit)?;
        let expected = self.optional_commit_seq(&commit.repo, expected)?;
        let new = self.optional_commit_seq(&commit.repo, new)?;
        let sql = "UPDATE commits SET parent = ? WHERE seq = ? AND parent IS ?";
        let what = format_args!("the parent of {commit} has changed");
        self.run_one(sql, params![new, seq, expected], what)?;
        self.emit(&Event::Commit(commit.clone()))
    }

    pub(super) fn delete_commit(&self, commit: &Commit) -> Result<()> {
        let seq = self.commit_seq(commit)?;
        if let (RepoKind::User, Ok(name)) = (commit.repo.kind, commit.repo.name.as_str().parse()) {
            let pipeline = Pipeline { project: commit.repo.project.clone(), name };
            let job = Job { pipeline, id: commit.id };
            if read::work::job_seq(self.conn, &job)?.is_some() {
                self.delete_job(&job)?;
            }
        }
        self.run("DELETE FROM provenance WHERE derived = ?", [seq])?;
        // Heads, children and derived commits fail the foreign keys.
        self.run("DELETE FROM commits WHERE seq = ?", [seq])?;
        self.emit(&Event::Commit(commit.clone()))
    }

    fn commit_seq(&self, commit: &Commit) -> Result<i64> {
        read::commits::commit_seq(self.conn, commit)?
            .ok_or_else(|| conflict(format_args!("commit {commit} is gone")))
    }

    fn open_commit_seq(&self, commit: &Commit) -> Result<i64> {
        self.expect_open(commit, true)
    }

    /// The commit's row, if it is open or finished as expected.
    pub(super) fn expect_open(&self, commit: &Commit, open: bool) -> Result<i64> {
        let seq = self.commit_seq(commit)?;
        let sql = "SELECT 1 FROM commits WHERE seq = ? AND (finished IS NULL) = ?";
        match read::one(self.conn, sql, params![seq, open], |_| Ok(()))? {
            Some(()) => Ok(seq),
            None if open => Err(conflict(format_args!("commit {commit} has finished"))),
            None => Err(conflict(format_args!("commit {commit} is open"))),
        }
    }

    pub(super) fn optional_commit_seq(
        &self,
        repo: &Repo,
        id: Option<CommitId>,
    ) -> Result<Option<i64>> {
        id.map(|id| self.commit_seq(&repo.commit(id))).transpose()
    }
}
