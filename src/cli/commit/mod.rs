//! Commits: states of a repo.

pub mod delete;
pub mod find;
pub mod finish;
pub mod inspect;
pub mod list;
pub mod squash;
pub mod start;
pub mod subscribe;
pub mod wait;

use crate::cli::prelude::*;

/// A commit, as the calls that walk from commit to commit take it.
fn picker(commit: &pfs::Commit) -> pfs::CommitPicker {
    use pfs::{commit_picker, project_picker, repo_picker};
    let repo = commit.repo.clone().unwrap_or_default();
    let project = repo.project.map(|project| pfs::ProjectPicker {
        picker: Some(project_picker::Picker::Name(project.name)),
    });
    let name = repo_picker::RepoName { project, name: repo.name, r#type: repo.r#type };
    let repo = pfs::RepoPicker { picker: Some(repo_picker::Picker::Name(name)) };
    let id = commit_picker::CommitByGlobalId { repo: Some(repo), id: commit.id.clone() };
    pfs::CommitPicker { picker: Some(commit_picker::Picker::Id(id)) }
}

/// The commit that `text` names, once it is finished.
pub async fn finished(cx: &Context, commit: pfs::Commit) -> Outcome<pfs::CommitInfo> {
    let wait = pfs::CommitState::Finished.into();
    let request = pfs::InspectCommitRequest { commit: Some(commit), wait };
    Ok(cx.client().await?.pfs().inspect_commit(request).await?.into_inner())
}

/// The commits of user repos that were derived from `commit`, whatever their
/// set, sources before what was made of them.
pub async fn derived(cx: &Context, commit: &pfs::Commit) -> Outcome<Vec<pfs::Commit>> {
    let start = vec![picker(commit)];
    let request = pfs::WalkCommitSubvenanceRequest { start, ..Default::default() };
    let mut stream = cx.client().await?.pfs().walk_commit_subvenance(request).await?.into_inner();
    let mut found = Vec::new();
    while let Some(info) = stream.message().await? {
        let Some(other) = info.commit else { continue };
        let repo = other.repo.as_ref();
        let user = repo.is_none_or(|repo| matches!(repo.r#type.as_str(), "" | "user"));
        if user && (other.id != commit.id || other.repo != commit.repo) {
            found.push(other);
        }
    }
    Ok(found)
}
