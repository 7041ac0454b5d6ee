//! A server inside the test's own process: no child, no kernel file system.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pfs::api::client::{Client, connect};
use pfs::api::{self, Address, Parts, Serving};
use pfs::catalog;
use pfs::chunk::{BlobConfig, Blobs};
use pfs::controller::executor::process::ProcessExecutor;
use pfs::controller::identity::Gate;
use pfs::controller::{Controller, ControllerConfig};
use pfs::model::{Clock, SystemClock};
use pfs::repo::Repos;
use pfs::store::Store;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Catalog in a directory of its own, store in memory, API on a free port.
pub struct InProcess {
    pub scratch: TempDir,
    serving: Serving,
    stop: CancellationToken,
    jobs: JoinHandle<()>,
}

impl InProcess {
    pub async fn start() -> Self {
        Self::start_at(|_| Address::Plain("127.0.0.1:0".to_owned())).await
    }

    /// Listens where `address` says, given the directory.
    pub async fn start_at(address: impl FnOnce(&Path) -> Address) -> Self {
        Self::start_behind(Gate::open(), address).await
    }

    /// The same, for those that `gate` lets in.
    pub async fn start_behind(gate: Gate, address: impl FnOnce(&Path) -> Address) -> Self {
        let scratch = tempfile::Builder::new().prefix("pfs-api.").tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let url = format!("sqlite://{}", scratch.path().join("catalog.db").display());
        let catalog = catalog::open(&url, Arc::clone(&clock)).await.unwrap();
        let blobs = Blobs::new(Store::memory(), Arc::clone(&clock), BlobConfig::default());
        let repos = Repos::new(catalog, blobs, clock);
        let executor = ProcessExecutor::new(env!("CARGO_BIN_EXE_pfs").into()).unwrap();
        let config = ControllerConfig::new(scratch.path().join("jobs"));
        let nodes = repos.nodes().clone();
        let controller = Controller::new(repos.clone(), nodes, Arc::new(executor), None, config);
        let stop = CancellationToken::new();
        let (runs, until) = (controller.clone(), stop.clone());
        let jobs = tokio::spawn(async move { runs.run(until).await.unwrap() });
        let parts = Parts { repos, controller, store_url: "memory://".to_owned(), gate };
        let serving = api::serve(&address(scratch.path()), parts).await.unwrap();
        Self { scratch, serving, stop, jobs }
    }

    pub fn address(&self) -> &Address {
        self.serving.address()
    }

    pub async fn client(&self) -> Client {
        connect(self.address()).await.unwrap()
    }

    /// Ends jobs and server.
    pub async fn stop(self) {
        self.stop.cancel();
        self.jobs.await.unwrap();
        self.serving.drain(Duration::from_secs(10)).await.unwrap();
    }
}
