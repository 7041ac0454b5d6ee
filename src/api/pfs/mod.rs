//! `pfs_v2.API`: projects, repos, branches, commits and files.

mod branches;
mod commits;
pub(super) mod file_sets;
pub(super) mod files;
mod get;
pub(super) mod pick;
mod put;
mod repos;
mod sets;

pub(super) use commits::resolve;

use bytes::Bytes;

use super::proto::pfs_v2::{self as pb, api_server::Api};
use super::service::{Services, service};

/// The service.
#[derive(Clone)]
pub(super) struct Pfs {
    pub(super) services: Services,
}

service! {
    impl Api as Pfs;
    queued {
        create_repo: pb::CreateRepoRequest => (),
        delete_repo: pb::DeleteRepoRequest => pb::DeleteRepoResponse,
        create_branch: pb::CreateBranchRequest => (),
        delete_branch: pb::DeleteBranchRequest => (),
        start_commit: pb::StartCommitRequest => pb::Commit,
        finish_commit: pb::FinishCommitRequest => (),
    }
    reads {
        inspect_project: pb::InspectProjectRequest => pb::ProjectInfo,
        inspect_project_v2: pb::InspectProjectV2Request => pb::InspectProjectV2Response,
        inspect_repo: pb::InspectRepoRequest => pb::RepoInfo,
        repos_summary: pb::ReposSummaryRequest => pb::ReposSummaryResponse,
        inspect_branch: pb::InspectBranchRequest => pb::BranchInfo,
        inspect_commit: pb::InspectCommitRequest => pb::CommitInfo,
        inspect_file: pb::InspectFileRequest => pb::FileInfo,
        check_storage: pb::CheckStorageRequest => pb::CheckStorageResponse,
    }
    unary {
        get_file_set: pb::GetFileSetRequest => pb::CreateFileSetResponse,
        add_file_set: pb::AddFileSetRequest => (),
        renew_file_set: pb::RenewFileSetRequest => (),
        compose_file_set: pb::ComposeFileSetRequest => pb::CreateFileSetResponse,
        shard_file_set: pb::ShardFileSetRequest => pb::ShardFileSetResponse,
        create_project: pb::CreateProjectRequest => (),
        delete_project: pb::DeleteProjectRequest => (),
        delete_repos: pb::DeleteReposRequest => pb::DeleteReposResponse,
        delete_all: () => (),
        clear_commit: pb::ClearCommitRequest => (),
        squash_commit: pb::SquashCommitRequest => pb::SquashCommitResponse,
        drop_commit: pb::DropCommitRequest => pb::DropCommitResponse,
        squash_commit_set: pb::SquashCommitSetRequest => (),
        drop_commit_set: pb::DropCommitSetRequest => (),
    }
    streaming {
        list_project: pb::ListProjectRequest => pb::ProjectInfo,
        list_repo: pb::ListRepoRequest => pb::RepoInfo,
        list_branch: pb::ListBranchRequest => pb::BranchInfo,
        walk_branch_provenance: pb::WalkBranchProvenanceRequest => pb::BranchInfo,
        walk_branch_subvenance: pb::WalkBranchSubvenanceRequest => pb::BranchInfo,
        list_commit: pb::ListCommitRequest => pb::CommitInfo,
        subscribe_commit: pb::SubscribeCommitRequest => pb::CommitInfo,
        walk_commit_provenance: pb::WalkCommitProvenanceRequest => pb::CommitInfo,
        walk_commit_subvenance: pb::WalkCommitSubvenanceRequest => pb::CommitInfo,
        inspect_commit_set: pb::InspectCommitSetRequest => pb::CommitInfo,
        list_commit_set: pb::ListCommitSetRequest => pb::CommitSetInfo,
        fsck: pb::FsckRequest => pb::FsckResponse,
        find_commits: pb::FindCommitsRequest => pb::FindCommitsResponse,
        get_file: pb::GetFileRequest => Bytes,
        get_file_tar: pb::GetFileRequest => Bytes,
        list_file: pb::ListFileRequest => pb::FileInfo,
        walk_file: pb::WalkFileRequest => pb::FileInfo,
        glob_file: pb::GlobFileRequest => pb::FileInfo,
        diff_file: pb::DiffFileRequest => pb::DiffFileResponse,
    }
    uploads {
        modify_file: pb::ModifyFileRequest => (),
        create_file_set: pb::ModifyFileRequest => pb::CreateFileSetResponse,
    }
}
