//! Write transactions, secrets, events, packs, leases, settings.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::{all, limit, one};
use crate::catalog::sqlite::decode::{
    bytes, count, id, integer, json, optional_commit, state, time,
};
use crate::catalog::{
    EventRow, FileSetRow, GatheredRow, LeaseRow, PackRow, Result, SecretRow, StoredRoot,
    TransactionRow, TransactionState,
};
use crate::model::{CommitId, FileSetId, PackId, Timestamp, TransactionId};

const TRANSACTION: &str = "SELECT id, branch, base, state, host, staging, root, files, bytes,
    message, reason, outcome, created, lease_until, base_root FROM transactions";

pub fn transactions(conn: &Connection, states: &[TransactionState]) -> Result<Vec<TransactionRow>> {
    let only = match states.len() {
        0 => String::new(),
        n => format!("WHERE state IN ({})", vec!["?"; n].join(", ")),
    };
    let sql = format!("{TRANSACTION} {only} ORDER BY created, id");
    let values = states.iter().map(|s| Value::Text(s.as_str().to_owned()));
    all(conn, &sql, params_from_iter(values), transaction_row)
}

pub fn lapsed_transactions(
    conn: &Connection,
    state: TransactionState,
    before: Timestamp,
    most: usize,
) -> Result<Vec<TransactionRow>> {
    let sql =
        format!("{TRANSACTION} WHERE state = ? AND lease_until < ? ORDER BY lease_until LIMIT ?");
    all(conn, &sql, params![state.as_str(), before.as_nanos(), limit(most)], transaction_row)
}

pub fn transaction(conn: &Connection, id: TransactionId) -> Result<Option<TransactionRow>> {
    one(conn, &format!("{TRANSACTION} WHERE id = ?"), [id.as_bytes()], transaction_row)
}

fn transaction_row(row: &Row<'_>) -> Result<TransactionRow> {
    Ok(TransactionRow {
        id: id(row, 0)?,
        branch: json(row, 1)?,
        base: optional_commit(row, 2)?,
        state: state(row, 3, TransactionState::parse)?,
        host: row.get(4)?,
        staging: row.get(5)?,
        root: StoredRoot { encoded: bytes(row, 6)?, files: count(row, 7)?, bytes: count(row, 8)? },
        message: row.get(9)?,
        reason: row.get(10)?,
        commit: optional_commit(row, 11)?,
        created: time(row, 12)?,
        lease_until: time(row, 13)?,
        base_root: row.get::<_, Option<Vec<u8>>>(14)?.map(Bytes::from),
    })
}

const GATHERED: &str = "SELECT id, calls, version, started FROM gathered";

pub fn all_gathered(conn: &Connection) -> Result<Vec<GatheredRow>> {
    all(conn, &format!("{GATHERED} ORDER BY started, id"), [], gathered_row)
}

pub fn gathered(conn: &Connection, id: CommitId) -> Result<Option<GatheredRow>> {
    one(conn, &format!("{GATHERED} WHERE id = ?"), [id.as_bytes()], gathered_row)
}

fn gathered_row(row: &Row<'_>) -> Result<GatheredRow> {
    Ok(GatheredRow {
        id: id(row, 0)?,
        calls: bytes(row, 1)?,
        version: count(row, 2)?,
        started: time(row, 3)?,
    })
}

const FILE_SET: &str = "SELECT id, root, files, bytes, created, until FROM file_sets";

pub fn file_sets(conn: &Connection) -> Result<Vec<FileSetRow>> {
    all(conn, &format!("{FILE_SET} ORDER BY created, id"), [], file_set_row)
}

pub fn file_set(conn: &Connection, id: FileSetId) -> Result<Option<FileSetRow>> {
    one(conn, &format!("{FILE_SET} WHERE id = ?"), [id.as_bytes()], file_set_row)
}

fn file_set_row(row: &Row<'_>) -> Result<FileSetRow> {
    Ok(FileSetRow {
        id: id(row, 0)?,
        root: StoredRoot { encoded: bytes(row, 1)?, files: count(row, 2)?, bytes: count(row, 3)? },
        created: time(row, 4)?,
        until: time(row, 5)?,
    })
}

pub fn secrets(conn: &Connection) -> Result<Vec<SecretRow>> {
    let sql = "SELECT name, kind, created FROM secrets ORDER BY name";
    all(conn, sql, [], |row| secret_row(conn, row))
}

pub fn secret(conn: &Connection, name: &str) -> Result<Option<SecretRow>> {
    let sql = "SELECT name, kind, created FROM secrets WHERE name = ?";
    one(conn, sql, [name], |row| secret_row(conn, row))
}

fn secret_row(conn: &Connection, row: &Row<'_>) -> Result<SecretRow> {
    let name: String = row.get(0)?;
    let sql = "SELECT key, value FROM secret_values WHERE secret = ? ORDER BY key";
    let values = all(conn, sql, [&name], |row| Ok((row.get(0)?, bytes(row, 1)?)))?;
    Ok(SecretRow {
        name,
        kind: row.get(1)?,
        values: values.into_iter().collect(),
        created: time(row, 2)?,
    })
}

pub fn events(conn: &Connection, after: u64, most: usize) -> Result<Vec<EventRow>> {
    let sql = "SELECT seq, at, event FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
    all(conn, sql, params![integer(after)?, limit(most)], |row| {
        Ok(EventRow { seq: count(row, 0)?, at: time(row, 1)?, event: json(row, 2)? })
    })
}

pub fn newest_event(conn: &Connection) -> Result<u64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(one(conn, sql, [], |row| count(row, 0))?.unwrap_or(0))
}

pub fn acknowledged(conn: &Connection, consumer: &str) -> Result<u64> {
    let sql = "SELECT seq FROM consumers WHERE name = ?";
    Ok(one(conn, sql, [consumer], |row| count(row, 0))?.unwrap_or(0))
}

pub fn packs(conn: &Connection, after: Option<PackId>, most: usize) -> Result<Vec<PackRow>> {
    let sql = "SELECT id, bytes, created FROM packs WHERE id > ? ORDER BY id LIMIT ?";
    let after = after.map_or(Vec::new(), |id| id.as_bytes().to_vec());
    all(conn, sql, params![after, limit(most)], |row| {
        Ok(PackRow { id: id(row, 0)?, bytes: count(row, 1)?, created: time(row, 2)? })
    })
}

pub fn lease(conn: &Connection, name: &str) -> Result<Option<LeaseRow>> {
    let sql = "SELECT name, holder, until FROM leases WHERE name = ?";
    one(conn, sql, [name], |row| {
        Ok(LeaseRow { name: row.get(0)?, holder: row.get(1)?, until: time(row, 2)? })
    })
}

pub fn setting(conn: &Connection, key: &str) -> Result<Option<Bytes>> {
    one(conn, "SELECT value FROM settings WHERE key = ?", [key], |row| bytes(row, 0))
}

pub fn check(conn: &Connection) -> Result<Vec<String>> {
    let mut found = all(conn, "PRAGMA integrity_check", [], |row| Ok(row.get::<_, String>(0)?))?;
    found.retain(|line| line != "ok");
    let dangling = all(conn, "PRAGMA foreign_key_check", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(2)?))
    })?;
    let name = |(table, target)| format!("a row of {table} names one of {target} that is gone");
    found.extend(dangling.into_iter().map(name));
    Ok(found)
}
