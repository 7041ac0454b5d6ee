//! Between messages and the model: every name is validated on the way in.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use tonic::Status;

use super::proto::{pfs_v2 as pb, pps_v2};
use super::status::{Result, invalid, missing};
use crate::catalog::{Job, Origin, Pipeline, Trigger};
use crate::model::{
    Branch, BranchName, Commit, ProjectName, Ref, Repo, RepoKind, Timestamp, TreePath,
};
use crate::pipeline::trigger::parse_size;

/// Parses anything with a validating `FromStr`.
pub(super) fn parse<T>(text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(invalid)
}

/// A project; none named is the default one.
pub(super) fn project(message: Option<&pb::Project>) -> Result<ProjectName> {
    match message.map(|project| project.name.as_str()) {
        None | Some("") => Ok(ProjectName::default_project()),
        Some(name) => parse(name),
    }
}

/// Every project of a list.
pub(super) fn projects(messages: &[pb::Project]) -> Result<Vec<ProjectName>> {
    messages.iter().map(|message| project(Some(message))).collect()
}

/// What a repo is for; nothing said is user data.
pub(super) fn repo_kind(text: &str) -> Result<RepoKind> {
    match text {
        "" | "user" => Ok(RepoKind::User),
        "spec" => Ok(RepoKind::Spec),
        "meta" => Ok(RepoKind::Meta),
        other => Err(invalid(format!("invalid repo type {other:?}: expected user, spec or meta"))),
    }
}

/// A repo.
pub(super) fn repo(message: Option<&pb::Repo>) -> Result<Repo> {
    let message = message.ok_or_else(|| missing("repo"))?;
    Ok(Repo {
        project: project(message.project.as_ref())?,
        name: parse(&message.name)?,
        kind: repo_kind(&message.r#type)?,
    })
}

/// A branch.
pub(super) fn branch(message: Option<&pb::Branch>) -> Result<Branch> {
    let message = message.ok_or_else(|| missing("branch"))?;
    Ok(Branch { repo: repo(message.repo.as_ref())?, name: parse(&message.name)? })
}

/// Every branch of a list.
pub(super) fn branches(messages: &[pb::Branch]) -> Result<Vec<Branch>> {
    messages.iter().map(|message| branch(Some(message))).collect()
}

/// A commit as clients name one: an id, a branch, or a ref written into the
/// id field.
#[derive(Debug, Clone)]
pub(super) struct CommitRef {
    /// The repo.
    pub repo: Repo,
    /// The commit within it.
    pub reference: Ref,
}

/// A commit by any form of ref.
pub(super) fn commit(message: Option<&pb::Commit>) -> Result<CommitRef> {
    let message = message.ok_or_else(|| missing("commit"))?;
    let of_branch = message.branch.as_ref();
    let named = message.repo.as_ref().filter(|repo| !repo.name.is_empty());
    let repo = repo(named.or_else(|| of_branch?.repo.as_ref()))?;
    let branch = of_branch.map_or("", |branch| branch.name.as_str());
    let text = match message.id.as_str() {
        "" if branch.is_empty() => return Err(missing("commit id or branch")),
        "" => branch.to_owned(),
        // Steps from the branch named beside.
        steps if steps.starts_with(['^', '~', '.']) => format!("{branch}{steps}"),
        id => id.to_owned(),
    };
    Ok(CommitRef { repo, reference: parse(&text)? })
}

/// A commit that may be left out: an empty message counts as none.
pub(super) fn optional_commit(message: Option<&pb::Commit>) -> Result<Option<CommitRef>> {
    let named = |m: &&pb::Commit| {
        !m.id.is_empty() || m.branch.as_ref().is_some_and(|branch| !branch.name.is_empty())
    };
    message.filter(named).map(|message| commit(Some(message))).transpose()
}

/// A repo that may be left out: an empty message counts as none.
pub(super) fn optional_repo(message: Option<&pb::Repo>) -> Result<Option<Repo>> {
    message.filter(|message| !message.name.is_empty()).map(|m| repo(Some(m))).transpose()
}

/// A path; a leading and a trailing slash are optional.
pub(super) fn path(text: &str) -> Result<TreePath> {
    parse(text)
}

/// What moves a branch; an empty message counts as none.
pub(super) fn trigger(message: Option<&pb::Trigger>) -> Result<Option<Trigger>> {
    let Some(message) = message.filter(|message| **message != pb::Trigger::default()) else {
        return Ok(None);
    };
    let size = match message.size.as_str() {
        "" => 0,
        text => parse_size(text).ok_or_else(|| {
            invalid(format!("invalid size {text:?}: expected a number and a unit, e.g. 10M"))
        })?,
    };
    let commits = u64::try_from(message.commits)
        .map_err(|_| invalid("a trigger's number of commits is negative"))?;
    Ok(Some(Trigger {
        branch: message.branch.clone(),
        all: message.all,
        rate_limit: message.rate_limit_spec.clone(),
        size,
        commits,
        cron: message.cron_spec.clone(),
    }))
}

/// A pipeline.
pub(super) fn pipeline(message: Option<&pps_v2::Pipeline>) -> Result<Pipeline> {
    let message = message.ok_or_else(|| missing("pipeline"))?;
    Ok(Pipeline { project: project(message.project.as_ref())?, name: parse(&message.name)? })
}

/// An origin to filter by; unknown means any.
pub(super) fn origin(value: i32) -> Result<Option<Origin>> {
    match pb::OriginKind::try_from(value) {
        Ok(pb::OriginKind::Unknown) => Ok(None),
        Ok(pb::OriginKind::User) => Ok(Some(Origin::User)),
        Ok(pb::OriginKind::Auto) => Ok(Some(Origin::Auto)),
        Ok(pb::OriginKind::Fsck) => Ok(Some(Origin::Fsck)),
        Err(_) => Err(invalid(format!("unknown origin kind {value}"))),
    }
}

/// A count of which zero means "all".
pub(super) fn limit(number: i64) -> Result<Option<usize>> {
    match number {
        0 => Ok(None),
        number => usize::try_from(number)
            .map(Some)
            .map_err(|_| invalid(format!("the number {number} is negative"))),
    }
}

/// The project, for answers.
pub(super) fn project_message(name: &ProjectName) -> pb::Project {
    pb::Project { name: name.as_str().to_owned() }
}

/// The repo, for answers.
pub(super) fn repo_message(repo: &Repo) -> pb::Repo {
    pb::Repo {
        name: repo.name.as_str().to_owned(),
        r#type: repo.kind.as_str().to_owned(),
        project: Some(project_message(&repo.project)),
    }
}

/// The branch, for answers.
pub(super) fn branch_message(branch: &Branch) -> pb::Branch {
    pb::Branch { repo: Some(repo_message(&branch.repo)), name: branch.name.as_str().to_owned() }
}

/// The commit, for answers; with the branch it was made on where known.
pub(super) fn commit_message(commit: &Commit, branch: Option<&BranchName>) -> pb::Commit {
    let repo = repo_message(&commit.repo);
    pb::Commit {
        branch: branch
            .map(|name| pb::Branch { repo: Some(repo.clone()), name: name.as_str().to_owned() }),
        repo: Some(repo),
        id: commit.id.to_string(),
    }
}

/// The pipeline, for answers.
pub(super) fn pipeline_message(pipeline: &Pipeline) -> pps_v2::Pipeline {
    pps_v2::Pipeline {
        project: Some(project_message(&pipeline.project)),
        name: pipeline.name.as_str().to_owned(),
    }
}

/// The job, for answers.
pub(super) fn job_message(job: &Job) -> pps_v2::Job {
    pps_v2::Job { pipeline: Some(pipeline_message(&job.pipeline)), id: job.id.to_string() }
}

/// The time, for answers.
pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = at.to_parts();
    // Nanoseconds are below 10^9 and fit.
    prost_types::Timestamp { seconds, nanos: nanos.cast_signed() }
}

/// A time from a request; out-of-range parts are clamped.
pub(super) fn timestamp(message: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(message.seconds, message.nanos.clamp(0, 999_999_999).cast_unsigned())
}

/// The span between two times, for answers; zero when they are reversed.
pub(super) fn nanos(nanos: u64) -> prost_types::Duration {
    let span = Duration::from_nanos(nanos);
    prost_types::Duration {
        // 2^64 nanoseconds are 584 years, which fit.
        seconds: span.as_secs().cast_signed(),
        nanos: span.subsec_nanos().cast_signed(),
    }
}

/// A count as the signed number of the protocol.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A status for a thing that is not there.
pub(super) fn not_found(what: impl Display) -> Status {
    Status::not_found(format!("{what} not found"))
}
