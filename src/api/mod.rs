//! The gRPC API: Pachyderm's services and `pfs.v1`, thin adapters over
//! [`crate::repo`].

mod authentication;
pub mod binding;
mod calls;
pub mod client;
mod convert;
mod info;
pub mod json;
mod native;
mod pfs;
mod pps;
pub mod proto;
mod secrets;
mod server;
mod service;
pub mod status;
mod storage;
mod tar;
mod token_file;
mod transactions;
mod unimplemented;
mod version;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use calls::{CallStats, Calls};
pub use client::Address;
pub use server::{ServeError, Serving};

use crate::controller::Controller;
use crate::controller::identity::Gate;
use crate::repo::Repos;
use client::MESSAGE_MAX;
use proto::admin_v2::api_server::ApiServer as AdminServer;
use proto::pfs_v1::pfs_server::PfsServer;
use proto::pfs_v2::api_server::ApiServer as PfsApiServer;
use proto::pps_v2::api_server::ApiServer as PpsApiServer;
use proto::storage::fileset_server::FilesetServer;
use proto::transaction_v2::api_server::ApiServer as TransactionServer;
use proto::versionpb_v2::api_server::ApiServer as VersionServer;
use service::Services;

/// What the API serves.
#[derive(Clone)]
pub struct Parts {
    /// Use cases.
    pub repos: Repos,
    /// Pipelines, their jobs and logs.
    pub controller: Controller,
    /// The store's URL as clients may use it: without credentials.
    pub store_url: String,
    /// Who may call, and which volumes a pod gets.
    pub gate: Gate,
}

/// Serves the API at `address` until drained; port 0 picks a free one.
pub async fn serve(address: &Address, parts: Parts) -> Result<Serving, ServeError> {
    let bound = binding::bind(&parts.repos, &parts.store_url).await?;
    let stop = CancellationToken::new();
    let services = Services {
        token: bound.token,
        installation: bound.installation,
        started: parts.repos.clock().now(),
        blobs: parts.repos.blobs().clone(),
        repos: parts.repos,
        controller: parts.controller,
        store_url: parts.store_url,
        gate: parts.gate.clone(),
        stop: stop.clone(),
    };
    server::listen(address, routes(services), parts.gate, stop).await
}

macro_rules! sized {
    ($server:ident, $service:expr) => {
        $server::new($service)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    };
}

fn routes(services: Services) -> Routes {
    let server = version::Server { services: services.clone() };
    Routes::new(sized!(PfsApiServer, pfs::Pfs { services: services.clone() }))
        .add_service(sized!(PpsApiServer, pps::Pps { services: services.clone() }))
        .add_service(sized!(
            TransactionServer,
            transactions::Transactions { services: services.clone() }
        ))
        .add_service(sized!(FilesetServer, storage::Storage { services: services.clone() }))
        .add_service(sized!(PfsServer, native::Native { services }))
        .add_service(VersionServer::new(server.clone()))
        .add_service(AdminServer::new(server))
}

#[cfg(test)]
mod tests;
