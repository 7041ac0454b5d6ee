//! `agent`: serves the volumes of a node, all in one process.

mod attributes;
mod backing;
mod earlier;
mod ending;
mod note;
mod record;
mod refuse;
mod session;
mod shared;
mod volumes;
mod work;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pfs_daemonset::agent::server::{Calls, serve};
use pfs_daemonset::{Keeping, KubePods, Listener, NoPods, Node, Openers, Pods, limits};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::backing::Driver;
pub use self::shared::{Settings, Shared, memory};
pub use self::volumes::Volumes;
use super::failure::Exit;
use super::logging::{self, LogFormat};
use super::metrics::AgentPages;
use super::output::{parse_memory, parse_size};
use super::prelude::*;
use crate::web::{self, HttpAddress};

/// Serve the volumes of a node
///
/// One process for all of them, with one connection to the server at PFS_ADDRESS,
/// one cache and one budget of memory. A driver ('pfs csi --agent') mounts them
/// and hands them over at --socket. With a keeper, which outlives this process,
/// the next agent goes on where this one has ended: programs that use a volume
/// notice a pause. SIGTERM waits for commits under way, up to --grace, and ends;
/// volumes stay mounted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  pfs keeper --socket /run/pfs/keeper.sock
  pfs agent --socket /run/pfs/agent.sock --keeper /run/pfs/keeper.sock \\
    --cache /var/cache/pfs --staging /var/lib/pfs/volumes")]
pub struct Args {
    /// Where drivers connect to it; only root and this user may
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Where the keeper listens; without one, volumes end with this process
    #[arg(long, value_name = "PATH")]
    keeper: Option<PathBuf>,
    /// Keep what was read in this directory
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How large that directory may grow
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = parse_size)]
    cache_size: u64,
    /// How much memory caches and buffers may use; half of what the control
    /// group of this process allows unless given
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// Where changes are staged until they are committed; has to outlive this
    /// process, and should outlive the machine's
    #[arg(long, value_name = "DIR")]
    staging: Option<PathBuf>,
    /// Show metrics for Prometheus at HOST:PORT, PORT or unix:/PATH
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<HttpAddress>,
    /// How long a volume waits for what ended pods have written to its branch;
    /// then it is refused, and the kubelet asks again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,
    /// How long SIGTERM waits for what is under way
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    grace: Duration,
    /// How logs look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn duration(text: &str) -> Result<Duration, String> {
    super::mount::duration(text)
}

/// How long a keeper is waited for that is not there.
const KEEPER: Duration = Duration::from_secs(10);

/// How often it is looked whether a keeper has everything.
const KEPT: Duration = Duration::from_millis(50);

/// A buffer that is as large comes from the system: those of sessions, of which
/// only the beginning is ever touched.
const BUFFER: i32 = 1 << 20;

/// How often what nobody needs any more is removed from the staging directory.
const SWEEP: Duration = Duration::from_secs(3600);

/// How long an unpublish waits for the end of the pod's containers to be known.
const OUTCOME: Duration = Duration::from_secs(10);

impl Args {
    /// Serves until told to stop.
    pub async fn run(self, cx: &Context) -> Outcome {
        logging::start(self.log_format, "info", None)?;
        let openers = Arc::<Openers>::default();
        let settings = self.settings(cx, Arc::clone(&openers))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (node, calls) = tokio::select! {
            _ = terminate.recv() => leave(),
            _ = interrupt.recv() => leave(),
            begun = self.begin(&settings, openers) => begun?,
        };
        let shared = Arc::clone(&node.volumes().0);
        let pages = self.pages(&shared).await;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(under_way = shared.work.count(), "ending; volumes stay mounted");
        let idle = async {
            calls.ended().await;
            shared.work.idle().await;
            // One that is being replaced itself has to be back.
            while self.keeper.is_some() && shared.served() > 0 && !node.is_kept() {
                tokio::time::sleep(KEPT).await;
            }
        };
        if tokio::time::timeout(self.grace, idle).await.is_err() {
            tracing::warn!("not everything has ended; the next agent goes on with it");
        }
        drop(pages);
        leave()
    }

    fn settings(&self, cx: &Context, openers: Arc<Openers>) -> Outcome<Settings> {
        let cache = shared::absolute(self.cache.as_deref())?;
        Ok(Settings {
            address: cx.address()?,
            cache: cache.map(|dir| (dir, self.cache_size)),
            memory: self.memory.unwrap_or_else(shared::memory),
            staging: shared::absolute(self.staging.as_deref())?,
            wait: self.wait,
            backing: Arc::new(Driver(openers)),
        })
    }

    /// Takes over what is there, and begins to listen.
    async fn begin(
        &self,
        settings: &Settings,
        openers: Arc<Openers>,
    ) -> Outcome<(Arc<Node<Volumes>>, Arc<Calls>)> {
        // Nothing may fail once something is served.
        let bind = || {
            Listener::bind(&self.socket).map_err(|error| {
                Failure::new(format!("cannot listen at {}: {error}", self.socket.display()))
            })
        };
        let (node, listener) = node(settings, self.keeper.clone(), bind).await?;
        let calls = serve(listener, Arc::clone(&node), openers)?;
        tracing::info!(volumes = node.list().len(), socket = %self.socket.display(), "serving");
        Ok((node, calls))
    }

    /// Shows metrics, if that can be done: what is served goes on without.
    async fn pages(&self, shared: &Arc<Shared>) -> Option<web::Listening> {
        let address = self.metrics.as_ref()?;
        let pages = AgentPages::new(Arc::clone(shared));
        match web::serve(address, Arc::new(pages)).await {
            Ok(listening) => Some(listening),
            Err(error) => {
                tracing::error!(%error, %address, "no metrics: name another address");
                None
            }
        }
    }
}

/// Ends this process at once: a request that is dropped on the way out would be
/// answered with an error, and one that is not is for the next agent.
fn leave() -> ! {
    std::process::exit(i32::from(Exit::Success.code()))
}

/// Who knows how pods end: the cluster that this process runs in, if it does.
async fn pods() -> Outcome<Arc<dyn Pods>> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Ok(Arc::new(NoPods));
    }
    match KubePods::connect(OUTCOME).await {
        Ok(pods) => Ok(Arc::new(pods)),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// All volumes of a node, those included that a process before has left with the
/// keeper at `keeper`: waits until that one has ended.
/// `first` is done in between.
pub async fn node<T>(
    settings: &Settings,
    keeper: Option<PathBuf>,
    first: impl FnOnce() -> Outcome<T>,
) -> Outcome<(Arc<Node<Volumes>>, T)> {
    limits::raise_descriptors();
    limits::map_buffers_of(BUFFER);
    let (later, mut found_later) = mpsc::unbounded_channel();
    let (keeping, found) = match keeper {
        None => (Keeping::alone(), Vec::new()),
        Some(path) => {
            let kept = tokio::task::spawn_blocking(move || Keeping::with(&path, KEEPER, later));
            kept.await.map_err(|error| Failure::new(error.to_string()))??
        }
    };
    let first = first()?;
    let shared = Shared::new(settings, &found).await?;
    let node = Node::new(Volumes(Arc::clone(&shared)), keeping, pods().await?);
    node.resume(found).await;
    node.ready();
    ending::carry_on(&shared);
    let resumed = Arc::clone(&node);
    tokio::spawn(async move {
        while let Some(found) = found_later.recv().await {
            resumed.resume(found).await;
        }
    });
    tokio::spawn(async move {
        loop {
            let source = shared.following();
            if let Err(error) = shared.area.sweep(&source, shared.clock.now()).await {
                tracing::debug!(%error, "old staging directories stay");
            }
            tokio::time::sleep(SWEEP).await;
        }
    });
    Ok((node, first))
}
