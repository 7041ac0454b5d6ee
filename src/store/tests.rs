use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::model::Timestamp;

mod s3;

fn faulty(retry: RetryPolicy) -> (Arc<FaultStore>, Store) {
    let faults = FaultStore::new(Store::memory().backend());
    let store = Store::new(Arc::clone(&faults) as Arc<dyn Backend>, retry);
    (faults, store)
}

fn quick() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        pause: Duration::ZERO,
        timeout: Duration::from_millis(20),
        slowest: u64::MAX,
    }
}

/// What every backend must do.
async fn contract(store: &Store) {
    store.put("a/one", "1").await.unwrap();
    store.put_parts("a/two", &["2".into(), "22".into()]).await.unwrap();
    store.put("b", "3").await.unwrap();
    assert_eq!(store.get("a/two").await.unwrap(), "222");
    assert_eq!(store.get_range("a/two", 1..2).await.unwrap(), "2");
    assert_eq!(store.get_range("a/two", 1..99).await.unwrap(), "22");
    assert_eq!(store.get_last("a/one", 9).await.unwrap(), "1");
    assert_eq!(store.head("a/two").await.unwrap(), 3);
    let keys = async |prefix: &str| -> Vec<String> {
        let found = store.list_sorted(prefix).await.unwrap();
        found.into_iter().map(|info| info.key).collect()
    };
    assert_eq!(keys("a").await, ["a/one", "a/two"]);
    assert_eq!(keys("").await, ["a/one", "a/two", "b"]);
    assert!(keys("nothing").await.is_empty());
    store.put("b", "4").await.unwrap();
    assert_eq!(store.get("b").await.unwrap(), "4");
    let taken = store.put_new("b", "5").await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists { key, .. }) if key == "b"));
    store.put_new("c", "6").await.unwrap();
    store.delete("b").await.unwrap();
    store.delete("b").await.unwrap();
    assert!(matches!(store.get("b").await, Err(StoreError::NotFound { key, .. }) if key == "b"));
    assert!(matches!(store.head("b").await, Err(StoreError::NotFound { .. })));
    store.check_format().await.unwrap();
    store.check_format().await.unwrap();
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&Store::memory()).await;
    contract(&open("memory://x/some/prefix", &StoreOptions::default()).unwrap()).await;
}

#[tokio::test]
async fn directories_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new/dir", dir.path().display());
    contract(&open(&url, &StoreOptions::default()).unwrap()).await;
    assert!(dir.path().join("new/dir/a/one").is_file());
}

#[test]
fn urls_that_name_no_store_are_refused_by_name() {
    let refused = |url: &str| open(url, &StoreOptions::default()).unwrap_err().to_string();
    for url in ["objects", "ftp://x/y", "file://relative/x", "s3:///"] {
        assert!(refused(url).contains(url), "{url}: {}", refused(url));
    }
    assert!(refused("ftp://x/y").contains("s3"));
}

#[tokio::test]
async fn a_missing_directory_is_not_created_for_reading() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/gone", dir.path().display());
    let read_only = StoreOptions { read_only: true, ..StoreOptions::default() };
    assert!(open(&url, &read_only).is_err());
    assert!(!dir.path().join("gone").exists());
}

#[tokio::test]
async fn failures_that_pass_are_retried() {
    let (faults, store) = faulty(quick());
    for fault in [Fault::Fail, Fault::FailAfter, Fault::Stall] {
        for operation in [Operation::Put, Operation::Get, Operation::Head, Operation::Delete] {
            faults.plan(operation, 0, 2, fault);
        }
        store.put("k", "v").await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), "v");
        assert_eq!(store.head("k").await.unwrap(), 1);
        store.delete("k").await.unwrap();
    }
}

#[tokio::test]
async fn failures_that_stay_are_reported_with_the_object() {
    let (faults, store) = faulty(quick());
    faults.plan(Operation::Put, 0, 100, Fault::Fail);
    let error = store.put("some/key", "v").await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("some/key"), "{error}");
    assert_eq!(store.stats().put, 3);
    faults.heal();
    faults.plan(Operation::Get, 0, 100, Fault::Stall);
    store.put("k", "v").await.unwrap();
    let error = store.get("k").await.unwrap_err();
    assert!(error.to_string().contains("no answer"), "{error}");
}

#[tokio::test]
async fn a_full_store_is_not_asked_again() {
    let (faults, store) = faulty(quick());
    faults.plan(Operation::Put, 0, 1, Fault::NoSpace);
    assert!(matches!(store.put("k", "v").await, Err(StoreError::NoSpace { .. })));
    assert_eq!(store.stats().put, 1);
}

#[tokio::test]
async fn a_create_that_was_applied_before_it_failed_is_recognised() {
    let (faults, store) = faulty(quick());
    faults.plan(Operation::Put, 0, 1, Fault::FailAfter);
    store.put_new("k", "mine").await.unwrap();
    let other = store.put_new("k", "theirs").await;
    assert!(matches!(other, Err(StoreError::AlreadyExists { .. })));
    faults.plan(Operation::Put, 0, 1, Fault::Fail);
    let other = store.put_new("k", "theirs").await;
    assert!(matches!(other, Err(StoreError::AlreadyExists { .. })), "somebody else's");
    assert_eq!(store.get("k").await.unwrap(), "mine");
}

#[tokio::test]
async fn foreign_and_newer_stores_are_refused() {
    let store = Store::memory();
    store.put("format", "pfs store\n\x02").await.unwrap();
    let newer = store.check_format().await.unwrap_err().to_string();
    assert!(newer.contains("version 2"), "{newer}");
    store.put("format", "hello").await.unwrap();
    assert!(matches!(store.check_format().await, Err(StoreError::Format { .. })));
}

#[tokio::test]
async fn requests_and_bytes_are_counted() {
    let store = Store::memory();
    store.put("k", Bytes::from(vec![0; 100])).await.unwrap();
    store.get_range("k", 0..10).await.unwrap();
    store.head("k").await.unwrap();
    store.list_sorted("").await.unwrap();
    store.delete("k").await.unwrap();
    let expected = StoreStats { get: 2, put: 1, list: 1, delete: 1, bytes_in: 10, bytes_out: 100 };
    assert_eq!(store.stats(), expected);
}

#[tokio::test]
async fn remains_of_dead_writers_are_removed_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let store = open(&url, &StoreOptions::default()).unwrap();
    store.put("packs/ab/abcd", "1").await.unwrap();
    let left = dir.path().join("packs/ab/abff#1");
    std::fs::write(&left, "half").unwrap();
    let strange = dir.path().join("packs/.strange");
    std::fs::write(&strange, "not ours").unwrap();
    let now = crate::model::Clock::now(&crate::model::SystemClock);
    assert_eq!(remove_stale_uploads(&url, now).unwrap(), 0);
    let later = Timestamp::from_nanos(now.as_nanos() + 25 * 3600 * 1_000_000_000);
    assert_eq!(remove_stale_uploads(&url, later).unwrap(), 1);
    assert!(!left.exists() && strange.exists());
    assert!(store.get("packs/ab/abcd").await.is_ok());
    assert_eq!(remove_stale_uploads("memory://", later).unwrap(), 0);
}
