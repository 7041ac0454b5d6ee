//! Counters as others read them: names that stay.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Operation, SlowOperations};
use crate::model::Latency;
use crate::vfs::Usage;

/// The extended attribute that holds a [`Snapshot`] as JSON, on the top
/// directory of a mount and on each repo in it. Asking for it counts as no
/// operation.
pub const STATS: &str = "user.pfs.stats";

/// The longest value the kernel passes on, in bytes.
const VALUE_MAX: usize = 64 << 10;

/// The counters of a mount at some moment, all since it was mounted.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Seconds since it was mounted.
    pub uptime: f64,
    /// The operations that came at all, by name.
    pub operations: BTreeMap<&'static str, Operations>,
    /// Requests that were answered with an error, by its number.
    pub errors: BTreeMap<i32, u64>,
    /// Bytes that were read by requests.
    pub bytes_read: u64,
    /// Bytes that were written by requests.
    pub bytes_written: u64,
    /// Opens of files that the kernel reads by itself.
    pub passed_through: u64,
    /// Operations that took too long.
    pub slow: SlowOperations,
    /// What lies below.
    pub usage: Usage,
}

/// Requests of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operations {
    /// Those that came.
    pub count: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
    /// How long those took that were answered.
    pub latency: Latency,
}

/// The name of an error number, as in `ENOENT`.
#[must_use]
pub fn errno_name(number: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(number))
}

impl Snapshot {
    /// Requests of all kinds that want an answer: all but `forget`, which
    /// counts inodes, for many of them come in one message.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let forget = Operation::Forget.name();
        let answered = self.operations.iter().filter(|(name, _)| **name != forget);
        answered.map(|(_, operation)| operation.count).sum()
    }

    /// The value of [`STATS`].
    #[must_use]
    pub fn to_json(&self) -> String {
        let whole = self.value(true).to_string();
        match whole.len() <= VALUE_MAX {
            true => whole,
            // Better without detail than not at all.
            false => self.value(false).to_string(),
        }
    }

    fn value(&self, detailed: bool) -> Value {
        let operations = self.operations.iter();
        let operations = operations.map(|(name, of)| ((*name).to_owned(), of.value(detailed)));
        let errors =
            self.errors.iter().map(|(number, count)| (errno_name(*number), (*count).into()));
        let Usage { inodes, store, cache, cache_directory, nodes } = &self.usage;
        json!({
            "version": 1,
            "process": std::process::id(),
            "uptime_seconds": self.uptime,
            "requests": self.requests(),
            "operations": operations.collect::<Map<_, _>>(),
            "errors": errors.collect::<Map<_, _>>(),
            "slow": { "count": self.slow.count, "recent": self.slow.recent },
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "passthrough_opens": self.passed_through,
            "inodes": inodes,
            "caches": {
                "memory": {
                    "hits": cache.memory_hits,
                    "misses": cache.memory_misses,
                    "bytes": cache.memory_bytes,
                },
                "disk": {
                    "hits": cache.disk_hits,
                    "misses": cache.disk_misses,
                    "bytes": cache.disk_bytes,
                    "budget": cache.disk_budget,
                    "directory": cache_directory,
                },
                "ahead": {
                    "fetched": cache.ahead_fetched,
                    "used": cache.ahead_used,
                    "wasted": cache.ahead_wasted,
                },
                "nodes": { "hits": nodes.hits, "misses": nodes.misses, "bytes": nodes.bytes },
            },
            "store": {
                "requests": store.get + store.put + store.list + store.delete,
                "gets": store.get,
                "puts": store.put,
                "lists": store.list,
                "deletes": store.delete,
                "bytes_in": store.bytes_in,
                "bytes_out": store.bytes_out,
            },
        })
    }
}

impl Operations {
    fn value(&self, detailed: bool) -> Value {
        let Self { count, errors, latency } = self;
        let mut value = json!({
            "count": count,
            "errors": errors,
            "total_ns": latency.total_ns,
            "p50_ns": latency.percentile(0.5),
            "p99_ns": latency.percentile(0.99),
            "max_ns": latency.max_ns,
        });
        if detailed {
            let buckets = latency.buckets.iter();
            let named = buckets.map(|(bound, count)| (bound.to_string(), (*count).into()));
            value["buckets_ns"] = Value::Object(named.collect());
        }
        value
    }

    /// What came since `before`, an earlier reading; all when that was of
    /// another process.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        if self.count < before.count {
            return self.clone();
        }
        Self {
            count: self.count - before.count,
            errors: self.errors.saturating_sub(before.errors),
            latency: self.latency.since(&before.latency),
        }
    }

    /// Reads what [`Snapshot::to_json`] wrote of one operation; what is not
    /// there counts as nothing.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let number = |key: &str| value[key].as_u64().unwrap_or(0);
        let buckets = value["buckets_ns"].as_object().into_iter().flatten();
        let parsed = buckets.filter_map(|(at, n)| Some((at.parse().ok()?, n.as_u64()?)));
        Self {
            count: number("count"),
            errors: number("errors"),
            latency: Latency {
                total_ns: number("total_ns"),
                max_ns: number("max_ns"),
                buckets: parsed.collect(),
            },
        }
    }
}
