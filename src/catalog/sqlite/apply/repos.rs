//! Projects, repos, branches.

use rusqlite::params;

use super::Batch;
use crate::catalog::sqlite::decode::{conflict, to_json};
use crate::catalog::sqlite::read;
use crate::catalog::{BranchRow, Event, ProjectRow, RepoRow, Result, Trigger};
use crate::model::{Branch, CommitId, ProjectName, Repo};

impl Batch<'_> {
    pub(super) fn create_project(&self, row: &ProjectRow) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO projects (name, description, created) VALUES (?, ?, ?)";
        let values = params![row.name.as_str(), row.description, row.created.as_nanos()];
        self.run_one(sql, values, format_args!("project {} exists", row.name))?;
        self.emit(&Event::Project(row.name.clone()))
    }

    pub(super) fn describe_project(&self, name: &ProjectName, description: &str) -> Result<()> {
        let sql = "UPDATE projects SET description = ? WHERE name = ?";
        let gone = format_args!("project {name} is gone");
        self.run_one(sql, params![description, name.as_str()], gone)?;
        self.emit(&Event::Project(name.clone()))
    }

    pub(super) fn delete_project(&self, name: &ProjectName) -> Result<()> {
        let sql = "DELETE FROM projects WHERE name = ?";
        self.run_one(sql, [name.as_str()], format_args!("project {name} is gone"))?;
        self.emit(&Event::Project(name.clone()))
    }

    pub(super) fn create_repo(&self, row: &RepoRow) -> Result<()> {
        let repo = &row.repo;
        if read::repos::project(self.conn, &repo.project)?.is_none() {
            return Err(conflict(format_args!("project {} is gone", repo.project)));
        }
        let sql = "INSERT OR IGNORE INTO repos (project, name, kind, description, created)
            VALUES (?, ?, ?, ?, ?)";
        let values = params![
            repo.project.as_str(),
            repo.name.as_str(),
            repo.kind.as_str(),
            row.description,
            row.created.as_nanos()
        ];
        self.run_one(sql, values, format_args!("repo {repo} exists"))?;
        self.emit(&Event::Repo(repo.clone()))
    }

    pub(super) fn describe_repo(&self, repo: &Repo, description: &str) -> Result<()> {
        let key = self.repo_key(repo)?;
        self.run("UPDATE repos SET description = ? WHERE key = ?", params![description, key])?;
        self.emit(&Event::Repo(repo.clone()))
    }

    pub(super) fn delete_repo(&self, repo: &Repo) -> Result<()> {
        let key = self.repo_key(repo)?;
        let foreign = "SELECT 1 FROM branch_provenance p
            JOIN branches u ON u.key = p.upstream JOIN branches d ON d.key = p.derived
            WHERE u.repo = ?1 AND d.repo <> ?1";
        if read::one(self.conn, foreign, [key], |_| Ok(()))?.is_some() {
            return Err(conflict(format_args!("a branch derives from repo {repo}")));
        }
        for sql in [
            "DELETE FROM branch_provenance
                WHERE derived IN (SELECT key FROM branches WHERE repo = ?)",
            "DELETE FROM branches WHERE repo = ?",
            "DELETE FROM provenance WHERE derived IN (SELECT seq FROM commits WHERE repo = ?)",
            "DELETE FROM provenance WHERE upstream IN (SELECT seq FROM commits WHERE repo = ?)",
            "DELETE FROM commits WHERE repo = ?",
            "DELETE FROM repos WHERE key = ?",
        ] {
            self.run(sql, [key])?;
        }
        self.bump_wiring()?;
        self.emit(&Event::Repo(repo.clone()))
    }

    pub(super) fn create_branch(&self, row: &BranchRow) -> Result<()> {
        let Branch { repo, name } = &row.branch;
        let head = self.optional_commit_seq(repo, row.head)?;
        let sql = "INSERT OR IGNORE INTO branches (repo, name, head, rule, created)
            VALUES (?, ?, ?, ?, ?)";
        let rule = row.trigger.as_ref().map(to_json).transpose()?;
        let repo = self.repo_key(repo)?;
        let values = params![repo, name.as_str(), head, rule, row.created.as_nanos()];
        self.run_one(sql, values, format_args!("branch {} exists", row.branch))?;
        let key = self.conn.last_insert_rowid();
        if !row.provenance.is_empty() {
            self.insert_provenance(key, &row.provenance)?;
            self.bump_wiring()?;
        }
        self.emit(&Event::Branch(row.branch.clone()))
    }

    fn insert_provenance(&self, key: i64, provenance: &[Branch]) -> Result<()> {
        for (position, upstream) in (0_i64..).zip(provenance) {
            let upstream = self.branch_key(upstream)?;
            let sql = "INSERT INTO branch_provenance (derived, position, upstream)
                VALUES (?, ?, ?)";
            self.run(sql, params![key, position, upstream])?;
        }
        Ok(())
    }

    pub(super) fn move_head(
        &self,
        branch: &Branch,
        expected: Option<CommitId>,
        new: Option<CommitId>,
    ) -> Result<()> {
        let key = self.expect_head(branch, expected)?;
        let head = self.optional_commit_seq(&branch.repo, new)?;
        self.run("UPDATE branches SET head = ? WHERE key = ?", params![head, key])?;
        self.emit(&Event::Branch(branch.clone()))
    }

    pub(super) fn set_provenance(
        &self,
        branch: &Branch,
        expected: &[Branch],
        new: &[Branch],
    ) -> Result<()> {
        let key = self.branch_key(branch)?;
        if read::repos::branch_provenance(self.conn, key)? != expected {
            return Err(conflict(format_args!("the provenance of {branch} has changed")));
        }
        self.run("DELETE FROM branch_provenance WHERE derived = ?", [key])?;
        self.insert_provenance(key, new)?;
        self.bump_wiring()?;
        self.emit(&Event::Branch(branch.clone()))
    }

    pub(super) fn set_trigger(&self, branch: &Branch, trigger: Option<&Trigger>) -> Result<()> {
        let key = self.branch_key(branch)?;
        let rule = trigger.map(to_json).transpose()?;
        self.run("UPDATE branches SET rule = ? WHERE key = ?", params![rule, key])?;
        self.emit(&Event::Branch(branch.clone()))
    }

    pub(super) fn delete_branch(&self, branch: &Branch, expected: Option<CommitId>) -> Result<()> {
        let key = self.expect_head(branch, expected)?;
        self.run("DELETE FROM branch_provenance WHERE derived = ?", [key])?;
        self.bump_wiring()?;
        // A branch that derives from this one fails the foreign key.
        self.run("DELETE FROM branches WHERE key = ?", [key])?;
        self.emit(&Event::Branch(branch.clone()))
    }

    fn bump_wiring(&self) -> Result<()> {
        self.run("UPDATE wiring SET version = version + 1", []).map(drop)
    }

    pub(super) fn expect_wiring(&self, version: u64) -> Result<()> {
        match read::repos::wiring(self.conn)? == version {
            true => Ok(()),
            false => Err(conflict("the provenance of a branch has changed")),
        }
    }

    /// The branch's key, if its head is as expected.
    pub(super) fn expect_head(&self, branch: &Branch, expected: Option<CommitId>) -> Result<i64> {
        let key = self.branch_key(branch)?;
        let sql = "SELECT c.id FROM branches b LEFT JOIN commits c ON c.seq = b.head
            WHERE b.key = ?";
        let decode =
            |row: &rusqlite::Row<'_>| crate::catalog::sqlite::decode::optional_commit(row, 0);
        match read::one(self.conn, sql, [key], decode)?.flatten() == expected {
            true => Ok(key),
            false => Err(conflict(format_args!("the head of {branch} has moved"))),
        }
    }

    pub(super) fn repo_key(&self, repo: &Repo) -> Result<i64> {
        read::repos::repo_key(self.conn, repo)?
            .ok_or_else(|| conflict(format_args!("repo {repo} is gone")))
    }

    fn branch_key(&self, branch: &Branch) -> Result<i64> {
        read::repos::branch_key(self.conn, branch)?
            .ok_or_else(|| conflict(format_args!("branch {branch} is gone")))
    }
}
