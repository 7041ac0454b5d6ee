//! Write transactions: what stands behind writable mounts.

use serde_json::{Value, json};

use crate::cli::output::rfc3339;
use crate::cli::prelude::*;
use crate::model::TransactionId;

/// The id of a transaction as the API sends it.
fn id(text: &str) -> Outcome<Vec<u8>> {
    let id: TransactionId = text.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    Ok(id.as_bytes().to_vec())
}

/// The state word of a transaction.
fn state(state: i32) -> &'static str {
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
fn branch(info: &v1::TransactionInfo) -> String {
    let repo = info.repo.clone().unwrap_or_default();
    let project = match repo.project.as_str() {
        "" | "default" => String::new(),
        project => format!("{project}/"),
    };
    format!("{project}{}@{}", repo.repo, info.branch)
}

/// Prints every write transaction.
pub async fn list(cx: &Context, format: &Format) -> Outcome {
    let request = v1::ListTransactionsRequest::default();
    let mut stream = cx.client().await?.native().list_transactions(request).await?.into_inner();
    let mut printer = cx.printer(format, &["ID", "BRANCH", "STATE", "OPENED", "OWNER", "REASON"]);
    while let Some(info) = stream.message().await? {
        let cells = || {
            vec![
                hex::encode(&info.id).into(),
                branch(&info).into(),
                Cell::state(state(info.state)),
                cx.age(format, info.opened.as_ref()).into(),
                info.owner.as_str().into(),
                info.reason.as_str().into(),
            ]
        };
        printer.value(|| json(&info), cells)?;
    }
    printer.finish()
}

/// Prints one write transaction, with the paths that conflict.
pub async fn inspect(cx: &Context, format: &Format, text: &str) -> Outcome {
    let request = v1::InspectTransactionRequest { id: id(text)? };
    let info = cx.client().await?.native().inspect_transaction(request).await?.into_inner();
    let mut sink = cx.sink();
    if let Some(encoding) = format.encoding() {
        encoding.write(&mut sink, &json(&info))?;
        return Ok(sink.flush()?);
    }
    let when = |time: &Option<_>| cx.when(format, time.as_ref());
    Fields::new(&mut sink)
        .line("ID", &hex::encode(&info.id))?
        .line("Branch", &branch(&info))?
        .state("State", state(info.state))?
        .some("Reason", Some(info.reason.clone()))?
        .some("Base", Some(hex::encode(&info.base)))?
        .some("Commit", Some(hex::encode(&info.commit)))?
        .some("Opened", when(&info.opened))?
        .some("Owner", Some(info.owner.clone()))?
        .some("Conflicts", Some(info.conflicts.join("  ")))?;
    Ok(sink.flush()?)
}

/// Commits what a write transaction has staged; prints the commit.
pub async fn finish(cx: &Context, text: &str, message: String) -> Outcome {
    let edits = v1::TransactionEdits { id: id(text)?, message, ..Default::default() };
    let stream = tokio_stream::iter([edits]);
    let info = cx.client().await?.native().commit_transaction(stream).await?.into_inner();
    match info.state == i32::from(v1::TransactionState::Committed) {
        true if info.commit.is_empty() => {
            cx.notice("nothing to commit");
            Ok(())
        }
        true => cx.say(&hex::encode(&info.commit)),
        false => {
            let what = format!("the transaction is {}: {}", state(info.state), info.reason);
            Err(Failure::new(what).hint(format!("'inspect transaction {text}' shows more")))
        }
    }
}

/// Gives a write transaction up.
pub async fn abort(cx: &Context, text: &str) -> Outcome {
    let reason = "given up with 'delete transaction'".to_owned();
    let request = v1::AbortTransactionRequest { id: id(text)?, reason };
    cx.client().await?.native().abort_transaction(request).await?;
    Ok(())
}

/// A transaction as JSON, ids in hex.
fn json(info: &v1::TransactionInfo) -> Value {
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
