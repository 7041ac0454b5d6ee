//! Transactions: calls gathered and carried out together; and those behind
//! writable mounts, which the same commands know by their ids.

pub mod delete;
pub mod finish;
pub mod inspect;
pub mod list;
mod mounted;
pub mod resume;
pub mod start;
pub mod stop;

use crate::api::client::Status;
use crate::api::proto::transaction_v2 as txn;
use crate::cli::prelude::*;
use crate::model::CommitId;

/// The transaction named, or the one that is active.
fn named(cx: &Context, id: Option<&str>) -> Outcome<String> {
    match (id, cx.config().transaction) {
        (Some(id), _) => Ok(id.to_owned()),
        (None, Some(active)) => Ok(active.to_string()),
        (None, None) => Err(Failure::usage("no transaction is active")
            .hint("name one, or start one with 'start transaction'")),
    }
}

fn wire(id: &str) -> Option<txn::Transaction> {
    Some(txn::Transaction { id: id.to_owned() })
}

/// Makes changes within another transaction from now on, or within none.
fn activate(cx: &Context, id: Option<CommitId>) -> Outcome {
    let mut config = cx.config().clone();
    config.transaction = id;
    config.save()
}

/// Leaves a transaction that is over, if it is the active one.
fn leave(cx: &Context, id: &str) -> Outcome {
    match cx.config().transaction {
        Some(active) if active.to_string() == id => activate(cx, None),
        Some(_) | None => Ok(()),
    }
}

/// Whether the server says that it gathers no calls under the id: then it may
/// be that of a writable mount.
fn is_unknown(status: &Status) -> bool {
    status.code() == Code::NotFound
}

/// What a call of a transaction does, in a line.
fn line(call: &txn::TransactionRequest) -> String {
    let txn::TransactionRequest {
        create_repo,
        delete_repo,
        start_commit,
        finish_commit,
        squash_commit_set,
        create_branch,
        delete_branch,
        update_job_state,
        stop_job,
        create_pipeline_v2,
    } = call;
    let lines = [
        create_repo.as_ref().map(|call| format!("create repo {}", repo(call.repo.as_ref()))),
        delete_repo.as_ref().map(|call| format!("delete repo {}", repo(call.repo.as_ref()))),
        start_commit.as_ref().map(|call| format!("start commit {}", branch(call.branch.as_ref()))),
        finish_commit
            .as_ref()
            .map(|call| format!("finish commit {}", commit(call.commit.as_ref()))),
        squash_commit_set.as_ref().map(|_| "squash commit".to_owned()),
        create_branch
            .as_ref()
            .map(|call| format!("create branch {}", branch(call.branch.as_ref()))),
        delete_branch
            .as_ref()
            .map(|call| format!("delete branch {}", branch(call.branch.as_ref()))),
        update_job_state.as_ref().map(|_| "update job".to_owned()),
        stop_job.as_ref().map(|_| "stop job".to_owned()),
        create_pipeline_v2.as_ref().map(pipeline),
    ];
    lines.into_iter().flatten().next().unwrap_or_else(|| "?".to_owned())
}

fn repo(repo: Option<&pfs::Repo>) -> String {
    let pfs::Repo { name, project, .. } = repo.cloned().unwrap_or_default();
    match project.map(|project| project.name) {
        Some(project) if !project.is_empty() && project != "default" => format!("{project}/{name}"),
        Some(_) | None => name,
    }
}

fn branch(branch: Option<&pfs::Branch>) -> String {
    let branch = branch.cloned().unwrap_or_default();
    format!("{}@{}", repo(branch.repo.as_ref()), branch.name)
}

fn commit(commit: Option<&pfs::Commit>) -> String {
    let commit = commit.cloned().unwrap_or_default();
    let of = commit.branch.clone().unwrap_or_default();
    let repo = repo(commit.repo.as_ref().or(of.repo.as_ref()));
    format!("{repo}@{}", if commit.id.is_empty() { of.name } else { commit.id })
}

fn pipeline(call: &pps::CreatePipelineTransaction) -> String {
    let flags = call.create_pipeline_request.clone().unwrap_or_default();
    let spec = serde_json::from_str::<serde_json::Value>(&call.user_json).unwrap_or_default();
    let name = spec.pointer("/pipeline/name").and_then(|name| name.as_str());
    let name = name.map(str::to_owned).unwrap_or_else(|| flags.pipeline.unwrap_or_default().name);
    format!("{} pipeline {name}", if flags.update { "update" } else { "create" })
}
