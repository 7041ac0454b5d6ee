//! Statistics of a mount as a table, once or again and again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cli::output::Sink;
use crate::cli::prelude::*;
use crate::mount::control;
use crate::mount::stats::{Operations, STATS};

/// Prints what was counted so far.
pub fn once(dir: &Path, format: &Format, cx: &Context) -> Outcome {
    let now = read(&mount_of(dir)?)?;
    let mut sink = cx.sink();
    show(&mut sink, &now, None, format)?;
    Ok(sink.flush()?)
}

/// Prints what was counted in every span of time.
pub async fn watch(dir: &Path, every: Duration, format: &Format, cx: &Context) -> Outcome {
    let mount = mount_of(dir)?;
    let mut before = read(&mount)?;
    let mut timer = tokio::time::interval(every);
    timer.tick().await;
    loop {
        timer.tick().await;
        let now = read(&mount)?;
        let mut sink = cx.sink();
        if sink.is_terminal() && format.encoding().is_none() {
            // From the top of a screen that is cleared.
            sink.text("\x1b[H\x1b[2J")?;
        }
        show(&mut sink, &now, Some(&before), format)?;
        sink.flush()?;
        before = now;
    }
}

/// The mount point that `dir` is below. Found without asking the mount, which
/// would count that.
fn mount_of(dir: &Path) -> Outcome<PathBuf> {
    let points = control::mount_points()?;
    let below = |dir: &Path| {
        let around = points.iter().filter(|point| dir.starts_with(point));
        around.max_by_key(|point| point.components().count()).cloned()
    };
    let absolute = std::path::absolute(dir)?;
    let found = below(&absolute).or_else(|| below(&absolute.canonicalize().ok()?));
    found.ok_or_else(|| {
        Failure::new(format!("{} is not mounted by pfs", dir.display()))
            .hint("see the mounts with: findmnt -t fuse.pfs")
    })
}

fn read(mount: &Path) -> Outcome<Value> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{} tells no statistics: {error}", mount.display()))
    };
    let text = control::read(mount, STATS).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTCONN) => {
            Failure::new(format!("the process behind {} is gone", mount.display()))
                .hint(format!("unmount it with: pfs umount {}", mount.display()))
        }
        _ => failed(&error),
    })?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn show(sink: &mut Sink, now: &Value, before: Option<&Value>, format: &Format) -> io::Result<()> {
    if let Some(encoding) = format.encoding() {
        return encoding.write(sink, now);
    }
    let shown = Shown { now, before };
    shown.operations(sink)?;
    sink.line("")?;
    shown.totals(sink)
}

/// Two readings, of which the difference is shown; or one.
struct Shown<'v> {
    now: &'v Value,
    before: Option<&'v Value>,
}

impl Shown<'_> {
    /// The seconds that the difference is about.
    fn seconds(&self) -> f64 {
        let at = |value: &Value| value["uptime_seconds"].as_f64().unwrap_or(0.0);
        let span = at(self.now) - self.before.map_or(0.0, at);
        span.max(0.001)
    }

    /// What a counter grew by; a mount that was started anew counts from 0.
    fn count(&self, pointer: &str) -> u64 {
        let at = |value: &Value| value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let now = at(self.now);
        now.checked_sub(self.before.map_or(0, at)).unwrap_or(now)
    }

    /// What a counter stands at.
    fn level(&self, pointer: &str) -> u64 {
        self.now.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    fn rate(&self, count: u64) -> String {
        // Counts stay far below 2^52.
        let rate = count as f64 / self.seconds();
        if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    }

    fn operations(&self, sink: &mut Sink) -> io::Result<()> {
        let of = |value: &Value| -> BTreeMap<String, Operations> {
            let all = value["operations"].as_object().into_iter().flatten();
            all.map(|(name, value)| (name.clone(), Operations::from_json(value))).collect()
        };
        let (now, before) = (of(self.now), self.before.map(of).unwrap_or_default());
        let mut rows: Vec<_> = now
            .into_iter()
            .map(|(name, now)| match before.get(&name) {
                Some(before) => (name, now.since(before)),
                None => (name, now),
            })
            .filter(|(_, operations)| operations.count > 0)
            .collect();
        rows.sort_by_key(|(_, operations)| std::cmp::Reverse(operations.count));
        let mut table =
            Table::new(&["OPERATION", "COUNT", "RATE/s", "P50", "P99", "MAX", "ERRORS"]);
        for (name, Operations { count, errors, latency }) in rows {
            let cells = [
                name,
                count.to_string(),
                self.rate(count),
                span(latency.percentile(0.5)),
                span(latency.percentile(0.99)),
                span(latency.max_ns),
                errors.to_string(),
            ];
            table.row(sink, cells.into_iter().map(Cell::from).collect())?;
        }
        table.finish(sink)
    }

    fn totals(&self, sink: &mut Sink) -> io::Result<()> {
        let moved = |pointer: &str| {
            let bytes = self.count(pointer);
            // A rate of bytes is shown in whole bytes.
            format!("{} ({}/s)", size(bytes), size((bytes as f64 / self.seconds()) as u64))
        };
        let requests = self.count("/requests");
        let mut fields = Fields::new(sink);
        fields
            .line("Requests", &format!("{requests} ({}/s)", self.rate(requests)))?
            .some("Errors", self.errors())?
            .line("Read", &moved("/bytes_read"))?
            .line("Written", &moved("/bytes_written"))?
            .some("Passed Through", self.passed_through())?
            .line("Inodes", &self.level("/inodes").to_string())?
            .line("Memory Cache", &self.cache("memory"))?
            .line("Disk Cache", &self.cache("disk"))?
            .line("Tree Nodes", &self.cache("nodes"))?
            .some("Foreseen", self.foreseen())?
            .line("Store Requests", &self.store())?
            .line("Store Read", &moved("/store/bytes_in"))?
            .line("Store Written", &moved("/store/bytes_out"))?;
        Ok(())
    }

    /// Opens of files that the kernel reads by itself, if there were any.
    fn passed_through(&self) -> Option<String> {
        let opens = self.count("/passthrough_opens");
        (opens > 0).then(|| format!("{opens} opens"))
    }

    /// What was fetched in the order of earlier reads, if anything was.
    fn foreseen(&self) -> Option<String> {
        let count = |what: &str| self.count(&format!("/caches/ahead/{what}"));
        let (fetched, used, wasted) = (count("fetched"), count("used"), count("wasted"));
        (fetched > 0).then(|| format!("{fetched} parts, {used} used, {wasted} wasted"))
    }

    fn errors(&self) -> Option<String> {
        let errors = self.now["errors"].as_object()?;
        let counted = errors.keys().filter_map(|name| {
            let count = self.count(&format!("/errors/{name}"));
            (count > 0).then(|| format!("{name} {count}"))
        });
        Some(counted.collect::<Vec<_>>().join(", "))
    }

    fn cache(&self, name: &str) -> String {
        let count = |what: &str| self.count(&format!("/caches/{name}/{what}"));
        let (hits, misses) = (count("hits"), count("misses"));
        let held = size(self.level(&format!("/caches/{name}/bytes")));
        match hits + misses {
            0 => format!("not asked, {held}"),
            all => format!("{}% of {all} found, {held}", hits * 100 / all),
        }
    }

    fn store(&self) -> String {
        let kinds = ["gets", "puts", "lists", "deletes"];
        let counted = kinds.map(|kind| (kind, self.count(&format!("/store/{kind}"))));
        let named = counted.iter().filter(|(_, count)| *count > 0);
        let named: Vec<_> = named.map(|(kind, count)| format!("{count} {kind}")).collect();
        let all = self.count("/store/requests");
        match named.is_empty() {
            true => all.to_string(),
            false => format!("{all} ({})", named.join(", ")),
        }
    }
}

/// A span of time in nanoseconds with three digits, as in `1.25ms`.
fn span(nanos: u64) -> String {
    // Three digits are shown, so the precision of f64 is ample.
    let value = nanos as f64;
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let decimals = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests;
