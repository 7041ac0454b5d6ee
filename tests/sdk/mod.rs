//! `pachyderm-sdk` from PyPI, unmodified, against a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::runtime::Runtime;

use crate::in_process::InProcess;
use crate::machine;

const SDK: &str = "pachyderm-sdk==2.12.2";

#[test]
fn the_sdk_reads_and_writes() {
    let parts = ["cluster", "projects", "repos", "commits", "files", "urls", "streams", "branches"];
    conforms("the_sdk_reads_and_writes", &parts);
}

#[test]
fn the_sdk_gathers_calls_in_transactions() {
    conforms("the_sdk_gathers_calls_in_transactions", &["transactions"]);
}

#[test]
fn the_sdk_keeps_file_sets() {
    conforms("the_sdk_keeps_file_sets", &["file_sets"]);
}

#[test]
fn the_sdk_sets_defaults() {
    conforms("the_sdk_sets_defaults", &["defaults"]);
}

#[test]
fn the_sdk_runs_pipelines() {
    if machine::is_root("the_sdk_runs_pipelines") {
        conforms("the_sdk_runs_pipelines", &["pipelines", "pipelines_in_transactions"]);
    }
}

/// Plays parts of the script against a server of their own.
fn conforms(test: &str, parts: &[&str]) {
    let Some(python) = python(test) else { return };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(InProcess::start());
    conformance(&python, &server.address().to_string(), server.scratch.path(), parts);
    runtime.block_on(server.stop());
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
