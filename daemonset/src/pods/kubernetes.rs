//! What became of a pod, from the API server of Kubernetes.

mod decide;

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, Config};

use super::{Outcome, PodRef, Pods};
use decide::{Standing, has_ended, standing};

/// How long to rest before a question that got no answer is asked again.
const REST: Duration = Duration::from_millis(500);

/// There is no way to the API server.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the API server of Kubernetes: {reason}")]
pub struct Unconnected {
    reason: String,
}

/// Asks the API server. Needs the rights to get and to watch pods.
#[derive(Clone)]
pub struct KubePods {
    client: Client,
    patience: Duration,
    rest: Duration,
}

/// What to do after a look at the pod.
enum Look {
    /// It is over, or nobody will ever know.
    Over(Outcome),
    /// Something runs, or there was no answer: what, for people.
    Later(String),
}

impl KubePods {
    /// Asks the API server of the cluster this process is in, else the one that
    /// `KUBECONFIG` names; waits for pods as long as `patience`.
    pub async fn connect(patience: Duration) -> Result<Self, Unconnected> {
        let failed = |reason: String| Unconnected { reason };
        let config = Config::infer().await.map_err(|error| failed(error.to_string()))?;
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        Ok(Self::through(client, patience))
    }

    /// Asks through a client that is there.
    #[must_use]
    pub const fn through(client: Client, patience: Duration) -> Self {
        Self { client, patience, rest: REST }
    }

    /// Looks until it is over; `last` is why it was not yet the last time.
    async fn ended(&self, pod: &PodRef, last: &mut String) -> Outcome {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        loop {
            let version = match pods.get_opt(&pod.name).await {
                Ok(Some(found)) => match look(&found, pod) {
                    Look::Over(outcome) => return outcome,
                    Look::Later(why) => {
                        *last = why;
                        found.metadata.resource_version
                    }
                },
                Ok(None) => return gone(),
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    return unknown("the API server does not let this account read pods");
                }
                Err(error) => {
                    *last = format!("the API server does not answer: {error}");
                    None
                }
            };
            if let Some(version) = version
                && let Some(outcome) = self.watched(&pods, pod, &version, last).await
            {
                return outcome;
            }
            tokio::time::sleep(self.rest).await;
        }
    }

    /// What news of the pod since `version` come to; `None` when they end
    /// before it is over.
    async fn watched(
        &self,
        pods: &Api<Pod>,
        pod: &PodRef,
        version: &str,
        last: &mut String,
    ) -> Option<Outcome> {
        let only = WatchParams::default().fields(&format!("metadata.name={}", pod.name));
        let events = pods.watch(&only, version).await;
        let mut events = events.inspect_err(|error| *last = error.to_string()).ok()?.boxed();
        while let Ok(Some(event)) = events.try_next().await {
            match event {
                WatchEvent::Added(found) | WatchEvent::Modified(found) => match look(&found, pod) {
                    Look::Over(outcome) => return Some(outcome),
                    Look::Later(why) => *last = why,
                },
                // The last that was ever known of it.
                WatchEvent::Deleted(found) => match look(&found, pod) {
                    Look::Over(outcome) => return Some(outcome),
                    Look::Later(_) => return Some(gone()),
                },
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(_) => return None,
            }
        }
        None
    }
}

#[async_trait]
impl Pods for KubePods {
    async fn outcome(&self, pod: &PodRef) -> Outcome {
        let mut last = "the API server was not heard of".to_owned();
        match tokio::time::timeout(self.patience, self.ended(pod, &mut last)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let waited = self.patience;
                unknown(&format!("how it ended is not known after {waited:?}: {last}"))
            }
        }
    }

    async fn has_ended(&self, namespace: &str, name: &str) -> Option<bool> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        match pods.get_opt(name).await {
            Ok(Some(found)) => Some(has_ended(&found)),
            // Or it is of another cluster that has the same server.
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, namespace, name, "whether a pod has ended is not known");
                None
            }
        }
    }
}

fn look(found: &Pod, pod: &PodRef) -> Look {
    if found.metadata.uid.as_deref() != Some(pod.uid.as_str()) {
        return Look::Over(unknown("it is gone, and another has its name"));
    }
    match standing(found) {
        Standing::Succeeded => Look::Over(Outcome::Succeeded),
        Standing::Failed(why) => Look::Over(Outcome::Failed(why)),
        Standing::Runs(why) => Look::Later(why),
    }
}

fn gone() -> Outcome {
    unknown("it is gone, and nobody said how it ended")
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown(why.to_owned())
}

#[cfg(test)]
mod tests;
