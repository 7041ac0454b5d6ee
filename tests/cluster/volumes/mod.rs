//! pfs on the cluster: pods that read and write commits.

mod busy;
mod claims;
mod examples;
mod figures;
mod follow;
mod inline;
mod leaks;
mod lost;
mod pipelines;
mod policies;
mod refused;
mod restarts;
mod shared;

use std::ops::Deref;

use crate::install;
use crate::namespace::Namespace;
use crate::pod::Pod;
use crate::server::Server;

/// A namespace whose pods mount what the server of the cluster has.
struct Volumes {
    namespace: Namespace,
    server: &'static Server,
}

impl Deref for Volumes {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Volumes {
    /// A new namespace on the cluster that pfs is installed on.
    fn new(stem: &str) -> Self {
        Self::on(Namespace::new(stem))
    }

    /// The same for a test that has the cluster to itself.
    fn alone(stem: &str) -> Self {
        Self::on(Namespace::alone(stem))
    }

    /// The same in a namespace of exactly that name.
    fn named(name: &str) -> Self {
        Self::on(Namespace::named(name))
    }

    fn on(namespace: Namespace) -> Self {
        let server = install::pfs(namespace.cluster());
        Self { namespace, server }
    }

    /// A new repo of this test's own.
    #[track_caller]
    fn repo(&self, stem: &str) -> String {
        let repo = format!("{}-{stem}", self.name());
        self.server.create_repo(&repo);
        repo
    }

    /// Starts a pod.
    #[track_caller]
    fn start(&self, pod: &Pod) {
        self.apply(&pod.manifest());
    }

    /// Runs a pod until it has ended; returns what it has printed.
    #[track_caller]
    fn run(&self, name: &str, pod: &Pod) -> String {
        self.start(pod);
        let phase = self.ended(name);
        let said = self.logs(name);
        assert_eq!(phase, "Succeeded", "{name}: {said}");
        said
    }
}
