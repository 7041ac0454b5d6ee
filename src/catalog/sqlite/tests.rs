use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::catalog::contract::{commit_row, contract_tests, repo, repos};
use crate::catalog::{Catalog, CatalogError, CommitQuery, Op, open};
use crate::model::SystemClock;

async fn open_at(path: &Path) -> Result<Arc<dyn Catalog>, CatalogError> {
    open(&format!("sqlite://{}", path.display()), Arc::new(SystemClock)).await
}

async fn fresh() -> (Arc<dyn Catalog>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open_at(&dir.path().join("catalog.db")).await.unwrap(), dir)
}

contract_tests! { fresh }

/// The error of an open that must fail.
async fn fault(path: &Path) -> CatalogError {
    match open_at(path).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_has_gone() {
    let (first, dir) = fresh().await;
    let path = dir.path().join("catalog.db");
    let error = fault(&path).await;
    assert!(matches!(error, CatalogError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another server is using"), "{error}");
    repos(&first, &["a"]).await;
    drop(first);
    let second = open_at(&path).await.unwrap();
    assert!(second.repo(&repo("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_catalog_of_a_newer_version_is_left_alone() {
    let (catalog, dir) = fresh().await;
    drop(catalog);
    let path = dir.path().join("catalog.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let error = fault(&path).await;
    assert!(matches!(error, CatalogError::Newer { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_catalog_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    let error = fault(&path).await;
    assert!(matches!(error, CatalogError::Damaged { .. }), "{error}");
    for (url, expected) in [
        ("postgres://me:secret@host/db", "PostgreSQL is not supported in this build"),
        ("mysql://host/db", "expected sqlite://PATH"),
        ("catalog.db", "expected sqlite://PATH"),
    ] {
        let Err(error) = open(url, Arc::new(SystemClock)).await else { panic!("{url}") };
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("secret"), "{text}");
    }
}

/// Copies of the files without a clean end are what a crash leaves.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_batches_survive_a_crash() {
    let (catalog, dir) = fresh().await;
    repos(&catalog, &["a", "b"]).await;
    for round in 0..5_u64 {
        let batches = (0..20).map(|n| {
            let names = ["a", "b"];
            let row = |name| Op::CreateCommit(commit_row(name, 20 * round + n, None));
            let (catalog, batch) = (Arc::clone(&catalog), names.map(row).into());
            tokio::spawn(async move { catalog.apply(batch).await })
        });
        for done in futures::future::join_all(batches).await {
            done.unwrap().unwrap();
        }
        let crashed = tempfile::tempdir().unwrap();
        for name in ["catalog.db", "catalog.db-wal"] {
            std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
        }
        let again = open_at(&crashed.path().join("catalog.db")).await.unwrap();
        for name in ["a", "b"] {
            let rows = again.commits(&CommitQuery::newest(repo(name))).await.unwrap();
            assert_eq!(rows.len() as u64, 20 * (round + 1));
        }
        assert_eq!(again.check().await.unwrap(), Vec::<String>::new());
    }
}

/// Finding the head, its past and what follows must not grow with history.
#[tokio::test]
async fn no_hot_query_scans() {
    let (catalog, dir) = fresh().await;
    repos(&catalog, &["a"]).await;
    catalog.apply(vec![Op::CreateCommit(commit_row("a", 1, None))]).await.unwrap();
    drop(catalog);
    let conn = rusqlite::Connection::open(dir.path().join("catalog.db")).unwrap();
    for sql in [
        "SELECT 1 FROM commits WHERE repo = 1 AND id = x'00'",
        "SELECT id FROM commits WHERE repo = 1 AND id BETWEEN x'00' AND x'01' ORDER BY id LIMIT 3",
        "SELECT 1 FROM commits WHERE repo = 1 AND seq > 5 ORDER BY seq LIMIT 3",
        "SELECT 1 FROM commits WHERE repo = 1 AND branch = 'x' ORDER BY seq DESC LIMIT 3",
        "SELECT 1 FROM commits WHERE id = x'00' ORDER BY seq",
        "SELECT 1 FROM commits WHERE parent = 1",
        "SELECT 1 FROM branches WHERE head = 1",
        "SELECT 1 FROM branch_provenance WHERE upstream = 1",
        "SELECT 1 FROM provenance WHERE upstream = 1",
        "SELECT 1 FROM jobs WHERE pipeline = 1 ORDER BY seq DESC LIMIT 1",
        "SELECT 1 FROM jobs WHERE state = 'created' ORDER BY seq",
        "SELECT 1 FROM jobs WHERE id = x'00' ORDER BY seq",
        "SELECT 1 FROM datums WHERE job = 1 AND state = 'waiting' ORDER BY position LIMIT 1",
        "SELECT 1 FROM datums WHERE job = 1 AND id = x'00'",
        "SELECT 1 FROM transactions WHERE state = 'open' ORDER BY created",
        "SELECT 1 FROM events WHERE seq > 5 ORDER BY seq LIMIT 1",
    ] {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.collect::<Result<_, _>>().unwrap();
        assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {steps:?}");
    }
}
