//! Connecting to a server: addresses and the clients of its services.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
/// What calls answer with, for callers that know gRPC only through here.
pub use tonic::{Code, Response, Status, Streaming};
use tower::service_fn;

use super::proto::{
    admin_v2, metadata, pfs_v1, pfs_v2, pps_v2, storage, transaction_v2, versionpb_v2,
};
use super::service::TRANSACTION;
pub use super::status::hint;
pub use super::token_file::TokenFile;
use crate::model::CommitId;

/// Where a server listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "grpc://127.0.0.1:30650";

/// The largest message either side accepts, in bytes.
pub const MESSAGE_MAX: usize = 64 << 20;

/// How long to wait for a connection before giving up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes a peer may send ahead of the reader, per stream; enough to keep a
/// fast disk busy, small enough that a hundred streams fit the memory budget.
pub(super) const STREAM_WINDOW: u32 = 2 << 20;

/// The same for a whole connection.
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;

/// Bytes of the largest HTTP/2 frame either side sends: the default of 16 KiB
/// costs a gigabyte 65,000 of them.
pub(super) const FRAME: u32 = 1 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be understood.
    #[error(
        "invalid address {address:?}: expected grpc://HOST:PORT, grpcs://HOST:PORT or unix:///PATH"
    )]
    InvalidAddress {
        /// The rejected text.
        address: String,
    },
    /// The certificates to verify a server with cannot be read.
    #[error("cannot read the certificates in {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody answers there.
    #[error("cannot reach the server at {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the transport says, innermost cause last.
        reason: String,
    },
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Plain TCP, `host:port`.
    Plain(String),
    /// TLS over TCP, `host:port`.
    Tls(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// `PFS_ADDRESS`, else `PACHD_ADDRESS`, else [`DEFAULT_ADDRESS`].
    pub fn from_env() -> Result<Self, ConnectError> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let text = set("PFS_ADDRESS").or_else(|| set("PACHD_ADDRESS"));
        text.as_deref().unwrap_or(DEFAULT_ADDRESS).parse()
    }
}

impl FromStr for Address {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        let invalid = || ConnectError::InvalidAddress { address: text.to_owned() };
        let (scheme, rest) = text.split_once("://").unwrap_or(("grpc", text));
        if scheme == "unix" {
            return match rest.starts_with('/') {
                true => Ok(Self::Unix(rest.into())),
                false => Err(invalid()),
            };
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: http::uri::Authority = authority.parse().map_err(|_| invalid())?;
        if parsed.host().is_empty() || authority.contains('@') {
            return Err(invalid());
        }
        let place = match parsed.port() {
            Some(_) => authority.to_owned(),
            // What follows the host is no number of a port.
            None if parsed.host() != authority => return Err(invalid()),
            None => format!("{authority}:30650"),
        };
        match scheme {
            "grpc" | "http" => Ok(Self::Plain(place)),
            "grpcs" | "https" => Ok(Self::Tls(place)),
            _ => Err(invalid()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(place) => write!(f, "grpc://{place}"),
            Self::Tls(place) => write!(f, "grpcs://{place}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A connection to a server; cheap to clone, reconnects by itself.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    calls: Calls,
}

/// Says who calls.
const AUTHORIZATION: &str = "authorization";

/// What calls go through.
pub type Connection = InterceptedService<Channel, Calls>;

/// What every call says besides what it asks.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    transaction: Option<AsciiMetadataValue>,
    timeout: Option<Duration>,
    token: Option<TokenFile>,
}

impl Interceptor for Calls {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(id) = &self.transaction {
            request.metadata_mut().insert(TRANSACTION, id.clone());
        }
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert(AUTHORIZATION, token.bearer()?);
        }
        Ok(request)
    }
}

impl Calls {
    /// What every call says that is not told otherwise: who makes it, where
    /// `PFS_TOKEN_FILE` names a token.
    fn from_env() -> Self {
        Self { token: TokenFile::from_env(), ..Self::default() }
    }
}

/// Connects to the server at `address`, waiting a few seconds at most.
pub async fn connect(address: &Address) -> Result<Client, ConnectError> {
    let unreachable = |error: &dyn std::error::Error| ConnectError::Unreachable {
        address: address.to_string(),
        reason: chain(error),
    };
    let endpoint = secured(address)?;
    let channel = match address {
        Address::Plain(_) | Address::Tls(_) => endpoint.connect().await,
        Address::Unix(path) => endpoint.connect_with_connector(dial(path.clone())).await,
    };
    Ok(Client { channel: channel.map_err(|error| unreachable(&error))?, calls: Calls::from_env() })
}

/// The connection to the server at `address`, made when it is first used: the
/// server may be away.
pub fn connect_later(address: &Address) -> Result<Client, ConnectError> {
    let endpoint = secured(address)?;
    let channel = match address {
        Address::Plain(_) | Address::Tls(_) => endpoint.connect_lazy(),
        Address::Unix(path) => endpoint.connect_with_connector_lazy(dial(path.clone())),
    };
    Ok(Client { channel, calls: Calls::from_env() })
}

/// Reaches a socket in the file system.
fn dial(
    path: PathBuf,
) -> impl tower::Service<Uri, Response = TokioIo<UnixStream>, Error = std::io::Error, Future: Send>
+ Send
+ 'static {
    service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    })
}

fn secured(address: &Address) -> Result<Endpoint, ConnectError> {
    match address {
        Address::Plain(place) => endpoint(&format!("http://{place}"), address),
        Address::Tls(place) => {
            let tls = ClientTlsConfig::new().ca_certificate(certificates()?);
            endpoint(&format!("https://{place}"), address)?.tls_config(tls).map_err(|error| {
                ConnectError::Unreachable { address: address.to_string(), reason: chain(&error) }
            })
        }
        Address::Unix(_) => endpoint("http://localhost", address),
    }
}

fn endpoint(uri: &str, address: &Address) -> Result<Endpoint, ConnectError> {
    let invalid = |_| ConnectError::InvalidAddress { address: address.to_string() };
    let endpoint = Endpoint::from_shared(uri.to_owned()).map_err(invalid)?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME))
}

/// The authorities to trust: `SSL_CERT_FILE`, else the system's bundle.
fn certificates() -> Result<Certificate, ConnectError> {
    let path = env::var_os("SSL_CERT_FILE")
        .map_or_else(|| PathBuf::from("/etc/ssl/certs/ca-certificates.crt"), PathBuf::from);
    match fs::read(&path) {
        Ok(pem) => Ok(Certificate::from_pem(pem)),
        Err(source) => Err(ConnectError::Certificates { path, source }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

macro_rules! service {
    ($(#[$doc:meta])* $name:ident, $client:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> $client {
            <$client>::new(InterceptedService::new(self.channel.clone(), self.calls.clone()))
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX)
        }
    };
}

impl Client {
    /// The same connection, for calls that are made within a transaction.
    #[must_use]
    pub fn within(mut self, transaction: CommitId) -> Self {
        // Hexadecimal digits always are a header's value.
        self.calls.transaction = AsciiMetadataValue::try_from(transaction.to_string()).ok();
        self
    }

    /// The same connection, for calls that are made with the token in a file
    /// other than the one that `PFS_TOKEN_FILE` names.
    #[must_use]
    pub fn with_token_file(mut self, path: PathBuf) -> Self {
        self.calls.token = Some(TokenFile::new(path));
        self
    }

    /// The same connection, for calls that are given up after a while.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.calls.timeout = Some(timeout);
        self
    }

    service!(
        /// `pfs_v2.API`: repos, commits, files.
        pfs, pfs_v2::api_client::ApiClient<Connection>
    );
    service!(
        /// `pps_v2.API`: pipelines, jobs, datums.
        pps, pps_v2::api_client::ApiClient<Connection>
    );
    service!(
        /// `versionpb_v2.API`.
        version, versionpb_v2::api_client::ApiClient<Connection>
    );
    service!(
        /// `admin_v2.API`.
        admin, admin_v2::api_client::ApiClient<Connection>
    );
    service!(
        /// `storage.Fileset`: trees outside of any commit.
        file_sets, storage::fileset_client::FilesetClient<Connection>
    );
    service!(
        /// `transaction_v2.API`: metadata calls applied at once.
        transactions, transaction_v2::api_client::ApiClient<Connection>
    );
    service!(
        /// `metadata.API`: key-value pairs on things.
        metadata, metadata::api_client::ApiClient<Connection>
    );
    service!(
        /// `pfs.v1.Pfs`: store, heads, write transactions.
        native, pfs_v1::pfs_client::PfsClient<Connection>
    );
}
