//! Write transactions, secrets, packs, leases, events, settings.

use bytes::Bytes;
use rusqlite::params;

use super::Batch;
use crate::catalog::sqlite::decode::{conflict, integer, to_json};
use crate::catalog::sqlite::read;
use crate::catalog::{
    Event, FileSetRow, GatheredRow, PackRow, Result, SecretRow, TransactionChange, TransactionRow,
    TransactionState,
};
use crate::model::{CommitId, FileSetId, PackId, Timestamp, TransactionId};

impl Batch<'_> {
    pub(super) fn create_transaction(&self, row: &TransactionRow) -> Result<()> {
        let exists = read::records::transaction(self.conn, row.id)?.is_some();
        match exists {
            true => Err(conflict(format_args!("transaction {} exists", row.id))),
            false => self.write_transaction(row),
        }
    }

    pub(super) fn update_transaction(
        &self,
        id: TransactionId,
        expected: &[TransactionState],
        change: &TransactionChange,
    ) -> Result<()> {
        let gone = || conflict(format_args!("transaction {id} is gone"));
        let mut row = read::records::transaction(self.conn, id)?.ok_or_else(gone)?;
        if !expected.contains(&row.state) {
            return Err(conflict(format_args!("transaction {id} is {}", row.state)));
        }
        change.clone().apply_to(&mut row);
        self.write_transaction(&row)
    }

    fn write_transaction(&self, row: &TransactionRow) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO transactions (id, branch, base, state, host, staging,
            root, files, bytes, message, reason, outcome, created, lease_until, base_root)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            row.id.as_bytes(),
            to_json(&row.branch)?,
            row.base.map(|id| *id.as_bytes()),
            row.state.as_str(),
            row.host,
            row.staging,
            &*row.root.encoded,
            integer(row.root.files)?,
            integer(row.root.bytes)?,
            row.message,
            row.reason,
            row.commit.map(|id| *id.as_bytes()),
            row.created.as_nanos(),
            row.lease_until.as_nanos(),
            row.base_root.as_deref(),
        ];
        self.run(sql, values)?;
        self.emit(&Event::Transaction(row.id))
    }

    pub(super) fn expect_staged(&self, id: TransactionId, root: &Bytes) -> Result<()> {
        match read::records::transaction(self.conn, id)? {
            Some(row) if row.root.encoded == *root => Ok(()),
            Some(_) => Err(conflict(format_args!("transaction {id} has staged something else"))),
            None => Err(conflict(format_args!("transaction {id} is gone"))),
        }
    }

    pub(super) fn renew_transaction(&self, id: TransactionId, until: Timestamp) -> Result<()> {
        let ended = [TransactionState::Committed.as_str(), TransactionState::Aborted.as_str()];
        let sql = "UPDATE transactions SET lease_until = ?,
            state = CASE state WHEN ? THEN ? ELSE state END
            WHERE id = ? AND state NOT IN (?, ?)";
        let (orphaned, open) = (TransactionState::Orphaned, TransactionState::Open);
        let values = params![
            until.as_nanos(),
            orphaned.as_str(),
            open.as_str(),
            id.as_bytes(),
            ended[0],
            ended[1],
        ];
        self.run_one(sql, values, format_args!("transaction {id} has ended"))
    }

    pub(super) fn expect_lapsed(&self, id: TransactionId, before: Timestamp) -> Result<()> {
        let row = read::records::transaction(self.conn, id)?;
        match row.is_some_and(|row| row.lease_until < before) {
            true => Ok(()),
            false => Err(conflict(format_args!("transaction {id} was renewed or is gone"))),
        }
    }

    pub(super) fn delete_transaction(&self, id: TransactionId) -> Result<()> {
        let sql = "DELETE FROM transactions WHERE id = ?";
        self.run_one(sql, [id.as_bytes()], format_args!("transaction {id} is gone"))?;
        self.emit(&Event::Transaction(id))
    }

    pub(super) fn put_gathered(&self, row: &GatheredRow, expected: Option<u64>) -> Result<()> {
        let found = read::records::gathered(self.conn, row.id)?.map(|row| row.version);
        if found != expected {
            return Err(conflict(format_args!("transaction {} has changed", row.id)));
        }
        let sql = "INSERT OR REPLACE INTO gathered (id, calls, version, started)
            VALUES (?, ?, ?, ?)";
        let version = integer(row.version)?;
        let values = params![row.id.as_bytes(), &*row.calls, version, row.started.as_nanos()];
        self.run(sql, values).map(drop)
    }

    pub(super) fn delete_gathered(&self, id: CommitId, version: u64) -> Result<()> {
        let sql = "DELETE FROM gathered WHERE id = ? AND version = ?";
        let values = params![id.as_bytes(), integer(version)?];
        self.run_one(sql, values, format_args!("transaction {id} has changed"))
    }

    pub(super) fn create_file_set(&self, row: &FileSetRow) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO file_sets (id, root, files, bytes, created, until)
            VALUES (?, ?, ?, ?, ?, ?)";
        let values = params![
            row.id.as_bytes(),
            &*row.root.encoded,
            integer(row.root.files)?,
            integer(row.root.bytes)?,
            row.created.as_nanos(),
            row.until.as_nanos(),
        ];
        self.run_one(sql, values, format_args!("file set {} exists", row.id))
    }

    pub(super) fn renew_file_set(&self, id: FileSetId, until: Timestamp) -> Result<()> {
        let sql = "UPDATE file_sets SET until = ? WHERE id = ?";
        let gone = format_args!("file set {id} is gone");
        self.run_one(sql, params![until.as_nanos(), id.as_bytes()], gone)
    }

    pub(super) fn drop_file_sets(&self, now: Timestamp) -> Result<()> {
        self.run("DELETE FROM file_sets WHERE until < ?", [now.as_nanos()]).map(drop)
    }

    pub(super) fn delete_setting(&self, key: &str) -> Result<()> {
        self.run("DELETE FROM settings WHERE key = ?", [key]).map(drop)
    }

    pub(super) fn put_secret(&self, row: &SecretRow) -> Result<()> {
        self.run("DELETE FROM secret_values WHERE secret = ?", [&row.name])?;
        let sql = "INSERT OR REPLACE INTO secrets (name, kind, created) VALUES (?, ?, ?)";
        self.run(sql, params![row.name, row.kind, row.created.as_nanos()])?;
        for (key, value) in &row.values {
            let sql = "INSERT INTO secret_values (secret, key, value) VALUES (?, ?, ?)";
            self.run(sql, params![row.name, key, &**value])?;
        }
        self.emit(&Event::Secret(row.name.clone()))
    }

    pub(super) fn delete_secret(&self, name: &str) -> Result<()> {
        self.run("DELETE FROM secret_values WHERE secret = ?", [name])?;
        let gone = format_args!("secret {name} is gone");
        self.run_one("DELETE FROM secrets WHERE name = ?", [name], gone)?;
        self.emit(&Event::Secret(name.to_owned()))
    }

    pub(super) fn create_pack(&self, row: &PackRow) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO packs (id, bytes, created) VALUES (?, ?, ?)";
        let values = params![row.id.as_bytes(), integer(row.bytes)?, row.created.as_nanos()];
        self.run(sql, values).map(drop)
    }

    pub(super) fn delete_pack(&self, id: PackId) -> Result<()> {
        self.run("DELETE FROM packs WHERE id = ?", [id.as_bytes()]).map(drop)
    }

    pub(super) fn take_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        let sql = "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET holder = ?2, until = ?3
            WHERE holder = ?2 OR until <= ?4";
        let values = params![name, holder, until.as_nanos(), now.as_nanos()];
        self.run_one(sql, values, format_args!("another holds the lease {name}"))
    }

    pub(super) fn drop_lease(&self, name: &str, holder: &str) -> Result<()> {
        self.run("DELETE FROM leases WHERE name = ? AND holder = ?", [name, holder]).map(drop)
    }

    pub(super) fn acknowledge(&self, consumer: &str, seq: u64) -> Result<()> {
        let sql = "INSERT INTO consumers (name, seq) VALUES (?1, ?2)
            ON CONFLICT (name) DO UPDATE SET seq = max(seq, ?2)";
        self.run(sql, params![consumer, integer(seq)?]).map(drop)
    }

    pub(super) fn trim_events(&self, keep: u64, most: u64) -> Result<()> {
        let newest = read::records::newest_event(self.conn)?;
        let sql = "DELETE FROM events WHERE seq <= ?1
            AND seq < (SELECT min(seq) FROM events) + ?2
            AND seq <= coalesce((SELECT min(seq) FROM consumers), ?1)";
        let last = newest.saturating_sub(keep);
        self.run(sql, [integer(last)?, integer(most)?]).map(drop)
    }

    pub(super) fn put_setting(&self, key: &str, value: &Bytes) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)";
        self.run(sql, params![key, &**value]).map(drop)
    }
}
