//! `pachyderm-sdk` from PyPI, unmodified, against a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pfs::api::{self, Address, Parts, Serving};
use pfs::catalog;
use pfs::chunk::{BlobConfig, Blobs};
use pfs::model::{Clock, SystemClock};
use pfs::repo::Repos;
use pfs::store::Store;
use tokio::runtime::Runtime;

use crate::machine;
use crate::server::Server;

const SDK: &str = "pachyderm-sdk==2.12.2";

#[test]
fn the_sdk_reads_and_writes() {
    let Some(python) = python("the_sdk_reads_and_writes") else { return };
    let scratch = tempfile::Builder::new().prefix("pfs-sdk.").tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let serving = runtime.block_on(serve(scratch.path()));
    let parts = ["cluster", "projects", "repos", "commits", "files", "urls", "streams", "branches"];
    conformance(&python, &serving.address().to_string(), scratch.path(), &parts);
    runtime.block_on(serving.drain(Duration::from_secs(5))).unwrap();
}

#[test]
fn the_sdk_runs_pipelines() {
    let Some(python) = python("the_sdk_runs_pipelines") else { return };
    if !machine::has_fuse("the_sdk_runs_pipelines") {
        return;
    }
    let server = Server::start();
    let scratch = server.dir("sdk");
    conformance(&python, &server.address(), &scratch, &["pipelines"]);
}

/// The API over a catalog in `dir` and a store in memory.
async fn serve(dir: &Path) -> Serving {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let url = format!("sqlite://{}", dir.join("catalog.db").display());
    let catalog = catalog::open(&url, Arc::clone(&clock)).await.unwrap();
    let blobs = Blobs::new(Store::memory(), Arc::clone(&clock), BlobConfig::default());
    let repos = Repos::new(catalog, blobs, clock);
    let parts = Parts { repos, store_url: "memory://".to_owned() };
    api::serve(&Address::Plain("127.0.0.1:0".to_owned()), parts).await.unwrap()
}

fn conformance(python: &Path, address: &str, scratch: &Path, parts: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/conformance.py");
    let output = Command::new(python)
        .arg(script)
        .arg(address)
        .arg(scratch)
        .args(parts)
        .env_remove("PACH_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    println!("{said}");
}

/// A Python with the SDK: `PFS_SDK_PYTHON`, else one of our own below
/// `target`, made when it is not there yet.
fn python(test: &str) -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("PFS_SDK_PYTHON") {
        return Some(python.into());
    }
    if !machine::has_command(test, "python3") {
        return None;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pachyderm-sdk-2.12.2");
    let (python, complete) = (dir.join("bin/python"), dir.join("complete"));
    let lock = fs::File::create(dir.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if complete.exists() {
        return Some(python);
    }
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let made = quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))
        && quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", SDK]));
    if !machine::noted(test, "pachyderm-sdk cannot be installed from PyPI", made) {
        return None;
    }
    fs::write(complete, "").unwrap();
    Some(python)
}
