use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[test]
fn what_is_written_as_json_is_read_again() {
    let stats = Arc::new(Stats::default());
    let read = stats.begin(Operation::Read, InodeNo::ROOT);
    read.transferred(4096);
    read.answered();
    stats.begin(Operation::Lookup, InodeNo::ROOT).failed(libc::ENOENT);
    stats.operations[Operation::Read as usize].latency.add(Duration::from_secs(80));
    let snapshot = stats.read();
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
    let json = stats.read().to_json();
    assert!(json.len() <= (64 << 10), "{}", json.len());
    serde_json::from_str::<Value>(&json).unwrap();
}

#[test]
fn slow_operations_are_remembered_and_few_lines_are_logged() {
    let log = slow::SlowLog::new(Duration::from_millis(10));
    log.ended(Operation::Read, Duration::from_millis(9), || panic!("was not slow"));
    for number in 0..20 {
        let path = format!("{}{number}", "ü".repeat(200));
        log.ended(Operation::Read, Duration::from_millis(500), || Some(path));
    }
    let found = log.read();
    assert_eq!((found.count, found.recent.len()), (20, 8));
    let newest = &found.recent[0];
    assert!(newest["path"].as_str().unwrap().ends_with("ü19"), "{newest}");
    assert_eq!((&newest["took_ms"], &newest["for_content_ms"]), (&json!(500), &Value::Null));
    let off = slow::SlowLog::new(Duration::ZERO);
    off.ended(Operation::Read, Duration::from_secs(9), || panic!("nobody wants to know"));
}

#[tokio::test]
async fn a_slow_operation_says_what_it_waited_for() {
    use crate::store::waits::{self, WaitFor, Waits};
    let waited = waits::observed(async {
        let pause = || {
            std::thread::sleep(Duration::from_millis(2));
            std::future::ready(())
        };
        waits::on(WaitFor::Content, async { pause().await }).await;
        waits::on(WaitFor::Content, async { pause().await }).await;
        waits::so_far().unwrap()
    });
    let Waits { content, server } = waited.await;
    assert!(content >= Duration::from_millis(4) && server.is_zero(), "{content:?} {server:?}");
    assert_eq!(waits::so_far(), None);
}
