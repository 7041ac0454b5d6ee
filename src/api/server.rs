//! Listening, serving and draining.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tower::layer::util::{Identity, Stack};

use super::authentication::Authentication;
use super::calls::Calls;
use super::client::{Address, CONNECTION_WINDOW, FRAME, STREAM_WINDOW};
use super::unimplemented::NameMethods;
use crate::catalog::CatalogError;
use crate::controller::identity::Gate;
use crate::store::StoreError;

/// Why the API is not being served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A kind of address only clients use.
    #[error("cannot listen on {address}: serve grpc:// or unix:// and terminate TLS before it")]
    Unsupported {
        /// The address.
        address: String,
    },
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog's data are in another store.
    #[error("the catalog belongs to another store than {store}: its data are in {belongs}")]
    OtherStore {
        /// The store that was named.
        store: String,
        /// Where the right one was the last time.
        belongs: String,
    },
    /// The store has the data of another catalog.
    #[error("the store {store} belongs to another catalog")]
    OtherCatalog {
        /// The store.
        store: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transport failed while serving.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl ServeError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OtherStore { .. } => Some(
                "name that store with --store or PFS_STORE, or a new state directory with --root",
            ),
            Self::OtherCatalog { .. } => Some(
                "use the state directory it was made with; when that is lost, \
                 'pfs fsck --rebuild' makes a new catalog from the store",
            ),
            Self::Store(error) => error.hint(),
            Self::Bind { .. }
            | Self::Unsupported { .. }
            | Self::Catalog(_)
            | Self::Transport(_) => None,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    address: Address,
    stop: CancellationToken,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
    calls: Calls,
    _socket: Option<SocketFile>,
}

impl Serving {
    /// Where it listens, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it was asked so far.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Takes no new calls and waits for those under way, `grace` at most;
    /// what is left then is cut off.
    pub async fn drain(self, grace: Duration) -> Result<(), ServeError> {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        match tokio::time::timeout(grace, self.task).await {
            Ok(Ok(served)) => Ok(served?),
            // The task panicked or was aborted; nothing is being served.
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}

/// The socket's name in the file system, removed at the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing is lost when the file stays: the next server replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Serves `routes` on `address` until drained. `stop` also ends the calls
/// that would listen for ever.
pub(super) async fn listen(
    address: &Address,
    routes: Routes,
    gate: Gate,
    stop: CancellationToken,
) -> Result<Serving, ServeError> {
    let calls = Calls::default();
    let router = router(routes, calls.clone(), gate);
    let stopped = stop.clone().cancelled_owned();
    match address {
        Address::Plain(place) => {
            let listener = TcpListener::bind(place).await.map_err(|e| bind(address, e))?;
            let bound = listener.local_addr().map_err(|e| bind(address, e))?;
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let task = spawn(router.serve_with_incoming_shutdown(incoming, stopped));
            let address = Address::Plain(bound.to_string());
            Ok(Serving { address, stop, task, calls, _socket: None })
        }
        Address::Unix(path) => {
            let listener = bind_socket(path).map_err(|e| bind(address, e))?;
            let incoming = UnixListenerStream::new(listener);
            let task = spawn(router.serve_with_incoming_shutdown(incoming, stopped));
            let socket = Some(SocketFile(path.clone()));
            Ok(Serving { address: address.clone(), stop, task, calls, _socket: socket })
        }
        Address::Tls(_) => Err(ServeError::Unsupported { address: address.to_string() }),
    }
}

fn bind(address: &Address, source: io::Error) -> ServeError {
    ServeError::Bind { address: address.to_string(), source }
}

/// What a call goes through, the last first.
type Layers = Stack<Authentication, Stack<Calls, Stack<NameMethods, Identity>>>;

fn router(routes: Routes, calls: Calls, gate: Gate) -> Router<Layers> {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .layer(NameMethods)
        .layer(calls)
        .layer(Authentication(gate))
        .add_routes(routes)
}

fn spawn<F>(serving: F) -> JoinHandle<Result<(), tonic::transport::Error>>
where
    F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
{
    tokio::spawn(serving)
}

/// Binds `path`, taking over a socket that nobody listens on any more.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}
