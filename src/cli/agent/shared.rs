//! What all volumes of a node share: the server, the caches, the place where
//! changes are staged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pfs_daemonset::{Held, Refusal};
use tokio::runtime::Handle;

use super::note::Note;
use super::work::Work;
use crate::api::client::{Address, connect_later};
use crate::cli::direct;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::mount::{Following, Prefetch, ServerSource, area, nodes, reach, through};
use crate::model::{Clock, SystemClock};
use crate::mount::Backing;
use crate::vfs::Warmth;
use crate::vfs::transaction::Area;

/// How often a server that is away is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long it may take to say which one it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is decided once for all volumes.
#[derive(Debug)]
pub struct Settings {
    pub address: Address,
    pub cache: Option<(PathBuf, u64)>,
    pub memory: u64,
    pub staging: Option<PathBuf>,
    /// How long a volume waits for what was written to its branch before.
    pub wait: Duration,
    /// Who has the kernel open files that it is to read by itself.
    pub backing: Arc<dyn Backing>,
}

impl Settings {
    /// How long a volume waits unless said. A kubelet gives up after two minutes.
    pub const WAIT: Duration = Duration::from_secs(30);
}

/// What all volumes share.
pub struct Shared {
    pub source: Arc<ServerSource>,
    pub clock: Arc<dyn Clock>,
    pub runtime: Handle,
    pub area: Area,
    /// Where objects are read, unless through the server.
    pub store: Option<String>,
    has_cache: bool,
    served: AtomicUsize,
    /// What goes on behind volumes that are over, and the end of this process
    /// waits for.
    pub work: Arc<Work>,
    /// How long a volume waits for what was written to its branch before.
    pub wait: Duration,
    /// Who has the kernel open files that it is to read by itself.
    pub backing: Arc<dyn Backing>,
}

impl Shared {
    /// Reaches the server; waits for it, unless what `found` says is enough to
    /// go on with volumes of before.
    pub async fn new(settings: &Settings, found: &[(String, Held)]) -> Outcome<Arc<Self>> {
        let client = connect_later(&settings.address);
        let client = client.map_err(|error| Failure::new(error.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let known = found.iter().find_map(|(_, held)| Note::read(&held.note).ok());
        let cache = settings.cache.as_ref().map(|(dir, size)| (dir.as_path(), *size));
        let make = |store| nodes(store, cache, settings.memory, Arc::clone(&clock));
        let (source, store) = loop {
            let reached = async {
                let (url, store) = reach(&client).await?;
                let (clock, host) = (Arc::clone(&clock), host.clone());
                let source = ServerSource::new(client.clone(), make(store), clock, host).await?;
                Ok::<_, Failure>((source, url))
            };
            match (tokio::time::timeout(PATIENCE, reached).await, &known) {
                (Ok(Ok(reached)), _) => break reached,
                (_, Some(note)) => {
                    tracing::warn!("the server is away; volumes of before are gone on with");
                    let opened = note.store.as_deref().and_then(direct::open);
                    let store = opened.unwrap_or_else(|| through(&client));
                    let (clock, writer) = (Arc::clone(&clock), (host, note.identity.clone()));
                    let source = ServerSource::of(client, make(store), clock, writer);
                    break (source, note.store.clone());
                }
                (Ok(Err(failure)), None) => {
                    tracing::warn!(failure.message, "the server is away; waiting for it");
                }
                (Err(_), None) => tracing::warn!("the server does not answer; waiting for it"),
            }
            tokio::time::sleep(AGAIN).await;
        };
        Ok(Arc::new(Self {
            source,
            clock,
            runtime: Handle::current(),
            area: area(settings.staging.as_deref()),
            store,
            has_cache: settings.cache.is_some(),
            served: AtomicUsize::new(0),
            work: Arc::default(),
            wait: settings.wait,
            backing: Arc::clone(&settings.backing),
        }))
    }

    pub fn following(&self) -> Following {
        Following(Arc::clone(&self.source))
    }

    /// Which server.
    pub fn identity(&self) -> String {
        self.source.writer().1
    }

    /// Refuses to fetch content that could not be kept.
    pub fn check_prefetch(&self, prefetch: &Prefetch) -> Result<(), Refusal> {
        match prefetch {
            Prefetch::Some(Warmth::Content(_)) if !self.has_cache => {
                let what = format!("prefetch: {prefetch} needs an agent with --cache");
                Err(Refusal::new(pfs_daemonset::Code::FailedPrecondition, what))
            }
            Prefetch::None | Prefetch::Some(_) => Ok(()),
        }
    }

    /// Whether what was read is kept on disk.
    pub fn has_cache(&self) -> bool {
        self.has_cache
    }

    /// A mount has begun.
    pub fn begun(&self) {
        self.served.fetch_add(1, Ordering::AcqRel);
    }

    /// A mount has ended.
    pub fn ended(&self) {
        self.served.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many volumes are mounted.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Acquire)
    }
}

/// What it costs in memory unless said: half of what this may have.
pub fn memory() -> u64 {
    const DEFAULT: u64 = 512 << 20;
    const LEAST: u64 = 64 << 20;
    pfs_daemonset::cgroup::limit().map_or(DEFAULT, |limit| (limit / 2).max(LEAST))
}

/// Makes a directory's path independent of the current directory.
pub fn absolute(dir: Option<&Path>) -> Outcome<Option<PathBuf>> {
    Ok(dir.map(std::path::absolute).transpose()?)
}
