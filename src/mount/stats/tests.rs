use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::{BUCKETS, bound, bucket};
use super::*;

#[test]
fn a_duration_is_in_the_bucket_that_bounds_it_closely() {
    let mut before = 0;
    for at in 0..BUCKETS - 1 {
        let bound = bound(at);
        assert_eq!((bucket(bound - 1), bucket(bound)), (at, at + 1), "{bound}");
        assert!(before < bound && (bound <= 1024 || bound - before <= before / 4), "{bound}");
        before = bound;
    }
    assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
}

#[test]
fn percentiles_are_close_and_differences_are_of_the_time_between() {
    let histogram = Histogram::default();
    (1..=1000).for_each(|ms| histogram.add(Duration::from_micros(ms)));
    let read = histogram.read();
    let near = |part: f64, wanted: u64| {
        let found = read.percentile(part);
        assert!((wanted..=wanted + wanted / 4).contains(&found), "{part}: {found}");
    };
    near(0.5, 500_000);
    near(0.99, 990_000);
    assert_eq!((read.percentile(1.0), read.max_ns), (1_000_000, 1_000_000));
    histogram.add(Duration::from_secs(100));
    let since = histogram.read().since(&read);
    assert_eq!(since.buckets.values().sum::<u64>(), 1);
    assert_eq!(since.percentile(0.5), 100_000_000_000);
    assert_eq!(Latency::default().percentile(0.99), 0);
}

#[test]
fn what_is_written_as_json_is_read_again() {
    let stats = Arc::new(Stats::default());
    let read = stats.begin(Operation::Read, InodeNo::ROOT);
    read.transferred(4096);
    read.answered();
    stats.begin(Operation::Lookup, InodeNo::ROOT).failed(libc::ENOENT);
    stats.operations[Operation::Read as usize].latency.add(Duration::from_secs(80));
    let snapshot = stats.read(Usage::default());
    let json: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    let again = Operations::from_json(&json["operations"]["read"]);
    assert_eq!(again, snapshot.operations["read"]);
    assert_eq!(json["operations"]["lookup"]["errors"], 1);
    assert_eq!((&json["errors"]["ENOENT"], &json["bytes_read"]), (&json!(1), &json!(4096)));
    assert_eq!((&json["requests"], &json["operations"]["write"]), (&json!(2), &Value::Null));
}

#[test]
fn the_value_is_never_longer_than_the_kernel_takes() {
    let stats = Stats::default();
    for counts in &stats.operations {
        for power in 0..40 {
            (0..4).for_each(|n| counts.latency.add(Duration::from_nanos((4 + n) << power)));
        }
        counts.count.fetch_add(u64::MAX / 64, Ordering::Relaxed);
    }
    let json = stats.read(Usage::default()).to_json();
    assert!(json.len() <= (64 << 10), "{}", json.len());
    serde_json::from_str::<Value>(&json).unwrap();
}
