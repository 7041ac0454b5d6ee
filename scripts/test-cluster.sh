#!/usr/bin/env bash
# The tests on a real Kubernetes: compiles it unless that was done on this
# machine, makes the image, brings a cluster up for the tests and takes it down.
# Arguments go to the tests, as in: scripts/test-cluster.sh basics::
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
started=$SECONDS
passed() { printf '== %s after %d s\n' "$1" $((SECONDS - started)); }

if [[ $(id -u) != 0 ]]; then
  echo 'error: the tests on a cluster need root: control groups, mounts, networks' >&2
  exit 1
fi
scripts/kubernetes.sh >/dev/null
passed 'Kubernetes is compiled'
PFS_CLUSTER_IMAGES=$(scripts/image.sh)
export PFS_CLUSTER_IMAGES
passed 'the image is made'
# Programs that map files, and the examples; loaded by the tests that need it.
PFS_CLUSTER_PYTHON=$(scripts/python-image.sh docker.io/library/pfs-examples:dev \
  examples/serving/requirements.txt examples/iris examples/serving examples/shared-volume)
export PFS_CLUSTER_PYTHON
passed 'the image of Python is made'
$cargo test --locked --test cluster --no-run
passed 'the tests are compiled'
# Inside there is no network to fetch anything from.
CARGO_NET_OFFLINE=true tests/cluster/cluster.sh run \
  $cargo test --locked --no-fail-fast --test cluster -- "$@"
passed 'the tests have passed'
