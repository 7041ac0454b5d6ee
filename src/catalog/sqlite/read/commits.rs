//! Commits, their order, their provenance.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::repos::repo_key;
use super::{all, limit, one};
use crate::catalog::sqlite::decode::{
    self, bytes, count, id, integer, optional_commit, optional_text, optional_time, time,
};
use crate::catalog::{Back, CommitQuery, CommitRow, Origin, Reach, Result, StoredRoot};
use crate::model::{BranchName, Commit, CommitId, Repo, Timestamp};

const COMMIT: &str = "SELECT c.seq, r.project, r.name, r.kind, c.id, c.branch, p.id, c.number,
    c.origin, c.description, c.author, c.started, c.finished, c.error, c.root, c.files, c.bytes
    FROM commits c JOIN repos r ON r.key = c.repo LEFT JOIN commits p ON p.seq = c.parent";

pub fn commit_seq(conn: &Connection, commit: &Commit) -> Result<Option<i64>> {
    let Some(repo) = repo_key(conn, &commit.repo)? else { return Ok(None) };
    let sql = "SELECT seq FROM commits WHERE repo = ? AND id = ?";
    one(conn, sql, params![repo, commit.id.as_bytes()], |row| Ok(row.get(0)?))
}

pub fn commit(conn: &Connection, commit: &Commit) -> Result<Option<CommitRow>> {
    match commit_seq(conn, commit)? {
        Some(seq) => commit_at(conn, seq),
        None => Ok(None),
    }
}

fn commit_at(conn: &Connection, seq: i64) -> Result<Option<CommitRow>> {
    one(conn, &format!("{COMMIT} WHERE c.seq = ?"), [seq], |row| commit_row(conn, row))
}

fn commit_row(conn: &Connection, row: &Row<'_>) -> Result<CommitRow> {
    let root =
        StoredRoot { encoded: bytes(row, 14)?, files: count(row, 15)?, bytes: count(row, 16)? };
    Ok(CommitRow {
        commit: decode::repo(row, 1)?.commit(id(row, 4)?),
        seq: count(row, 0)?,
        branch: optional_text(row, 5)?,
        parent: optional_commit(row, 6)?,
        number: count(row, 7)?,
        origin: decode::origin(row, 8)?,
        description: row.get(9)?,
        author: row.get(10)?,
        started: time(row, 11)?,
        finished: optional_time(row, 12)?,
        error: row.get(13)?,
        root,
        provenance: direct(conn, row.get(0)?, UPSTREAM)?,
    })
}

const UPSTREAM: &str = "SELECT r.project, r.name, r.kind, c.id FROM provenance v
    JOIN commits c ON c.seq = v.upstream JOIN repos r ON r.key = c.repo
    WHERE v.derived = ? ORDER BY v.position";

const DERIVED: &str = "SELECT r.project, r.name, r.kind, c.id FROM provenance v
    JOIN commits c ON c.seq = v.derived JOIN repos r ON r.key = c.repo
    WHERE v.upstream = ? ORDER BY v.derived";

fn direct(conn: &Connection, seq: i64, sql: &str) -> Result<Vec<Commit>> {
    all(conn, sql, [seq], |row| Ok(decode::repo(row, 0)?.commit(id(row, 3)?)))
}

pub fn commits(conn: &Connection, query: &CommitQuery) -> Result<Vec<CommitRow>> {
    let Some(repo) = repo_key(conn, &query.repo)? else { return Ok(Vec::new()) };
    // The branch decides which index serves; the origin is rarely selective.
    let branch = if query.branch.is_some() { "AND c.branch = ?2" } else { "AND ?2 IS NULL" };
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let sql = format!(
        "{COMMIT} WHERE c.repo = ?1 {branch} AND c.seq > ?3 AND c.seq < ?4
        AND (?5 IS NULL OR c.origin = ?5) ORDER BY c.seq {order} LIMIT ?6"
    );
    let params = params![
        repo,
        query.branch.as_ref().map(BranchName::as_str),
        query.after.map_or(Ok(0), integer)?,
        query.before.map_or(Ok(i64::MAX), integer)?,
        query.origin.map(Origin::as_str),
        limit(query.limit),
    ];
    all(conn, &sql, params, |row| commit_row(conn, row))
}

pub fn by_prefix(
    conn: &Connection,
    repo: &Repo,
    prefix: &str,
    most: usize,
) -> Result<Vec<CommitId>> {
    let Some(repo) = repo_key(conn, repo)? else { return Ok(Vec::new()) };
    let Some((low, high)) = prefix_range(prefix) else { return Ok(Vec::new()) };
    let sql = "SELECT id FROM commits WHERE repo = ? AND id BETWEEN ? AND ? ORDER BY id LIMIT ?";
    all(conn, sql, params![repo, low, high, limit(most)], |row| id(row, 0))
}

pub fn sets_by_prefix(conn: &Connection, prefix: &str, most: usize) -> Result<Vec<CommitId>> {
    let Some((low, high)) = prefix_range(prefix) else { return Ok(Vec::new()) };
    let sql = "SELECT DISTINCT id FROM commits WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?";
    all(conn, sql, params![low, high, limit(most)], |row| id(row, 0))
}

/// The least and the greatest id that begin with the digits.
fn prefix_range(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let padded = |digit: &str| {
        let missing = 32_usize.checked_sub(prefix.len())?;
        let text = format!("{prefix}{}", digit.repeat(missing));
        text.parse::<CommitId>().ok().map(|id| *id.as_bytes())
    };
    padded("0").zip(padded("f"))
}

/// What a walk along parents looks at.
struct Step {
    seq: i64,
    number: i64,
    parent: Option<i64>,
    jump: Option<i64>,
    finished: Option<Timestamp>,
    good: bool,
}

fn step(conn: &Connection, seq: Option<i64>) -> Result<Option<Step>> {
    let Some(seq) = seq else { return Ok(None) };
    let sql = "SELECT seq, number, parent, jump, finished, error IS NULL FROM commits
        WHERE seq = ?";
    one(conn, sql, [seq], |row| {
        let finished = optional_time(row, 4)?;
        Ok(Step {
            seq: row.get(0)?,
            number: row.get(1)?,
            parent: row.get(2)?,
            jump: row.get(3)?,
            finished,
            good: finished.is_some() && row.get(5)?,
        })
    })
}

/// The number and the jump of a commit whose parent is `parent`.
///
/// Jumps follow the skew-binary scheme: two of equal length in a row are
/// joined to one, so that any ancestor is a logarithmic number of jumps and
/// parents away.
pub fn place(conn: &Connection, parent: Option<i64>) -> Result<(i64, Option<i64>)> {
    let Some(parent) = step(conn, parent)? else { return Ok((1, None)) };
    let number = parent.number + 1;
    if let Some(first) = step(conn, parent.jump)?
        && let Some(second) = step(conn, first.jump)?
        && parent.number - first.number == first.number - second.number
    {
        return Ok((number, Some(second.seq)));
    }
    Ok((number, Some(parent.seq)))
}

pub fn ancestor(conn: &Connection, commit: &Commit, back: Back) -> Result<Option<CommitRow>> {
    let Some(start) = step(conn, commit_seq(conn, commit)?)? else { return Ok(None) };
    let found = match back {
        Back::Steps(steps) => steps_back(conn, start, steps)?,
        Back::Number(number) => with_number(conn, start, integer(number)?)?,
        Back::Good => good_at(conn, start, None)?,
        Back::GoodAt(time) => good_at(conn, start, Some(time))?,
    };
    found.map_or(Ok(None), |step| commit_at(conn, step.seq))
}

fn steps_back(conn: &Connection, start: Step, steps: u64) -> Result<Option<Step>> {
    let mut at = start;
    for _ in 0..steps {
        match step(conn, at.parent)? {
            Some(parent) => at = parent,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn with_number(conn: &Connection, start: Step, number: i64) -> Result<Option<Step>> {
    if number < 1 || start.number < number {
        return Ok(None);
    }
    let mut at = start;
    loop {
        let jump = step(conn, at.jump)?.filter(|to| to.number >= number);
        let next = match jump {
            Some(to) => Some(to),
            None => step(conn, at.parent)?.filter(|to| to.number >= number),
        };
        match next {
            Some(to) => at = to,
            None => return Ok(Some(at)),
        }
    }
}

fn good_at(conn: &Connection, start: Step, time: Option<Timestamp>) -> Result<Option<Step>> {
    let late = |step: &Step| time.is_some_and(|time| step.finished.is_none_or(|f| f > time));
    let mut at = Some(start);
    while let Some(here) = at {
        if here.good && !late(&here) {
            return Ok(Some(here));
        }
        let jump = step(conn, here.jump)?.filter(|to| to.finished.is_some() && late(to));
        at = match jump {
            Some(to) => Some(to),
            None => step(conn, here.parent)?,
        };
    }
    Ok(None)
}

pub fn ancestors(
    conn: &Connection,
    commit: &Commit,
    until: Option<CommitId>,
    most: usize,
) -> Result<Vec<CommitRow>> {
    let until = match until {
        Some(id) => commit_seq(conn, &commit.repo.commit(id))?,
        None => None,
    };
    let mut at = step(conn, commit_seq(conn, commit)?)?;
    let mut found = Vec::new();
    while let Some(here) = at {
        if Some(here.seq) == until || found.len() == most {
            break;
        }
        found.extend(commit_at(conn, here.seq)?);
        at = step(conn, here.parent)?;
    }
    Ok(found)
}

pub fn children(conn: &Connection, commit: &Commit) -> Result<Vec<CommitId>> {
    let Some(seq) = commit_seq(conn, commit)? else { return Ok(Vec::new()) };
    all(conn, "SELECT id FROM commits WHERE parent = ? ORDER BY seq", [seq], |row| id(row, 0))
}

pub fn set(conn: &Connection, set: CommitId) -> Result<Vec<CommitRow>> {
    let sql = format!("{COMMIT} WHERE c.id = ? ORDER BY c.seq");
    all(conn, &sql, [set.as_bytes()], |row| commit_row(conn, row))
}

pub fn sets(conn: &Connection, before: Option<u64>, most: usize) -> Result<Vec<(CommitId, u64)>> {
    let sql = "SELECT c.id, c.seq FROM commits c WHERE c.seq < ?1
        AND NOT EXISTS (SELECT 1 FROM commits d WHERE d.id = c.id AND d.seq > c.seq)
        ORDER BY c.seq DESC LIMIT ?2";
    let before = before.map_or(Ok(i64::MAX), integer)?;
    all(conn, sql, params![before, limit(most)], |row| Ok((id(row, 0)?, count(row, 1)?)))
}

pub fn provenance(conn: &Connection, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
    let edges = "SELECT upstream FROM provenance WHERE derived = ?";
    related(conn, commit, reach, UPSTREAM, edges)
}

pub fn subvenance(conn: &Connection, commit: &Commit, reach: Reach) -> Result<Vec<Commit>> {
    let edges = "SELECT derived FROM provenance WHERE upstream = ?";
    related(conn, commit, reach, DERIVED, edges)
}

fn related(
    conn: &Connection,
    commit: &Commit,
    reach: Reach,
    neighbours: &str,
    edges: &str,
) -> Result<Vec<Commit>> {
    let Some(start) = commit_seq(conn, commit)? else { return Ok(Vec::new()) };
    match reach {
        Reach::Direct => direct(conn, start, neighbours),
        Reach::All => closure(conn, start, edges)?
            .into_iter()
            .map(|seq| key_at(conn, seq))
            .filter_map(Result::transpose)
            .collect(),
    }
}

/// Everything reachable, in creation order: that is upstream first.
fn closure(conn: &Connection, start: i64, edges: &str) -> Result<BTreeSet<i64>> {
    let mut known = BTreeSet::new();
    let mut open = vec![start];
    while let Some(seq) = open.pop() {
        for next in all(conn, edges, [seq], |row| Ok(row.get::<_, i64>(0)?))? {
            if known.insert(next) {
                open.push(next);
            }
        }
    }
    Ok(known)
}

fn key_at(conn: &Connection, seq: i64) -> Result<Option<Commit>> {
    let sql = "SELECT r.project, r.name, r.kind, c.id FROM commits c
        JOIN repos r ON r.key = c.repo WHERE c.seq = ?";
    one(conn, sql, [seq], |row| Ok(decode::repo(row, 0)?.commit(id(row, 3)?)))
}
