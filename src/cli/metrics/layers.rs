//! What mounts and servers have in common: what lies below, and the process.

use crate::chunk::CacheStats;
use crate::model::Latency;
use crate::store::StoreStats;
use crate::tree::NodeStats;
use crate::web::{Exposition, Kind, resident_bytes};

/// A count of something as a value. Counts stay far below 2^52.
pub fn number(count: u64) -> f64 {
    count as f64
}

/// The process itself.
pub fn process(text: &mut Exposition, uptime: f64) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("pfs_build_info", Kind::Gauge, "The version of this program.");
    text.sample("pfs_build_info", &version, 1.0);
    let (name, help) = ("pfs_uptime_seconds", "Since when this serves.");
    text.single(name, Kind::Gauge, help, uptime);
    let (name, help) = ("process_resident_memory_bytes", "Resident memory of the process.");
    text.single(name, Kind::Gauge, help, number(resident_bytes()));
}

/// The object store.
pub fn store(text: &mut Exposition, stats: &StoreStats) {
    let StoreStats { get, put, list, delete, bytes_in, bytes_out } = *stats;
    let name = "pfs_store_requests_total";
    text.family(name, Kind::Counter, "Requests to the object store.");
    for (kind, count) in [("get", get), ("put", put), ("list", list), ("delete", delete)] {
        text.sample(name, &[("kind", kind)], number(count));
    }
    let name = "pfs_store_bytes_total";
    text.family(name, Kind::Counter, "Bytes from (in) and to (out) the object store.");
    for (direction, count) in [("in", bytes_in), ("out", bytes_out)] {
        text.sample(name, &[("direction", direction)], number(count));
    }
}

/// The caches.
pub fn caches(text: &mut Exposition, content: &CacheStats, nodes: &NodeStats) {
    let caches = [
        ("memory", content.memory_hits, content.memory_misses, content.memory_bytes),
        ("disk", content.disk_hits, content.disk_misses, content.disk_bytes),
        ("nodes", nodes.hits, nodes.misses, nodes.bytes),
    ];
    let name = "pfs_cache_lookups_total";
    text.family(name, Kind::Counter, "Looks for parts of packs and for tree nodes.");
    for (cache, hits, misses, _) in caches {
        for (result, count) in [("hit", hits), ("miss", misses)] {
            text.sample(name, &[("cache", cache), ("result", result)], number(count));
        }
    }
    let name = "pfs_foreseen_parts_total";
    text.family(name, Kind::Counter, "Parts fetched in the order of earlier reads.");
    let ahead = [
        ("fetched", content.ahead_fetched),
        ("used", content.ahead_used),
        ("wasted", content.ahead_wasted),
    ];
    for (what, count) in ahead {
        text.sample(name, &[("what", what)], number(count));
    }
    text.family("pfs_cache_bytes", Kind::Gauge, "Bytes held.");
    for (cache, _, _, bytes) in caches {
        text.sample("pfs_cache_bytes", &[("cache", cache)], number(bytes));
    }
    let name = "pfs_cache_budget_bytes";
    text.family(name, Kind::Gauge, "Bytes that may be held; 0 without a cache directory.");
    text.sample(name, &[("cache", "disk")], number(content.disk_budget));
}

/// One histogram of the family `name`, in seconds: a bucket for every fourth
/// power of two.
pub fn histogram(text: &mut Exposition, name: &str, label: (&str, &str), latency: &Latency) {
    let bucket = format!("{name}_bucket");
    for power in (10..=36).step_by(2) {
        let bound = 1_u64 << power;
        let below: u64 = latency.buckets.range(..=bound).map(|(_, count)| count).sum();
        let seconds = (bound as f64 / 1e9).to_string();
        text.sample(&bucket, &[label, ("le", &seconds)], number(below));
    }
    let all = number(latency.buckets.values().sum());
    text.sample(&bucket, &[label, ("le", "+Inf")], all);
    text.sample(&format!("{name}_sum"), &[label], number(latency.total_ns) / 1e9);
    text.sample(&format!("{name}_count"), &[label], all);
}
