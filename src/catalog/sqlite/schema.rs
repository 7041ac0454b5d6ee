//! Opening a database: lock, settings, migrations.

use std::fs::{File, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, OpenFlags};

use super::decode::damaged;
use crate::catalog::{CatalogError, Result};

/// A shipped migration never changes; `user_version` counts those applied.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
];

/// Keeps every other process out for as long as it lives.
pub struct Lock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

/// Takes the lock beside the database at `path`.
pub fn lock(path: &Path) -> Result<Lock> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |e: &dyn std::fmt::Display| CatalogError::Failed {
        message: format!("cannot lock {}: {e}", name.display()),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|e| failed(&e))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Lock(held)),
        Err((_, Errno::EWOULDBLOCK)) => {
            Err(CatalogError::Locked { path: name.display().to_string() })
        }
        Err((_, e)) => Err(failed(&e)),
    }
}

/// The database holds secrets: nobody but its owner may read it, nor the
/// files beside it, which take their mode from it.
fn keep_private(path: &Path) -> Result<()> {
    let failed = |e: std::io::Error| CatalogError::Failed {
        message: format!("cannot create {}: {e}", path.display()),
    };
    let mut open = File::options();
    open.create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match std::fs::set_permissions(PathBuf::from(name), Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Opens the one connection that writes, creating or migrating the database.
pub fn writer(path: &Path) -> Result<Connection> {
    keep_private(path)?;
    let mut conn = Connection::open(path)?;
    configure(&conn)?;
    // WAL syncs its log at every commit in FULL mode: what was acknowledged
    // survives losing power.
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    migrate(&mut conn, path)?;
    Ok(conn)
}

/// Opens one more connection, for reading alone.
pub fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn)?;
    Ok(conn)
}

fn configure(conn: &Connection) -> Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(10))?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -8 * 1024)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    let known = u32::try_from(MIGRATIONS.len()).map_err(damaged)?;
    let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(CatalogError::Newer { path: path.display().to_string(), found, known });
    }
    for version in found..known {
        let tx = conn.transaction()?;
        tx.execute_batch(MIGRATIONS[version as usize])?;
        tx.pragma_update(None, "user_version", version + 1)?;
        tx.commit()?;
    }
    Ok(())
}
