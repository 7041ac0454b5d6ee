//! `transaction_v2.API`: calls gathered one by one and carried out together.
//!
//! A call made within a transaction is rehearsed with those before it, so that
//! what is wrong with it is said at once, and kept. Finishing plans all calls
//! anew, on what is there then, and makes everything happen in one step.

mod calls;
mod carry;

use prost::Message as _;
use tonic::Status;

use super::convert::{parse, time};
use super::proto::transaction_v2::{self as pb, api_server::Api};
use super::service::{Services, service};
use super::status::{Result, catalog, missing, with_hint};
use crate::catalog::{CatalogError, GatheredRow, Op};
use crate::model::CommitId;
use calls::Queued;
use carry::Outcome;

/// How often others may change a transaction while a call is added to it.
const ATTEMPTS: u32 = 100;

/// The service.
#[derive(Clone)]
pub(super) struct Transactions {
    pub(super) services: Services,
}

service! {
    impl Api as Transactions;
    reads {
        batch_transaction: pb::BatchTransactionRequest => pb::TransactionInfo,
        start_transaction: pb::StartTransactionRequest => pb::Transaction,
        inspect_transaction: pb::InspectTransactionRequest => pb::TransactionInfo,
        delete_transaction: pb::DeleteTransactionRequest => (),
        list_transaction: pb::ListTransactionRequest => pb::TransactionInfos,
        finish_transaction: pb::FinishTransactionRequest => pb::TransactionInfo,
        delete_all: pb::DeleteAllRequest => (),
    }
    unary {}
    streaming {}
}

impl Transactions {
    async fn batch_transaction(
        &self,
        request: pb::BatchTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let clock = self.services.repos.clock();
        let (id, started) = (clock.commit_id(), clock.now());
        let row = GatheredRow { id, calls: Default::default(), version: 0, started };
        let outcomes = self.services.carry_out(&row, &request.requests, false).await?;
        Ok(info(&row, request.requests, outcomes.iter().map(Outcome::response).collect()))
    }

    async fn start_transaction(&self, _: pb::StartTransactionRequest) -> Result<pb::Transaction> {
        let clock = self.services.repos.clock();
        let (id, started) = (clock.commit_id(), clock.now());
        let row = GatheredRow { id, calls: Default::default(), version: 0, started };
        let put = Op::PutGathered { row, expected: None };
        self.services.repos.catalog().apply(vec![put]).await.map_err(|e| catalog(&e))?;
        Ok(pb::Transaction { id: id.to_string() })
    }

    async fn inspect_transaction(
        &self,
        request: pb::InspectTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let row = self.services.gathered(named(request.transaction.as_ref())?).await?;
        shown(&row)
    }

    async fn delete_transaction(&self, request: pb::DeleteTransactionRequest) -> Result<()> {
        let id = named(request.transaction.as_ref())?;
        for _ in 0..ATTEMPTS {
            let row = self.services.gathered(id).await?;
            if self.services.drop_gathered(&row).await? {
                return Ok(());
            }
        }
        Err(Status::aborted(format!("transaction {id} keeps changing")))
    }

    async fn list_transaction(
        &self,
        _: pb::ListTransactionRequest,
    ) -> Result<pb::TransactionInfos> {
        let rows = self.services.repos.catalog().all_gathered().await.map_err(|e| catalog(&e))?;
        let transaction_info = rows.iter().map(shown).collect::<Result<_>>()?;
        Ok(pb::TransactionInfos { transaction_info })
    }

    async fn finish_transaction(
        &self,
        request: pb::FinishTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let row = self.services.gathered(named(request.transaction.as_ref())?).await?;
        let pb::TransactionInfo { requests, .. } = shown(&row)?;
        let outcomes = self.services.carry_out(&row, &requests, true).await?;
        Ok(info(&row, requests, outcomes.iter().map(Outcome::response).collect()))
    }

    async fn delete_all(&self, _: pb::DeleteAllRequest) -> Result<()> {
        let rows = self.services.repos.catalog().all_gathered().await.map_err(|e| catalog(&e))?;
        for row in rows {
            self.services.drop_gathered(&row).await?;
        }
        Ok(())
    }
}

impl Services {
    /// Adds a call to a transaction, and answers as far as is known now.
    pub(super) async fn queue<C: Queued>(&self, id: CommitId, call: C) -> Result<C::Answer> {
        let call = call.request();
        for _ in 0..ATTEMPTS {
            let row = self.gathered(id).await?;
            let pb::TransactionInfo { mut requests, .. } = shown(&row)?;
            requests.push(call.clone());
            let outcomes = self.rehearse(id, &requests).await?;
            let responses = outcomes.iter().map(Outcome::response).collect();
            let kept = pb::TransactionInfo { requests, responses, ..Default::default() };
            let calls = kept.encode_to_vec().into();
            let next = GatheredRow { calls, version: row.version + 1, ..row };
            let put = Op::PutGathered { row: next, expected: Some(row.version) };
            match self.repos.catalog().apply(vec![put]).await {
                Ok(()) => {
                    return C::answer(outcomes.into_iter().next_back().unwrap_or_default());
                }
                Err(CatalogError::Conflict { .. }) => {}
                Err(error) => return Err(catalog(&error)),
            }
        }
        Err(Status::aborted(format!("transaction {id} keeps changing")))
    }

    pub(super) async fn gathered(&self, id: CommitId) -> Result<GatheredRow> {
        let row = self.repos.catalog().gathered(id).await.map_err(|e| catalog(&e))?;
        row.ok_or_else(|| {
            let hint = "it was finished or deleted; 'list transaction' shows those there are";
            let text = format!("transaction {:?} not found", id.to_string());
            with_hint(tonic::Code::NotFound, text, Some(hint.to_owned()))
        })
    }

    /// Whether it was as the row says, and is gone.
    async fn drop_gathered(&self, row: &GatheredRow) -> Result<bool> {
        let drop = Op::DeleteGathered { id: row.id, version: row.version };
        match self.repos.catalog().apply(vec![drop]).await {
            Ok(()) => Ok(true),
            Err(CatalogError::Conflict { .. }) => Ok(false),
            Err(error) => Err(catalog(&error)),
        }
    }
}

fn named(transaction: Option<&pb::Transaction>) -> Result<CommitId> {
    match transaction {
        Some(transaction) if !transaction.id.is_empty() => parse(&transaction.id),
        Some(_) | None => Err(missing("transaction")),
    }
}

/// A transaction with what was gathered in it.
fn shown(row: &GatheredRow) -> Result<pb::TransactionInfo> {
    let kept = pb::TransactionInfo::decode(row.calls.clone());
    let kept = kept.map_err(|e| Status::data_loss(format!("transaction {}: {e}", row.id)))?;
    Ok(info(row, kept.requests, kept.responses))
}

fn info(
    row: &GatheredRow,
    requests: Vec<pb::TransactionRequest>,
    responses: Vec<pb::TransactionResponse>,
) -> pb::TransactionInfo {
    pb::TransactionInfo {
        transaction: Some(pb::Transaction { id: row.id.to_string() }),
        requests,
        responses,
        started: Some(time(row.started)),
        version: row.version,
    }
}
