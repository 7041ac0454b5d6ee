//! Asking a driver how it is, as its orchestrator would.

use std::io;
use std::path::Path;
use std::time::Duration;

use tonic::transport::Endpoint;

use crate::proto::csi::ProbeRequest;
use crate::proto::csi::identity_client::IdentityClient;

/// How long it may take to answer: longer than it takes to find somebody silent
/// whom it needs.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether the driver at the socket `endpoint` can work; an error when it does
/// not answer, or says that it will not by itself.
pub async fn probe(endpoint: &Path) -> io::Result<bool> {
    let asked = async {
        let endpoint = Endpoint::try_from(format!("unix://{}", endpoint.display()));
        let channel = endpoint.map_err(io::Error::other)?.connect().await;
        let mut client = IdentityClient::new(channel.map_err(io::Error::other)?);
        let answer = client.probe(ProbeRequest {}).await;
        answer.map_err(|status| io::Error::other(status.message().to_owned()))
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| io::Error::other("the driver does not answer"))??;
    Ok(answer.into_inner().ready.unwrap_or(true))
}
