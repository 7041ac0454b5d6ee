//! `pfs.v1.Pfs`: what Pachyderm's API lacks.

mod fsck;
mod heads;
mod objects;
mod put;
mod transactions;
mod volumes;

pub(super) use fsck::{Finding, findings};
pub(super) use objects::TOKEN_KEY;

use super::proto::pfs_v1::{self as pb, pfs_server::Pfs};
use super::service::{Services, service};
use super::status::{Result, invalid};
use crate::api::convert;
use crate::model::{CommitId, Repo};

/// The service.
#[derive(Clone)]
pub(super) struct Native {
    pub(super) services: Services,
}

service! {
    impl Pfs as Native;
    reads {
        store_info: pb::StoreInfoRequest => pb::StoreInfoResponse,
        head_object: pb::HeadObjectRequest => pb::HeadObjectResponse,
        resolve_ref: pb::ResolveRefRequest => pb::ResolvedCommit,
        open_transaction: pb::OpenTransactionRequest => pb::TransactionInfo,
        renew_transaction: pb::RenewTransactionRequest => pb::TransactionInfo,
        abort_transaction: pb::AbortTransactionRequest => pb::TransactionInfo,
        inspect_transaction: pb::InspectTransactionRequest => pb::TransactionInfo,
        server_stats: pb::ServerStatsRequest => pb::ServerStatsResponse,
    }
    attributed {
        authorize_volume: pb::AuthorizeVolumeRequest => pb::AuthorizeVolumeResponse,
    }
    unary {}
    streaming {
        fsck: pb::FsckRequest => pb::FsckFinding,
        get_object: pb::GetObjectRequest => pb::ObjectData,
        watch_heads: pb::WatchHeadsRequest => pb::HeadEvent,
        list_transactions: pb::ListTransactionsRequest => pb::TransactionInfo,
    }
    uploads {
        put_object: pb::PutObjectRequest => pb::PutObjectResponse,
        put_files: pb::PutFilesRequest => pb::PutFilesResponse,
        stage_transaction: pb::TransactionEdits => pb::TransactionInfo,
        commit_transaction: pb::TransactionEdits => pb::TransactionInfo,
    }
}

/// A repo by name.
fn repo(message: Option<&pb::RepoName>) -> Result<Repo> {
    let message = message.ok_or_else(|| invalid("request names no repo"))?;
    let project = match message.project.as_str() {
        "" => convert::project(None)?,
        name => convert::parse(name)?,
    };
    Ok(Repo {
        project,
        name: convert::parse(&message.repo)?,
        kind: convert::repo_kind(&message.kind)?,
    })
}

fn repo_message(repo: &Repo) -> pb::RepoName {
    pb::RepoName {
        project: repo.project.as_str().to_owned(),
        repo: repo.name.as_str().to_owned(),
        kind: repo.kind.as_str().to_owned(),
    }
}

fn id_bytes(id: CommitId) -> Vec<u8> {
    id.as_bytes().to_vec()
}
