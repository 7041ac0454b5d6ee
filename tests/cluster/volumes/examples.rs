//! The examples' documents for Kubernetes, played word for word.

use std::path::Path;
use std::process::Command;

use super::Volumes;
use crate::cluster::checkout;
use crate::install;

#[test]
fn a_model_is_trained_served_replaced_and_rolled_back() {
    play("serving", &["training", "model"]);
}

#[test]
fn five_steps_share_a_claim_and_are_served_from_it() {
    play("shared-volume", &["posts", "nlp"]);
}

/// Plays an example's document, which makes those repos, in a namespace of its own.
fn play(example: &str, repos: &[&str]) {
    let volumes = Volumes::new(example);
    // What a run before has left in a cluster that stays.
    for repo in repos {
        volumes.server.output(&["delete", "repo", repo, "--force"], "");
    }
    install::python(volumes.cluster());
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("config");
    std::fs::write(&config, volumes.kubectl(&["config", "view", "--raw"])).unwrap();
    let context = ["config", "set-context", "--current", "--namespace", volumes.name()];
    let kubeconfig = ["--kubeconfig", config.to_str().unwrap()];
    volumes.cluster().kubectl(&[&kubeconfig[..], &context].concat());

    let programs = Path::new(env!("CARGO_BIN_EXE_pfs")).parent().unwrap().to_str().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let document = format!("examples/{example}/kubernetes/README.md");
    let mut command = Command::new("scripts/play.py");
    command.arg(&document).current_dir(checkout()).envs(volumes.server.environment());
    command.env("KUBECONFIG", &config).env("PATH", path).env("TMPDIR", scratch.path());
    let status = command.status().unwrap();
    assert!(status.success(), "{document}: {}", volumes.diagnosis());
}
