//! Whether a driver is well, for the probes of pods, which ask over HTTP.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::web::{Page, Site};

/// `/healthz` and `/readyz` of the driver at a socket, which is asked each time.
pub struct HealthPages {
    pub endpoint: PathBuf,
}

#[async_trait]
impl Site for HealthPages {
    async fn page(&self, path: &str) -> Option<Page> {
        let needs_others = match path {
            "/healthz" => false,
            "/readyz" => true,
            _ => return None,
        };
        Some(match (pfs_csi::probe(&self.endpoint).await, needs_others) {
            (Ok(true), _) => Page::text(200, "ok\n"),
            // To start it anew would change nothing.
            (Ok(false), false) => Page::text(200, "ok, but not ready\n"),
            (Ok(false), true) => Page::text(503, "not ready: see the log\n"),
            (Err(error), _) => Page::text(503, format!("{error}\n")),
        })
    }
}
