#!/usr/bin/env bash
# init.sh SCRATCH PROGRAMS COMMAND…: the first process of a cluster's namespaces.
# Starts everything, runs the command, and ends with its status; the kernel ends
# the rest. All that is written is in memory or in the scratch directory.
set -euo pipefail
scratch=$1 programs=$2
shift 2
here=$(realpath "$(dirname "$0")")
# shellcheck source=tests/cluster/node/namespace.sh
source "$here/namespace.sh"

fail() {
  echo 'error: the cluster did not start' >&2
  tail -n 8 /var/log/cluster/{etcd,apiserver,containerd,kubelet,proxy}.log >&2
  exit 1
}

mkdir -p "$scratch/log/cluster"
mount --bind "$scratch/log" /var/log
mount -t tmpfs -o mode=755 run /run
own_places "$scratch/1" 1
own_switches
ip link add node0 type bridge
own_network 1
mount --make-rshared /
ln -s "$programs" /run/kubernetes/programs
basename "$scratch" >/run/kubernetes/group

started=$(date +%s%N)
"$here/within.sh" "$scratch" "$here/parts.sh" start || fail
echo "cluster: ready after $((($(date +%s%N) - started) / 1000000)) ms" >&2

status=0
"$here/within.sh" "$scratch" "$@" || status=$?
exit "$status"
