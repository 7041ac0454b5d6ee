//! Carrying out the calls of a transaction, together.

use tonic::Status;

use super::calls::{Call, PfsCall};
use crate::api::pfs::Pfs;
use crate::api::pps::Pps;
use crate::api::pps::create::Wanted;
use crate::api::proto::{pfs_v2, pps_v2, transaction_v2 as pb};
use crate::api::service::Services;
use crate::api::status::{Result, controller, refused};
use crate::catalog::{GatheredRow, Op, PipelineRow};
use crate::model::CommitId;
use crate::repo::Together;

/// How often others may be faster before a transaction is given up.
const ATTEMPTS: u32 = 100;

/// What came of one call.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Outcome {
    /// The commit that was started.
    pub commit: Option<pfs_v2::Commit>,
    /// Whether there was something to delete.
    pub deleted: bool,
    /// The spec of the pipeline, with all defaults.
    pub effective_spec: String,
}

impl Outcome {
    pub(super) fn response(&self) -> pb::TransactionResponse {
        pb::TransactionResponse { commit: self.commit.clone() }
    }
}

/// Calls that were planned together.
#[derive(Default)]
struct Planned {
    outcomes: Vec<Outcome>,
    pipelines: Vec<PipelineRow>,
}

impl Services {
    /// What would come of the calls; nothing happens.
    pub(super) async fn rehearse(
        &self,
        id: CommitId,
        calls: &[pb::TransactionRequest],
    ) -> Result<Vec<Outcome>> {
        let together = self.repos.together(id).await.map_err(refused)?;
        Ok(self.plan(&together, calls, true).await?.outcomes)
    }

    /// Makes all calls happen in one step. Calls that were `kept` are then
    /// gone; when others were added to them meanwhile, nothing happens.
    pub(super) async fn carry_out(
        &self,
        gathered: &GatheredRow,
        calls: &[pb::TransactionRequest],
        kept: bool,
    ) -> Result<Vec<Outcome>> {
        let GatheredRow { id, version, .. } = *gathered;
        for _ in 0..ATTEMPTS {
            let together = self.repos.together(id).await.map_err(refused)?;
            let planned = self.plan(&together, calls, false).await?;
            let end = kept.then_some(Op::DeleteGathered { id, version });
            if together.publish(end.into_iter().collect()).await.map_err(refused)? {
                for row in &planned.pipelines {
                    self.controller.settle_pipeline(row).await.map_err(controller)?;
                }
                return Ok(planned.outcomes);
            }
            if kept && self.gathered(id).await?.version != version {
                let what = format!("transaction {id} has changed while it was being finished");
                return Err(Status::aborted(what));
            }
        }
        Err(Status::aborted(format!("transaction {id}: others were faster {ATTEMPTS} times")))
    }

    async fn plan(
        &self,
        together: &Together,
        calls: &[pb::TransactionRequest],
        rehearsal: bool,
    ) -> Result<Planned> {
        let services = Self { repos: together.repos(), ..self.clone() };
        let mut planned = Planned::default();
        for call in calls {
            let outcome = match Call::of(call.clone())? {
                Call::CreatePipeline(call) => {
                    let (effective_spec, row) = services.create(&call, rehearsal).await?;
                    planned.pipelines.extend(row);
                    Outcome { effective_spec, ..Outcome::default() }
                }
                Call::Pfs(call) => services.one(call).await?,
            };
            planned.outcomes.push(outcome);
        }
        Ok(planned)
    }

    async fn one(&self, call: PfsCall) -> Result<Outcome> {
        let pfs = Pfs { services: self.clone() };
        let mut outcome = Outcome::default();
        match call {
            PfsCall::CreateRepo(call) => pfs.create_repo(call).await?,
            PfsCall::DeleteRepo(call) => outcome.deleted = pfs.delete_repo(call).await?.deleted,
            PfsCall::StartCommit(call) => outcome.commit = Some(pfs.start_commit(call).await?),
            PfsCall::FinishCommit(call) => pfs.finish_commit(call).await?,
            PfsCall::CreateBranch(call) => pfs.create_branch(call).await?,
            PfsCall::DeleteBranch(call) => pfs.delete_branch(call).await?,
        }
        Ok(outcome)
    }

    /// Plans a pipeline; nothing when that is only a dry run.
    async fn create(
        &self,
        call: &pps_v2::CreatePipelineTransaction,
        rehearsal: bool,
    ) -> Result<(String, Option<PipelineRow>)> {
        let pps = Pps { services: self.clone() };
        let flags = call.create_pipeline_request.clone().unwrap_or_default();
        let wanted = match call.user_json.as_str() {
            "" => pps.wanted_by(&flags).await?,
            json => pps.wanted(json, flags.update, flags.reprocess).await?,
        };
        let Wanted { request, effective } = wanted;
        if flags.dry_run {
            return Ok((effective, None));
        }
        let row = self.controller.put_pipeline(&self.repos, &request, rehearsal).await;
        Ok((effective, Some(row.map_err(controller)?)))
    }
}
