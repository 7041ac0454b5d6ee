//! The server on the cluster, and an operator who talks to it from outside.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, eventually};

/// An operator's command line.
pub struct Server {
    address: String,
    token: PathBuf,
}

impl Server {
    /// The server that is installed; its operator's account is trusted once
    /// it is there.
    pub fn of(cluster: &Cluster) -> Self {
        cluster.output(&["-npfs", "create", "serviceaccount", "pfs-operator"], "");
        let wanted = ["create", "token", "pfs-operator", "--audience=pfs", "--duration=4h"];
        let token = cluster.kubectl(&[&["-npfs"], &wanted[..]].concat());
        let file = PathBuf::from("/run/pfs-operator-token");
        fs::write(&file, token).unwrap();
        let where_is = ["-npfs", "get", "service/pfs-server", "-ojsonpath={.spec.clusterIP}"];
        let address = format!("grpc://{}:30650", cluster.kubectl(&where_is));
        Self { address, token: file }
    }

    /// The environment in which `pfs` finds it.
    pub fn environment(&self) -> [(&str, &str); 2] {
        [("PFS_ADDRESS", &self.address), ("PFS_TOKEN_FILE", self.token.to_str().unwrap())]
    }

    /// Runs a command of the operator's.
    pub fn output(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pfs"));
        command.args(arguments).envs(self.environment()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may end without having read all.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; returns its standard output.
    #[track_caller]
    pub fn pfs(&self, arguments: &[&str]) -> String {
        self.pfs_with(arguments, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn pfs_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pfs {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a repo in place of what a run before has left of that name.
    #[track_caller]
    pub fn create_repo(&self, repo: &str) {
        self.output(&["delete", "repo", repo, "--force"], "");
        self.pfs(&["create", "repo", repo]);
    }

    /// Commits a file, as in `repo@branch:/path`.
    #[track_caller]
    pub fn put(&self, file: &str, content: &str) {
        self.pfs_with(&["put", "file", file, "-f", "-"], content);
    }

    /// A file's content, if it is there.
    pub fn get(&self, file: &str) -> Option<String> {
        let output = self.output(&["get", "file", file], "");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Waits until a file has that content.
    #[track_caller]
    pub fn has(&self, file: &str, content: &str) {
        let mut last = None;
        eventually(&format!("{file} is {content:?}"), || {
            last = self.get(file);
            (last.as_deref() == Some(content)).then_some(())
        });
    }

    /// The commits of `repo@branch`, the newest first.
    #[track_caller]
    pub fn commits(&self, branch: &str) -> Vec<Value> {
        lines(&self.pfs(&["list", "commit", branch, "--raw"]))
    }

    /// What pods have written to a repo, and what became of it.
    #[track_caller]
    pub fn transactions(&self, repo: &str) -> Vec<Value> {
        let mut all = lines(&self.pfs(&["list", "transaction", "--mounts", "--raw"]));
        let begins = format!("{repo}@");
        all.retain(|one| one["branch"].as_str().is_some_and(|branch| branch.starts_with(&begins)));
        all
    }

    /// Waits until all that was written to a repo is over; returns the states,
    /// sorted.
    #[track_caller]
    pub fn settled(&self, repo: &str) -> Vec<Value> {
        eventually(&format!("what was written to {repo} is over"), || {
            let all = self.transactions(repo);
            let over = |one: &Value| matches!(one["state"].as_str(), Some("committed" | "aborted"));
            (!all.is_empty() && all.iter().all(over)).then_some(all)
        })
    }

    /// What it has decided about volumes, as events of its log.
    pub fn audit(&self, cluster: &Cluster) -> Vec<Value> {
        let log = cluster.kubectl(&["-npfs", "logs", "deployment/pfs-server", "--tail=-1"]);
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["target"] == "audit").collect()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
