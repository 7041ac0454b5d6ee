//! The manifests of the repository, as they were when this was built.

use super::kustomize::Files;

/// The namespace that they are for.
pub(super) const NAMESPACE: &str = "pfs";

/// The image that they run.
pub(super) const IMAGE: &str = "pfs";

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $path)))),*]
    };
}

/// By their paths from the root of the repository.
pub(super) const FILES: &Files<'_> = files![
    "deploy/kustomization.yaml",
    "deploy/namespace.yaml",
    "deploy/server/access.yaml",
    "deploy/server/deployment.yaml",
    "deploy/server/kustomization.yaml",
    "deploy/server/rbac.yaml",
    "deploy/server/service.yaml",
    "deploy/server/state.yaml",
    "daemonset/deploy/agent.yaml",
    "daemonset/deploy/keeper.yaml",
    "daemonset/deploy/kustomization.yaml",
    "daemonset/deploy/rbac.yaml",
    "csi/deploy/classes.yaml",
    "csi/deploy/controller.yaml",
    "csi/deploy/driver.yaml",
    "csi/deploy/kustomization.yaml",
    "csi/deploy/node.yaml",
    "csi/deploy/rbac.yaml",
];
