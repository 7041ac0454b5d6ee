//! Rows of the catalog as the messages that describe them.

use super::convert::{branch_message, commit_message, count, project_message, repo_message, time};
use super::proto::pfs_v2 as pb;
use crate::catalog::{BranchRow, CommitRow, Origin, ProjectRow, Trigger};
use crate::model::{Branch, Commit};
use crate::repo::RepoInfo;

/// A project.
pub(super) fn project(row: &ProjectRow) -> pb::ProjectInfo {
    pb::ProjectInfo {
        project: Some(project_message(&row.name)),
        description: row.description.clone(),
        created_at: Some(time(row.created)),
        ..Default::default()
    }
}

/// A repo with its branches and size.
pub(super) fn repo(info: &RepoInfo) -> pb::RepoInfo {
    let branches = info.branches.iter().map(|row| branch_message(&row.branch)).collect();
    pb::RepoInfo {
        repo: Some(repo_message(&info.row.repo)),
        created: Some(time(info.row.created)),
        size_bytes_upper_bound: count(info.bytes),
        description: info.row.description.clone(),
        branches,
        details: Some(pb::repo_info::Details { size_bytes: count(info.bytes) }),
        ..Default::default()
    }
}

/// What of a branch is not in its own row.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// Everything it derives from.
    pub provenance: Vec<Branch>,
    /// Everything that derives from it.
    pub subvenance: Vec<Branch>,
}

/// A branch.
pub(super) fn branch(row: &BranchRow, lineage: &Lineage) -> pb::BranchInfo {
    let messages = |branches: &[Branch]| branches.iter().map(branch_message).collect();
    let head = row.head.map(|id| row.branch.repo.commit(id));
    pb::BranchInfo {
        branch: Some(branch_message(&row.branch)),
        head: head.map(|head| commit_message(&head, Some(&row.branch.name))),
        provenance: messages(&lineage.provenance),
        subvenance: messages(&lineage.subvenance),
        direct_provenance: messages(&row.provenance),
        trigger: row.trigger.as_ref().map(trigger),
        created_at: Some(time(row.created)),
        updated_at: Some(time(row.created)),
        ..Default::default()
    }
}

fn trigger(trigger: &Trigger) -> pb::Trigger {
    pb::Trigger {
        branch: trigger.branch.clone(),
        all: trigger.all,
        rate_limit_spec: trigger.rate_limit.clone(),
        size: match trigger.size {
            0 => String::new(),
            bytes => bytes.to_string(),
        },
        commits: count(trigger.commits),
        cron_spec: trigger.cron.clone(),
    }
}

/// What of a commit is not in its own row.
#[derive(Debug, Default)]
pub(super) struct Relatives {
    /// Commits whose parent it is.
    pub children: Vec<Commit>,
    /// Commits directly derived from it.
    pub subvenance: Vec<Commit>,
}

/// A commit.
pub(super) fn commit(row: &CommitRow, relatives: &Relatives) -> pb::CommitInfo {
    let messages =
        |commits: &[Commit]| commits.iter().map(|commit| commit_message(commit, None)).collect();
    let parent = row.parent.map(|id| row.commit.repo.commit(id));
    let finished = row.finished.map(time);
    let details = row.finished.map(|_| pb::commit_info::Details {
        size_bytes: count(row.root.bytes),
        compacting_time: Some(prost_types::Duration::default()),
        validating_time: Some(prost_types::Duration::default()),
    });
    pb::CommitInfo {
        commit: Some(commit_message(&row.commit, row.branch.as_ref())),
        origin: Some(pb::CommitOrigin { kind: origin(row.origin).into() }),
        description: row.description.clone(),
        parent_commit: parent.map(|parent| commit_message(&parent, row.branch.as_ref())),
        child_commits: messages(&relatives.children),
        started: Some(time(row.started)),
        finishing: finished,
        finished,
        direct_provenance: messages(&row.provenance),
        direct_subvenance: messages(&relatives.subvenance),
        error: row.error.clone().unwrap_or_default(),
        size_bytes_upper_bound: count(row.root.bytes),
        details,
        created_by: row.author.clone(),
        created_at: Some(time(row.started)),
        updated_at: Some(time(row.finished.unwrap_or(row.started))),
        ..Default::default()
    }
}

fn origin(origin: Origin) -> pb::OriginKind {
    match origin {
        Origin::User => pb::OriginKind::User,
        Origin::Auto => pb::OriginKind::Auto,
        Origin::Fsck => pb::OriginKind::Fsck,
    }
}
