//! Listening and answering.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::HttpAddress;

/// How many connections are answered at a time.
const CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after a connection that could not be accepted.
const AGAIN: Duration = Duration::from_millis(50);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub media: &'static str,
    /// The content.
    pub body: String,
}

impl Page {
    /// Text for people.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, media: "text/plain; charset=utf-8", body: body.into() }
    }

    /// Metrics for Prometheus.
    #[must_use]
    pub fn metrics(body: String) -> Self {
        Self { status: 200, media: "text/plain; version=0.0.4; charset=utf-8", body }
    }
}

/// Pages by path.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    /// The page at `path`; `None` where there is none.
    async fn page(&self, path: &str) -> Option<Page>;
}

/// A site that is being served until this is dropped.
#[derive(Debug)]
pub struct Listening {
    address: HttpAddress,
    _stop: DropGuard,
    _socket: Option<SocketFile>,
}

impl Listening {
    /// Where, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> &HttpAddress {
        &self.address
    }
}

/// The socket's name in the file system, removed at the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing is lost when the file stays: the next one replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves `site` at `address`.
pub async fn serve(address: &HttpAddress, site: Arc<dyn Site>) -> io::Result<Listening> {
    let (listener, address, socket) = match address {
        HttpAddress::Tcp(place) => {
            let listener = TcpListener::bind(place).await?;
            let address = HttpAddress::Tcp(listener.local_addr()?.to_string());
            (Listener::Tcp(listener), address, None)
        }
        HttpAddress::Unix(path) => {
            let asked = std::os::unix::net::UnixStream::connect(path);
            if asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                // Left by a process that is gone.
                std::fs::remove_file(path)?;
            }
            let listener = Listener::Unix(UnixListener::bind(path)?);
            (listener, address.clone(), Some(SocketFile(path.clone())))
        }
    };
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(answer_all(listener, site, stop.clone())));
    Ok(Listening { address, _stop: stop.drop_guard(), _socket: socket })
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<C: AsyncRead + AsyncWrite + Unpin + Send> Connection for C {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Connection>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Answers connections, each in a task of its own, as long as it is polled.
async fn answer_all(listener: Listener, site: Arc<dyn Site>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(connection) => {
                let answered = answer(connection, Arc::clone(&site));
                let stop = stop.clone();
                tokio::spawn(async move {
                    stop.run_until_cancelled(answered).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn answer(connection: Box<dyn Connection>, site: Arc<dyn Site>) {
    let service = service_fn(move |request| reply(Arc::clone(&site), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(connection), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn reply(
    site: Arc<dyn Site>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path().to_owned();
    let page = match reads {
        true => site.page(&path).await,
        false => Some(Page::text(405, "only GET and HEAD are answered here\n")),
    };
    let page = page.unwrap_or_else(|| Page::text(404, "there is no such page\n"));
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or_default();
    let media = header::HeaderValue::from_static(page.media);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}
