//! Pages of a server.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::layers::{caches, histogram, number, process, store};
use crate::api::Calls;
use crate::repo::Repos;
use crate::web::{Exposition, Kind, Page, Site};

/// How long catalog and store may take until the server is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// `/metrics`, `/healthz` and `/readyz` of a server.
pub struct ServerPages {
    /// What it serves.
    pub repos: Repos,
    /// What it was asked.
    pub calls: Calls,
    /// Since when it serves.
    pub began: Instant,
    /// Whether it is about to end.
    pub stop: CancellationToken,
}

#[async_trait]
impl Site for ServerPages {
    async fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(Page::metrics(self.metrics())),
            "/healthz" => Some(Page::text(200, "ok\n")),
            "/readyz" => Some(self.readiness().await),
            "/" => Some(Page::text(200, "pfs: see /metrics, /healthz and /readyz\n")),
            _ => None,
        }
    }
}

impl ServerPages {
    /// Whether calls would be answered: catalog and store are asked.
    async fn readiness(&self) -> Page {
        if self.stop.is_cancelled() {
            return Page::text(503, "draining\n");
        }
        let asked = async {
            let catalog = self.repos.catalog().projects().await;
            catalog.map_err(|error| format!("catalog: {error}"))?;
            let store = self.repos.store().head("format").await;
            store.map(drop).map_err(|error| format!("store: {error}"))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(())) => Page::text(200, "ready\n"),
            Ok(Err(reason)) => Page::text(503, format!("not ready: {reason}\n")),
            Err(_) => Page::text(503, "not ready: catalog or store do not answer\n"),
        }
    }

    fn metrics(&self) -> String {
        let mut text = Exposition::default();
        process(&mut text, self.began.elapsed().as_secs_f64());
        let calls = self.calls.read();
        let name = "pfs_rpc_requests_total";
        text.family(name, Kind::Counter, "Calls by method and by the code of the answer.");
        for call in &calls {
            for (code, count) in &call.codes {
                let labels = [("method", call.method.as_str()), ("code", code)];
                text.sample(name, &labels, number(*count));
            }
        }
        let name = "pfs_rpc_duration_seconds";
        text.family(name, Kind::Histogram, "How long answers took to begin.");
        for call in &calls {
            histogram(&mut text, name, ("method", &call.method), &call.latency);
        }
        caches(&mut text, &self.repos.blobs().cache_stats(), &self.repos.nodes().stats());
        store(&mut text, &self.repos.store().stats());
        text.into_text()
    }
}
