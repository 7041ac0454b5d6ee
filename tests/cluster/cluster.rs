//! The cluster that the tests share, and what is asked of it.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take to become true; generous, for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Held by every test: for itself alone by those that stop parts of the node.
static NODE: RwLock<()> = RwLock::new(());

/// The cluster, for as long as a test uses it.
pub struct Cluster {
    _held: Held,
}

enum Held {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// A program of the node that tests stop and start.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// The runtime; containers go on without it.
    Containerd,
    /// The node's agent of Kubernetes; containers go on without it.
    Kubelet,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
        })
    }
}

impl Cluster {
    /// The cluster, with other tests at the same time.
    pub fn shared() -> Self {
        require();
        let guard = NODE.read().unwrap_or_else(PoisonError::into_inner);
        Self { _held: Held::Shared { _guard: guard } }
    }

    /// The cluster, when no other test uses it.
    pub fn alone() -> Self {
        require();
        let guard = NODE.write().unwrap_or_else(PoisonError::into_inner);
        Self { _held: Held::Alone { _guard: guard } }
    }

    /// Runs kubectl and returns all it said.
    pub fn output(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("kubectl");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // It may end without having read all.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs kubectl, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates an object that only answers, as a review is, and returns it.
    #[track_caller]
    pub fn review(&self, object: &Value) -> Value {
        let answer = self.kubectl_with(&["create", "-f-", "-ojson"], &object.to_string());
        serde_json::from_str(&answer).unwrap()
    }

    /// Ends a part of the node as `kill -9` does; needs the cluster alone.
    pub fn kill(&self, part: Part) {
        self.parts("kill", part);
    }

    /// Starts a part again.
    pub fn resume(&self, part: Part) {
        self.parts("resume", part);
    }

    /// Has the node know the images that stand beside a driver's controller.
    pub fn load_sidecars(&self) {
        run_parts(&["sidecars"]);
    }

    /// Has the node know an image that is in a file.
    pub fn load(&self, image: &str) {
        run_parts(&["load", image]);
    }

    /// Adds a node, `pfs-node-2`, for as long as the answer is held; needs the
    /// cluster alone.
    pub fn second_node(&self) -> SecondNode<'_> {
        self.alone_parts(&["second", "start"]);
        SecondNode(self)
    }

    fn parts(&self, verb: &str, part: Part) {
        self.alone_parts(&[verb, &part.to_string()]);
    }

    fn alone_parts(&self, arguments: &[&str]) {
        assert!(matches!(self._held, Held::Alone { .. }), "others use the node");
        run_parts(arguments);
    }
}

/// A node beside the first, with places, a network and processes of its own.
pub struct SecondNode<'a>(&'a Cluster);

impl SecondNode<'_> {
    /// Ends it, and all that runs on it, as a power cut does.
    pub fn lose(&self) {
        self.0.alone_parts(&["second", "lose"]);
    }
}

impl Drop for SecondNode<'_> {
    fn drop(&mut self) {
        let program = checkout().join("tests/cluster/node/parts.sh");
        let _ = Command::new(program).args(["second", "lose"]).status();
        let gone = ["delete", "pods", "--all-namespaces", "--force", "--field-selector"];
        self.0.output(&[&gone[..], &["spec.nodeName=pfs-node-2"]].concat(), "");
        self.0.output(&["delete", "node", "pfs-node-2"], "");
    }
}

fn run_parts(arguments: &[&str]) {
    let program = checkout().join("tests/cluster/node/parts.sh");
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{}: {status}", arguments.join(" "));
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The checkout that the tests were built from.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Where the programs of Kubernetes are, and what belongs to them.
pub fn programs() -> PathBuf {
    PathBuf::from("/run/kubernetes/programs")
}

fn require() {
    let within = std::env::var_os("PFS_CLUSTER").is_some();
    assert!(within, "no cluster here; run `make test-cluster`, or see tests/cluster/cluster.sh");
}
