//! Between columns and model types.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catalog::{CatalogError, Origin, Result};
use crate::model::{CommitId, Repo, RepoKind, Timestamp};

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Conflict { what: error.to_string() },
            Some(ErrorCode::DiskFull) => Self::NoSpace,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(error),
            _ => Self::Failed { message: error.to_string() },
        }
    }
}

/// An error about a row that cannot be understood.
pub fn damaged(what: impl Display) -> CatalogError {
    CatalogError::Damaged { what: what.to_string() }
}

/// A failed guard.
pub fn conflict(what: impl Display) -> CatalogError {
    CatalogError::Conflict { what: what.to_string() }
}

/// A column that holds a validated name or a state.
pub fn text<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> Result<T> {
    row.get_ref(at)?.as_str().map_err(damaged)?.parse().map_err(damaged)
}

/// A column that holds a validated name, or nothing.
pub fn optional_text<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> Result<Option<T>> {
    match row.get_ref(at)?.as_str_or_null().map_err(damaged)? {
        Some(text) => text.parse().map(Some).map_err(damaged),
        None => Ok(None),
    }
}

/// A column that holds an id of `N` bytes.
pub fn id<T: From<[u8; N]>, const N: usize>(row: &Row<'_>, at: usize) -> Result<T> {
    let bytes = row.get_ref(at)?.as_blob().map_err(damaged)?;
    <[u8; N]>::try_from(bytes).map(T::from).map_err(damaged)
}

/// A column that holds a commit id, or nothing.
pub fn optional_commit(row: &Row<'_>, at: usize) -> Result<Option<CommitId>> {
    match row.get_ref(at)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => id(row, at).map(Some),
    }
}

/// A column that holds a count.
pub fn count(row: &Row<'_>, at: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(at)?).map_err(damaged)
}

/// A column that holds a time.
pub fn time(row: &Row<'_>, at: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_nanos(row.get(at)?))
}

/// A column that holds a time, or nothing.
pub fn optional_time(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_nanos))
}

/// A column that holds bytes.
pub fn bytes(row: &Row<'_>, at: usize) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(at)?.as_blob().map_err(damaged)?))
}

/// A column that holds JSON.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<T> {
    let text = row.get_ref(at)?.as_str().map_err(damaged)?;
    serde_json::from_str(text).map_err(damaged)
}

/// A value as JSON, for a column.
pub fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(damaged)
}

/// A count for a column; SQLite has no larger integers.
pub fn integer(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(damaged)
}

/// Three columns that hold a repo: project, name, kind.
pub fn repo(row: &Row<'_>, at: usize) -> Result<Repo> {
    let kind = match row.get_ref(at + 2)?.as_str().map_err(damaged)? {
        "user" => RepoKind::User,
        "spec" => RepoKind::Spec,
        "meta" => RepoKind::Meta,
        other => return Err(damaged(format_args!("repo kind {other:?}"))),
    };
    Ok(Repo { project: text(row, at)?, name: text(row, at + 1)?, kind })
}

/// A column that holds an origin.
pub fn origin(row: &Row<'_>, at: usize) -> Result<Origin> {
    match row.get_ref(at)?.as_str().map_err(damaged)? {
        "user" => Ok(Origin::User),
        "auto" => Ok(Origin::Auto),
        "fsck" => Ok(Origin::Fsck),
        other => Err(damaged(format_args!("origin {other:?}"))),
    }
}

/// A column that holds a state of one of the state enums.
pub fn state<T>(row: &Row<'_>, at: usize, parse: fn(&str) -> Option<T>) -> Result<T> {
    let text = row.get_ref(at)?.as_str().map_err(damaged)?;
    parse(text).ok_or_else(|| damaged(format_args!("state {text:?}")))
}
