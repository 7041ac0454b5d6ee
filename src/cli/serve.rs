//! `serve`: wires the library's parts into a server.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::Address;
use crate::chunk::{BlobConfig, Blobs};
use crate::cli::guard::{self, GuardArgs};
use crate::cli::logging::{self, LogFormat};
use crate::cli::metrics::ServerPages;
use crate::cli::output::parse_memory;
use crate::cli::places::{Places, unserved};
use crate::cli::prelude::*;
use crate::controller::executor::overlay;
use crate::controller::executor::process::ProcessExecutor;
use crate::controller::identity::Gate;
use crate::controller::{Controller, ControllerConfig, InputViews, MountedViews};
use crate::model::{Clock, SystemClock, Timestamp};
use crate::mount::{MountOptions, Mounted};
use crate::repo::Repos;
use crate::store;
use crate::vfs::{DatumViews, Files};
use crate::web::{self, HttpAddress, InvalidHttpAddress, Listening};

/// Run the server until it is stopped
///
/// SIGTERM and Ctrl-C let calls in flight end first. The gRPC API listens at
/// --address, 127.0.0.1:30650 unless given (PFS_ADDRESS is for clients);
/// nothing but loopback is bound unless asked.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  pfs serve
  pfs serve --root /srv/pfs --address 127.0.0.1:0
  pfs serve --store s3://bucket/prefix --address 0.0.0.0:30650
  pfs serve --auth kubernetes --trusted pfs/pfs-agent --access access.yaml --address 0.0.0.0:30650")]
pub struct Args {
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    guard: GuardArgs,
    /// Where the S3 gateway is to listen; this build has none
    #[arg(long, value_name = "ADDRESS", hide = true)]
    s3_address: Option<String>,
    /// Where /metrics, /healthz and /readyz are: HOST:PORT, unix:/PATH or
    /// none; 127.0.0.1:30080 unless given
    #[arg(long, value_name = "ADDRESS")]
    http_address: Option<String>,
    /// How logs look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// How the programs of pipelines are run
    #[arg(long, value_name = "EXECUTOR", default_value = "process")]
    executor: Executor,
    /// How many datums run at the same time; four per CPU, 16 at least, unless given
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How much memory caches and buffers may use
    #[arg(long, value_name = "SIZE", default_value = "192MiB", value_parser = parse_memory)]
    memory: u64,
}

/// How the programs of pipelines are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Executor {
    /// On this host.
    Process,
    /// By a container runtime.
    Container,
    /// As pods.
    Kubernetes,
}

/// Where pages are served unless said.
const HTTP_ADDRESS: &str = "127.0.0.1:30080";

/// How long calls in flight may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(30);

impl Args {
    /// Serves until told to stop.
    pub async fn run(self, cx: &Context) -> Outcome {
        self.log(cx.globals.verbose)?;
        self.refuse_absent(cx)?;
        let root = self.places.root()?;
        let gate = self.guard.gate().await?;
        let parts = self.open(&root, gate.clone()).await?;
        let (controller, stop) = (parts.controller.clone(), CancellationToken::new());
        let (repos, began) = (parts.repos.clone(), Instant::now());
        let address = self.address(cx)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let serving = api::serve(&address, parts).await.map_err(|error| unserved(&error))?;
        tracing::info!(address = %serving.address(), root = %root.display(), "serving");
        if let Some(notice) = guard::exposed(serving.address(), &gate) {
            cx.notice(&notice);
        }
        let until = stop.clone();
        let mut jobs = tokio::spawn(async move { controller.run(until).await });
        let calls = serving.calls().clone();
        let pages = self.pages(ServerPages { repos, calls, began, stop: stop.clone() }).await?;
        cx.say(&serving.address().to_string())?;
        if let Some(pages) = &pages {
            tracing::info!(address = %pages.address(), "metrics");
            if self.http_address.is_some() {
                cx.say(&pages.address().to_string())?;
            }
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            ended = &mut jobs => return ended.map_err(failed)?.map_err(failed),
        }
        tracing::info!("draining");
        stop.cancel();
        let drained = serving.drain(GRACE).await.map_err(failed);
        jobs.await.map_err(failed)?.map_err(failed)?;
        drained
    }

    /// Logs go to standard error.
    fn log(&self, verbose: u8) -> Outcome {
        let default = match verbose {
            0 => "info",
            1 => "info,pfs=debug",
            _ => "debug,pfs=trace",
        };
        logging::start(self.log_format, default, None)
    }

    /// Serves health and metrics; without them when nobody asked and another
    /// process has the port.
    async fn pages(&self, pages: ServerPages) -> Outcome<Option<Listening>> {
        let asked = self.http_address.as_deref();
        if asked == Some("none") {
            return Ok(None);
        }
        let address: HttpAddress = asked
            .unwrap_or(HTTP_ADDRESS)
            .parse()
            .map_err(|error: InvalidHttpAddress| Failure::usage(error.to_string()))?;
        match web::serve(&address, Arc::new(pages)).await {
            Ok(listening) => Ok(Some(listening)),
            Err(error) if asked.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(%address, "no /metrics: another process listens; see --http-address");
                Ok(None)
            }
            Err(error) => Err(Failure::new(format!("cannot listen on {address}: {error}"))
                .hint("name another with --http-address, or 'none'")),
        }
    }

    fn refuse_absent(&self, cx: &Context) -> Outcome {
        if self.s3_address.is_some() {
            cx.notice("notice: --s3-address: this build has no S3 gateway");
        }
        match self.executor {
            Executor::Process => Ok(()),
            Executor::Container | Executor::Kubernetes => {
                Err(Failure::new("this build runs programs on the host only")
                    .hint("use --executor process"))
            }
        }
    }

    /// Where to listen.
    fn address(&self, cx: &Context) -> Outcome<Address> {
        let text = cx.globals.address.as_deref().unwrap_or(api::client::DEFAULT_ADDRESS);
        text.parse().map_err(|error| Failure::usage(format!("{error}")))
    }

    /// Opens store and catalog.
    async fn open(&self, root: &Path, gate: Gate) -> Outcome<api::Parts> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (catalog, store) = self.places.open(root, &clock).await?;
        tidy_store(store.to_string(), clock.now());
        let store_url = store.to_string();
        // A third for what is read, half for what is written.
        let memory = usize::try_from(self.memory).unwrap_or(usize::MAX);
        let config =
            BlobConfig { memory: memory / 3, write_buffer: memory / 2, ..BlobConfig::default() };
        let blobs = Blobs::new(store, Arc::clone(&clock), config);
        learn(blobs.clone());
        let repos = Repos::new(catalog, blobs, clock);
        tidy_catalog(repos.clone());
        let controller = self.controller(&repos, root).await?;
        Ok(api::Parts { repos, controller, store_url, gate })
    }

    /// Runs the programs of pipelines through this binary.
    async fn controller(&self, repos: &Repos, root: &Path) -> Outcome<Controller> {
        let executor = std::env::current_exe().and_then(ProcessExecutor::new).map_err(failed)?;
        let mut config = ControllerConfig::new(root.join("jobs"));
        if let Some(workers) = self.workers {
            config.max_workers = workers.get();
        }
        fs::create_dir_all(&config.dir)
            .and_then(|()| fs::set_permissions(&config.dir, fs::Permissions::from_mode(0o700)))
            .map_err(failed)?;
        let views = match shown_inputs(&executor, repos, &config.dir.join("views")).await {
            Ok(views) => views,
            Err(error) => {
                tracing::warn!(%error, "inputs of programs are copied: they cannot be mounted");
                None
            }
        };
        let nodes = repos.nodes().clone();
        Ok(Controller::new(repos.clone(), nodes, Arc::new(executor), views, config))
    }
}

/// Removes what dead writers left of packs, beside the start: it looks at
/// every pack.
fn tidy_store(url: String, now: Timestamp) {
    drop(tokio::task::spawn_blocking(move || match store::remove_stale_uploads(&url, now) {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "unfinished uploads of dead writers are removed"),
        Err(error) => tracing::warn!(%error, "what dead writers left stays where it is"),
    }));
}

/// How often events that nobody needs any more are dropped.
const TRIM: Duration = Duration::from_secs(600);

/// Ends removals that a crash broke off, and drops old events for as long as
/// the server runs.
fn tidy_catalog(repos: Repos) {
    tokio::spawn(async move {
        if let Err(error) = repos.resume_removals().await {
            tracing::warn!(%error, "objects of removed commits stay for now");
        }
        loop {
            if let Err(error) = repos.trim_events().await {
                tracing::warn!(%error, "old events stay for now");
            }
            tokio::time::sleep(TRIM).await;
        }
    });
}

/// Packs whose chunks a new server knows, so that they are not stored again.
const PACKS_KNOWN: usize = 64;

/// Learns what the newest packs hold, beside the start: without it a chunk may
/// be stored twice, never lost.
fn learn(blobs: Blobs) {
    tokio::spawn(async move {
        if let Err(error) = blobs.learn_recent(PACKS_KNOWN).await {
            tracing::warn!(%error, "what the newest packs hold is not known");
        }
    });
}

/// Mounts what programs see of their inputs where only they see it. `None`
/// without root rights: inputs are then copied.
async fn shown_inputs(
    executor: &ProcessExecutor,
    repos: &Repos,
    dir: &Path,
) -> Result<Option<Arc<dyn InputViews>>, Box<dyn std::error::Error>> {
    if !executor.is_apart() {
        return Ok(None);
    }
    fs::create_dir_all(dir)?;
    let scratch = dir.to_owned();
    executor.call_apart(move || overlay::probe(&scratch)).await??;
    let (at, runtime) = (dir.to_owned(), tokio::runtime::Handle::current());
    let views = DatumViews::new(repos.nodes().clone());
    let files = Arc::new(Files::of_datums(views.clone(), repos.clock().now()));
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let mount = move || Mounted::new(&at, &files, &options, &runtime).map(drop);
    executor.call_apart(mount).await??;
    let clock = Arc::clone(repos.clock());
    Ok(Some(Arc::new(MountedViews::new(views, dir.to_owned(), clock))))
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(error.to_string())
}
