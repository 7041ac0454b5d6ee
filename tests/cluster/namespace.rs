//! A namespace for each test, and what is done with the objects in it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, eventually};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A namespace, gone with all in it when dropped. A test that fails in it says
/// what was there.
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    /// A new namespace, its name made from `stem`.
    pub fn new(stem: &str) -> Self {
        Self::on(Cluster::shared(), stem)
    }

    /// The same for a test that has the cluster to itself.
    pub fn alone(stem: &str) -> Self {
        Self::on(Cluster::alone(), stem)
    }

    /// A namespace of exactly that name, which one test may have.
    pub fn named(name: &str) -> Self {
        Self::called(Cluster::shared(), name.to_owned())
    }

    fn on(cluster: Cluster, stem: &str) -> Self {
        Self::called(cluster, format!("{stem}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    fn called(cluster: Cluster, name: String) -> Self {
        // What a run before left in a cluster that stays.
        cluster.kubectl(&["delete", "namespace", &name, "--ignore-not-found"]);
        cluster.kubectl(&["create", "namespace", &name]);
        let namespace = Self { cluster, name };
        eventually("the namespace has a service account", || {
            namespace.find("serviceaccount/default").map(drop)
        });
        namespace
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates or changes objects.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.cluster.kubectl_with(&["--namespace", &self.name, "apply", "-f-"], manifest);
    }

    /// Runs kubectl in the namespace; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["--namespace", &*self.name], arguments].concat())
    }

    /// An object such as `pod/name`, which must be there.
    #[track_caller]
    pub fn get(&self, object: &str) -> Value {
        self.find(object).unwrap_or_else(|| panic!("no {object} in {}", self.name))
    }

    /// An object, if it is there.
    pub fn find(&self, object: &str) -> Option<Value> {
        let wanted = ["--namespace", &self.name, "get", object, "-ojson"];
        let output = self.cluster.output(&wanted, "");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits for what `kubectl wait --for` takes, as in `condition=Ready`.
    #[track_caller]
    pub fn wait(&self, object: &str, state: &str) {
        let (state, timeout) = (format!("--for={state}"), format!("--timeout={PATIENCE:?}"));
        self.kubectl(&["wait", object, &state, &timeout]);
    }

    /// Waits until a pod's containers are ready.
    #[track_caller]
    pub fn ready(&self, pod: &str) {
        self.wait(&format!("pod/{pod}"), "condition=Ready");
    }

    /// Waits until a pod has ended, well or not; returns its phase.
    #[track_caller]
    pub fn ended(&self, pod: &str) -> String {
        eventually(&format!("pod {pod} ends"), || {
            let phase = self.get(&format!("pod/{pod}"))["status"]["phase"].as_str()?.to_owned();
            matches!(&*phase, "Succeeded" | "Failed").then_some(phase)
        })
    }

    /// Runs a command in a pod's first container; it must succeed.
    #[track_caller]
    pub fn exec(&self, pod: &str, command: &[&str]) -> String {
        self.kubectl(&[&["exec", pod, "--"], command].concat())
    }

    /// What a pod's containers have printed.
    #[track_caller]
    pub fn logs(&self, pod: &str) -> String {
        self.kubectl(&["logs", pod, "--all-containers", "--tail=-1"])
    }

    /// Deletes an object and waits until it is gone.
    #[track_caller]
    pub fn delete(&self, object: &str) {
        self.kubectl(&["delete", object, &format!("--timeout={PATIENCE:?}")]);
    }

    /// What has happened, as people are shown it.
    pub fn diagnosis(&self) -> String {
        let questions: [&[&str]; 4] = [
            &["get", "all,persistentvolumeclaims", "-owide"],
            &["describe", "pods"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            // Every pod is without that label.
            &["logs", "--selector=!none", "--all-containers", "--prefix", "--tail=40"],
        ];
        let mut said = String::new();
        for question in questions {
            let asked = [&["--namespace", &*self.name], question].concat();
            let output = self.cluster.output(&asked, "");
            said += &format!("\n--- kubectl {}\n", question.join(" "));
            said += &String::from_utf8_lossy(&output.stdout);
            said += &String::from_utf8_lossy(&output.stderr);
        }
        said
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the namespace {}:{}", self.name, self.diagnosis());
        }
        let pods = ["--namespace", &self.name, "delete", "pods", "--all", "--grace-period=1"];
        let ended = self.cluster.output(&[&pods[..], &["--timeout=60s"]].concat(), "");
        self.cluster.output(&["delete", "namespace", &self.name, "--wait=false"], "");
        let stuck = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() || std::thread::panicking(), "pods do not end: {stuck}");
    }
}
