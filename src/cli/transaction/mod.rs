//! Write transactions: what stands behind writable mounts.

pub mod delete;
pub mod finish;
pub mod inspect;
pub mod list;

use serde_json::{Value, json};

use crate::cli::output::rfc3339;
use crate::cli::prelude::*;
use crate::model::TransactionId;

/// The id of a transaction as the API sends it.
pub fn id(text: &str) -> Outcome<Vec<u8>> {
    let id: TransactionId = text.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    Ok(id.as_bytes().to_vec())
}

/// The state word of a transaction.
pub fn state(state: i32) -> &'static str {
    use v1::TransactionState as S;
    match S::try_from(state).unwrap_or(S::Unknown) {
        S::Unknown => "-",
        S::Open => "open",
        S::Sealing => "sealing",
        S::Sealed => "sealed",
        S::Committed => "committed",
        S::Conflict => "conflict",
        S::Aborted => "aborted",
        S::Orphaned => "orphaned",
    }
}

/// `[project/]repo@branch`.
pub fn branch(info: &v1::TransactionInfo) -> String {
    let repo = info.repo.clone().unwrap_or_default();
    let project = match repo.project.as_str() {
        "" | "default" => String::new(),
        project => format!("{project}/"),
    };
    format!("{project}{}@{}", repo.repo, info.branch)
}

/// A transaction as JSON, ids in hex.
pub fn json(info: &v1::TransactionInfo) -> Value {
    let time = |time: Option<&prost_types::Timestamp>| time.map(rfc3339);
    let mut value = json!({
        "id": hex::encode(&info.id),
        "branch": branch(info),
        "state": state(info.state),
        "base": hex::encode(&info.base),
        "commit": hex::encode(&info.commit),
        "opened": time(info.opened.as_ref()),
        "lease_expires": time(info.lease_expires.as_ref()),
        "owner": info.owner,
        "reason": info.reason,
        "conflicts": info.conflicts,
    });
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| *value != json!("") && *value != json!([]) && !value.is_null());
    }
    value
}
