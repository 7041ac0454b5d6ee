//! Pages of a mount.

use std::sync::Arc;

use async_trait::async_trait;

use super::layers::{caches, histogram, number, process, store};
use crate::mount::stats::{Snapshot, Stats, errno_name};
use crate::web::{Exposition, Kind, Page, Site};

/// `/metrics` and `/healthz` of a mount.
pub struct MountPages(pub Arc<Stats>);

#[async_trait]
impl Site for MountPages {
    async fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(Page::metrics(text(&self.0.read()))),
            "/healthz" => Some(Page::text(200, "ok\n")),
            _ => None,
        }
    }
}

/// The counters of a mount.
pub fn text(snapshot: &Snapshot) -> String {
    let Snapshot { uptime, operations, errors, bytes_read, bytes_written, slow, usage, .. } =
        snapshot;
    let mut text = Exposition::default();
    process(&mut text, *uptime);
    let name = "pfs_mount_requests_total";
    text.family(name, Kind::Counter, "Requests of the kernel; forget counts inodes.");
    for (operation, of) in operations {
        text.sample(name, &[("operation", operation)], number(of.count));
    }
    let name = "pfs_mount_request_errors_total";
    text.family(name, Kind::Counter, "Requests that were answered with an error.");
    for (errno, count) in errors {
        text.sample(name, &[("errno", &errno_name(*errno))], number(*count));
    }
    let name = "pfs_mount_request_duration_seconds";
    text.family(name, Kind::Histogram, "How long answers took.");
    for (operation, of) in operations {
        histogram(&mut text, name, ("operation", operation), &of.latency);
    }
    let slow = number(slow.count);
    let passed = number(snapshot.passed_through);
    for (name, help, count) in [
        ("pfs_mount_passthrough_opens_total", "Opens of files the kernel reads itself.", passed),
        ("pfs_mount_read_bytes_total", "Bytes read by requests.", number(*bytes_read)),
        ("pfs_mount_written_bytes_total", "Bytes written by requests.", number(*bytes_written)),
        ("pfs_mount_slow_operations_total", "Operations that took too long.", slow),
    ] {
        text.single(name, Kind::Counter, help, count);
    }
    let inodes = number(usage.inodes);
    text.single("pfs_mount_inodes", Kind::Gauge, "Inodes that the kernel holds.", inodes);
    caches(&mut text, &usage.cache, &usage.nodes);
    store(&mut text, &usage.store);
    text.into_text()
}
