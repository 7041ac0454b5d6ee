#!/usr/bin/env bash
# init.sh SCRATCH BINARIES COMMAND…: the first process of a cluster's
# namespaces. Makes the usual places the cluster's own, starts everything, runs
# the command, and ends with its status; the kernel ends the rest.
set -euo pipefail
scratch=$1 binaries=$2
shift 2
here=$(realpath "$(dirname "$0")")

# Everything that is written is in memory or in the scratch directory.
places() {
  mount -t tmpfs -o mode=755 run /run
  local place
  for place in lib log; do
    mkdir "$scratch/$place"
    mount --bind "$scratch/$place" "/var/$place"
  done
  ln -s "$binaries" /run/binaries
  mkdir -p /run/kubernetes /run/lock
  basename "$scratch" >/run/kubernetes/group
}

# kubelet sets some of the kernel's switches: it gets copies to set, since
# these are the whole machine's.
switches() {
  local switch
  for switch in kernel/panic kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [[ -e /proc/sys/$switch ]] || continue
    cat "/proc/sys/$switch" >"/run/kubernetes/${switch//\//.}"
    mount --bind "/run/kubernetes/${switch//\//.}" "/proc/sys/$switch"
  done
}

# An address for the node, and a way to those of services, which kube-proxy
# turns into others. There is no way out.
network() {
  ip link set lo up
  ip link add node0 type bridge
  ip address add 10.243.0.1/24 dev node0
  ip link set node0 up
  ip route add 10.96.0.0/16 dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  local bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
  [[ ! -e $bridged ]] || echo 1 >"$bridged"
}

fail() {
  echo 'error: the cluster did not start' >&2
  tail -n 8 /var/log/cluster/{etcd,apiserver,containerd,kubelet,proxy}.log >&2
  exit 1
}

places
switches
echo pfs-node >/proc/sys/kernel/hostname
network
mount --make-rshared /
started=$(date +%s%N)
"$here/parts.sh" start || fail
echo "cluster: ready after $((($(date +%s%N) - started) / 1000000)) ms" >&2

status=0
"$here/within.sh" "$scratch" "$@" || status=$?
exit "$status"
