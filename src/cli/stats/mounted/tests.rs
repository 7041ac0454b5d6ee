use serde_json::json;

use super::*;

#[test]
fn spans_have_three_digits() {
    let shown = [0, 999, 1_234, 45_678, 123_456, 1_250_000, 12_500_000_000].map(span);
    assert_eq!(shown, ["0ns", "999ns", "1.23µs", "45.7µs", "123µs", "1.25ms", "12.5s"]);
}

#[test]
fn a_difference_is_of_the_time_between() {
    let reading = |uptime: f64, gets: u64, hits: u64| {
        json!({
            "uptime_seconds": uptime,
            "store": {"requests": gets, "gets": gets},
            "caches": {"memory": {"hits": hits, "misses": 10, "bytes": 2048}},
        })
    };
    let (before, now) = (reading(10.0, 5, 0), reading(12.0, 9, 30));
    let all = Shown { now: &now, before: None };
    assert_eq!((all.count("/store/gets"), all.rate(24)), (9, "2.0".to_owned()));
    assert_eq!(all.cache("memory"), "75% of 40 found, 2KiB");
    let since = Shown { now: &now, before: Some(&before) };
    assert_eq!((since.store(), since.rate(24)), ("4 (4 gets)".to_owned(), "12".to_owned()));
    assert_eq!(since.cache("memory"), "100% of 30 found, 2KiB");
    let anew = Shown { now: &before, before: Some(&now) };
    assert_eq!(anew.count("/store/gets"), 5, "another process counts from 0");
}
