#!/usr/bin/env bash
# within.sh SCRATCH COMMAND…: a command with the environment of the cluster
# whose namespaces it is in.
set -euo pipefail
export PFS_CLUSTER=$1
export KUBECONFIG=/run/kubernetes/admin.conf
export CONTAINERD_NAMESPACE=k8s.io
export PATH=/run/kubernetes/programs:$PATH
shift
exec "$@"
