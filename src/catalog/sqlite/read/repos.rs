//! Projects, repos, branches.

use rusqlite::{Connection, Row, params};

use super::{all, one};
use crate::catalog::sqlite::decode::{self, json, optional_commit, text, time};
use crate::catalog::{BranchRow, ProjectRow, RepoRow, Result};
use crate::model::{Branch, Commit, ProjectName, Repo};

pub fn projects(conn: &Connection) -> Result<Vec<ProjectRow>> {
    all(conn, "SELECT name, description, created FROM projects ORDER BY name", [], project_row)
}

pub fn project(conn: &Connection, name: &ProjectName) -> Result<Option<ProjectRow>> {
    let sql = "SELECT name, description, created FROM projects WHERE name = ?";
    one(conn, sql, [name.as_str()], project_row)
}

fn project_row(row: &Row<'_>) -> Result<ProjectRow> {
    Ok(ProjectRow { name: text(row, 0)?, description: row.get(1)?, created: time(row, 2)? })
}

pub fn repos(conn: &Connection, project: Option<&ProjectName>) -> Result<Vec<RepoRow>> {
    let sql = "SELECT project, name, kind, description, created FROM repos
        WHERE ?1 IS NULL OR project = ?1 ORDER BY key DESC";
    all(conn, sql, [project.map(ProjectName::as_str)], repo_row)
}

pub fn repo(conn: &Connection, repo: &Repo) -> Result<Option<RepoRow>> {
    let sql = "SELECT project, name, kind, description, created FROM repos
        WHERE project = ? AND name = ? AND kind = ?";
    let key = params![repo.project.as_str(), repo.name.as_str(), repo.kind.as_str()];
    one(conn, sql, key, repo_row)
}

fn repo_row(row: &Row<'_>) -> Result<RepoRow> {
    Ok(RepoRow { repo: decode::repo(row, 0)?, description: row.get(3)?, created: time(row, 4)? })
}

pub fn repo_key(conn: &Connection, repo: &Repo) -> Result<Option<i64>> {
    let sql = "SELECT key FROM repos WHERE project = ? AND name = ? AND kind = ?";
    let key = params![repo.project.as_str(), repo.name.as_str(), repo.kind.as_str()];
    one(conn, sql, key, |row| Ok(row.get(0)?))
}

const BRANCH: &str = "SELECT b.key, r.project, r.name, r.kind, b.name, c.id, b.rule, b.created
    FROM branches b JOIN repos r ON r.key = b.repo LEFT JOIN commits c ON c.seq = b.head";

pub fn branches(conn: &Connection, repo: &Repo) -> Result<Vec<BranchRow>> {
    let Some(key) = repo_key(conn, repo)? else { return Ok(Vec::new()) };
    let sql = format!("{BRANCH} WHERE b.repo = ? ORDER BY b.key DESC");
    all(conn, &sql, [key], |row| branch_row(conn, row))
}

pub fn branch(conn: &Connection, branch: &Branch) -> Result<Option<BranchRow>> {
    let Some(key) = branch_key(conn, branch)? else { return Ok(None) };
    one(conn, &format!("{BRANCH} WHERE b.key = ?"), [key], |row| branch_row(conn, row))
}

pub fn branches_at(conn: &Connection, commit: &Commit) -> Result<Vec<BranchRow>> {
    let Some(seq) = super::commits::commit_seq(conn, commit)? else { return Ok(Vec::new()) };
    let sql = format!("{BRANCH} WHERE b.head = ? ORDER BY b.key");
    all(conn, &sql, [seq], |row| branch_row(conn, row))
}

pub fn triggered_branches(conn: &Connection) -> Result<Vec<BranchRow>> {
    let sql = format!("{BRANCH} WHERE b.rule IS NOT NULL ORDER BY b.key");
    all(conn, &sql, [], |row| branch_row(conn, row))
}

pub fn downstream(conn: &Connection, branches: &[Branch]) -> Result<Vec<BranchRow>> {
    let mut keys = Vec::new();
    for branch in branches {
        keys.extend(branch_key(conn, branch)?);
    }
    let mut known: std::collections::BTreeSet<i64> = keys.iter().copied().collect();
    let mut rows = Vec::new();
    while let Some(key) = keys.pop() {
        let sql = "SELECT DISTINCT derived FROM branch_provenance WHERE upstream = ?";
        for derived in all(conn, sql, [key], |row| Ok(row.get::<_, i64>(0)?))? {
            if known.insert(derived) {
                keys.push(derived);
                let sql = format!("{BRANCH} WHERE b.key = ?");
                rows.extend(one(conn, &sql, [derived], |row| branch_row(conn, row))?);
            }
        }
    }
    Ok(rows)
}

pub fn branch_key(conn: &Connection, branch: &Branch) -> Result<Option<i64>> {
    let Some(repo) = repo_key(conn, &branch.repo)? else { return Ok(None) };
    let sql = "SELECT key FROM branches WHERE repo = ? AND name = ?";
    one(conn, sql, params![repo, branch.name.as_str()], |row| Ok(row.get(0)?))
}

fn branch_row(conn: &Connection, row: &Row<'_>) -> Result<BranchRow> {
    let trigger = match row.get_ref(6)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(json(row, 6)?),
    };
    Ok(BranchRow {
        branch: decode::repo(row, 1)?.branch(text(row, 4)?),
        head: optional_commit(row, 5)?,
        provenance: branch_provenance(conn, row.get(0)?)?,
        trigger,
        created: time(row, 7)?,
    })
}

pub fn branch_provenance(conn: &Connection, key: i64) -> Result<Vec<Branch>> {
    let sql = "SELECT r.project, r.name, r.kind, u.name FROM branch_provenance p
        JOIN branches u ON u.key = p.upstream JOIN repos r ON r.key = u.repo
        WHERE p.derived = ? ORDER BY p.position";
    all(conn, sql, [key], |row| Ok(decode::repo(row, 0)?.branch(text(row, 3)?)))
}

pub fn wiring(conn: &Connection) -> Result<u64> {
    let version = one(conn, "SELECT version FROM wiring", [], |row| decode::count(row, 0))?;
    version.ok_or_else(|| decode::damaged("the table wiring is empty"))
}
