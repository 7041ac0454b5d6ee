use std::collections::BTreeMap;

use super::layers::histogram;
use super::mounted::text;
use crate::model::{Histogram, Latency};
use crate::mount::stats::{Operations, Snapshot};
use crate::web::Exposition;

#[test]
fn a_histogram_counts_what_is_below_each_bound() {
    let counted = Histogram::default();
    for micros in [1, 3, 3000, 200_000_000] {
        counted.add(std::time::Duration::from_micros(micros));
    }
    let mut written = Exposition::default();
    histogram(&mut written, "h", ("o", "read"), &counted.read());
    let written = written.into_text();
    for line in [
        "h_bucket{o=\"read\",le=\"0.000001024\"} 1",
        "h_bucket{o=\"read\",le=\"0.000004096\"} 2",
        "h_bucket{o=\"read\",le=\"0.004194304\"} 3",
        "h_bucket{o=\"read\",le=\"+Inf\"} 4",
        "h_count{o=\"read\"} 4",
    ] {
        assert!(written.lines().any(|written| written == line), "{line} in\n{written}");
    }
}

#[test]
fn every_metric_has_its_kind_and_every_family_stands_together() {
    let read = Operations { count: 3, errors: 1, latency: Latency::default() };
    let snapshot = Snapshot {
        operations: BTreeMap::from([("read", read)]),
        errors: BTreeMap::from([(libc::EIO, 1)]),
        ..Snapshot::default()
    };
    let text = text(&snapshot);
    assert!(text.contains("pfs_mount_requests_total{operation=\"read\"} 3\n"), "{text}");
    assert!(text.contains("pfs_mount_request_errors_total{errno=\"EIO\"} 1\n"), "{text}");
    let mut family = "";
    for line in text.lines().filter(|line| !line.starts_with("# HELP")) {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => family = rest.split(' ').next().unwrap(),
            None => assert!(line.starts_with(family), "{line} after {family}"),
        }
    }
}
