//! Pages of a node agent.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::layers::{caches, number, process, store};
use crate::cli::agent::Shared;
use crate::vfs::Source as _;
use crate::web::{Exposition, Kind, Page, Site};

/// `/metrics` and `/healthz` of a node agent.
pub struct AgentPages {
    shared: Arc<Shared>,
    began: Instant,
}

impl AgentPages {
    /// Pages of an agent that begins to serve now.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, began: Instant::now() }
    }

    fn metrics(&self) -> String {
        let mut text = Exposition::default();
        process(&mut text, self.began.elapsed().as_secs_f64());
        let (served, under_way) = (self.shared.served(), self.shared.work.count());
        for (name, help, count) in [
            ("pfs_agent_volumes", "Volumes that are mounted.", served),
            (
                "pfs_agent_endings",
                "Volumes whose changes are being published or given up.",
                under_way,
            ),
        ] {
            text.single(name, Kind::Gauge, help, number(count as u64));
        }
        let following = self.shared.following();
        let nodes = following.nodes();
        caches(&mut text, &nodes.blobs().cache_stats(), &nodes.stats());
        store(&mut text, &nodes.blobs().store().stats());
        text.into_text()
    }
}

#[async_trait]
impl Site for AgentPages {
    async fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(Page::metrics(self.metrics())),
            "/healthz" => Some(Page::text(200, "ok\n")),
            _ => None,
        }
    }
}
