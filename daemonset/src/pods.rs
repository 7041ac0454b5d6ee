//! What became of a pod: what decides whether its changes are published.

mod kubernetes;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use kubernetes::{KubePods, Unconnected};

/// Names a pod, and tells it from a later one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The service account it runs as.
    #[serde(default)]
    pub service_account: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What became of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it that counts has ended well.
    Succeeded,
    /// Some of it has not: what, for people.
    Failed(String),
    /// Nobody can say: why not, for people.
    Unknown(String),
}

/// Who knows what became of pods.
#[async_trait]
pub trait Pods: Send + Sync + 'static {
    /// What became of `pod`. Waits a bounded time for what has not ended yet.
    async fn outcome(&self, pod: &PodRef) -> Outcome;

    /// Whether the pod `name` of `namespace` has ended; waits for nothing. `None`
    /// when nobody can say, as of one that is gone.
    async fn has_ended(&self, namespace: &str, name: &str) -> Option<bool>;
}

/// Nobody does: there is no cluster.
#[derive(Debug, Clone, Copy)]
pub struct NoPods;

#[async_trait]
impl Pods for NoPods {
    async fn outcome(&self, pod: &PodRef) -> Outcome {
        Outcome::Unknown(format!("nobody was asked what became of pod {pod}"))
    }

    async fn has_ended(&self, _namespace: &str, _name: &str) -> Option<bool> {
        None
    }
}
