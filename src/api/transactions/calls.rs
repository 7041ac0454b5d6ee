//! The calls that can wait in a transaction.

use tonic::Status;

use super::carry::Outcome;
use crate::api::proto::{pfs_v2, pps_v2, transaction_v2 as pb};
use crate::api::status::{Result, invalid, missing};

/// One call of a transaction.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Call {
    /// On repos, branches, commits.
    Pfs(PfsCall),
    /// A pipeline to create or update.
    CreatePipeline(pps_v2::CreatePipelineTransaction),
}

/// One call on repos, branches, commits.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum PfsCall {
    CreateRepo(pfs_v2::CreateRepoRequest),
    DeleteRepo(pfs_v2::DeleteRepoRequest),
    StartCommit(pfs_v2::StartCommitRequest),
    FinishCommit(pfs_v2::FinishCommitRequest),
    CreateBranch(pfs_v2::CreateBranchRequest),
    DeleteBranch(pfs_v2::DeleteBranchRequest),
}

impl Call {
    /// The one call that a request holds.
    pub(super) fn of(request: pb::TransactionRequest) -> Result<Self> {
        let pb::TransactionRequest {
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
        } = request;
        let absent = [
            ("SquashCommitSet", squash_commit_set.is_some()),
            ("UpdateJobState", update_job_state.is_some()),
            ("StopJob", stop_job.is_some()),
        ];
        if let Some((name, _)) = absent.iter().find(|(_, asked)| *asked) {
            return Err(Status::unimplemented(format!("{name} cannot be part of a transaction")));
        }
        let calls = [
            create_repo.map(PfsCall::CreateRepo).map(Self::Pfs),
            delete_repo.map(PfsCall::DeleteRepo).map(Self::Pfs),
            start_commit.map(PfsCall::StartCommit).map(Self::Pfs),
            finish_commit.map(PfsCall::FinishCommit).map(Self::Pfs),
            create_branch.map(PfsCall::CreateBranch).map(Self::Pfs),
            delete_branch.map(PfsCall::DeleteBranch).map(Self::Pfs),
            create_pipeline_v2.map(Self::CreatePipeline),
        ];
        let mut calls = calls.into_iter().flatten();
        match (calls.next(), calls.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(missing("call")),
            (Some(_), Some(_)) => Err(invalid("a request of a transaction holds one call")),
        }
    }
}

/// A call that can be part of a transaction.
pub(in crate::api) trait Queued {
    /// What the call answers.
    type Answer;

    /// The call, to be kept.
    fn request(self) -> pb::TransactionRequest;

    /// The answer, from a rehearsal.
    fn answer(outcome: Outcome) -> Result<Self::Answer>;
}

/// Calls that answer nothing.
macro_rules! silent {
    ($($call:ty => $field:ident,)*) => {
        $(impl Queued for $call {
            type Answer = ();

            fn request(self) -> pb::TransactionRequest {
                pb::TransactionRequest { $field: Some(self), ..Default::default() }
            }

            fn answer(_: Outcome) -> Result<()> {
                Ok(())
            }
        })*
    };
}

silent! {
    pfs_v2::CreateRepoRequest => create_repo,
    pfs_v2::FinishCommitRequest => finish_commit,
    pfs_v2::CreateBranchRequest => create_branch,
    pfs_v2::DeleteBranchRequest => delete_branch,
}

impl Queued for pfs_v2::DeleteRepoRequest {
    type Answer = pfs_v2::DeleteRepoResponse;

    fn request(self) -> pb::TransactionRequest {
        pb::TransactionRequest { delete_repo: Some(self), ..Default::default() }
    }

    fn answer(outcome: Outcome) -> Result<Self::Answer> {
        Ok(pfs_v2::DeleteRepoResponse { deleted: outcome.deleted })
    }
}

impl Queued for pfs_v2::StartCommitRequest {
    type Answer = pfs_v2::Commit;

    fn request(self) -> pb::TransactionRequest {
        pb::TransactionRequest { start_commit: Some(self), ..Default::default() }
    }

    fn answer(outcome: Outcome) -> Result<Self::Answer> {
        outcome.commit.ok_or_else(|| missing("commit"))
    }
}

impl Queued for pps_v2::CreatePipelineRequest {
    type Answer = ();

    fn request(self) -> pb::TransactionRequest {
        let call = pps_v2::CreatePipelineTransaction {
            create_pipeline_request: Some(self),
            ..Default::default()
        };
        pb::TransactionRequest { create_pipeline_v2: Some(call), ..Default::default() }
    }

    fn answer(_: Outcome) -> Result<()> {
        Ok(())
    }
}

impl Queued for pps_v2::CreatePipelineV2Request {
    type Answer = pps_v2::CreatePipelineV2Response;

    fn request(self) -> pb::TransactionRequest {
        let flags = pps_v2::CreatePipelineRequest {
            update: self.update,
            reprocess: self.reprocess,
            dry_run: self.dry_run,
            ..Default::default()
        };
        let call = pps_v2::CreatePipelineTransaction {
            create_pipeline_request: Some(flags),
            user_json: self.create_pipeline_request_json,
            ..Default::default()
        };
        pb::TransactionRequest { create_pipeline_v2: Some(call), ..Default::default() }
    }

    fn answer(outcome: Outcome) -> Result<Self::Answer> {
        Ok(pps_v2::CreatePipelineV2Response {
            effective_create_pipeline_request_json: outcome.effective_spec,
        })
    }
}
