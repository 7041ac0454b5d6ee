#!/usr/bin/env bash
# A Kubernetes of one node for the tests, or two: a real control plane, kubelet,
# containerd, kube-proxy and DNS.
#
#   cluster.sh run COMMAND…   a cluster for as long as the command runs
#   cluster.sh up             one that stays, of this checkout
#   cluster.sh in COMMAND…    runs a command inside the one that stays
#   cluster.sh down           ends it
#
# All of it, and the command, is in a mount, a network and a process namespace
# of its own: nothing can reach an address that is not this machine's, the usual
# places (/var/lib/kubelet, /run/containerd, …) are the cluster's, and everything
# ends with its first process, however that ends. What namespaces do not hold,
# a directory and control groups, this script takes away, and the next run does
# should it be killed. Clusters do not see each other.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
checkout=$(realpath "$here/../..")
standing=$checkout/target/cluster
export PATH=$PATH:/usr/sbin:/sbin

# The roots of the hierarchies of control groups of this machine.
hierarchies() {
  local procs
  for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    [[ -e $procs ]] && dirname "$(realpath "$procs")"
  done | sort -u
}

# Makes the control groups below which the kubelets keep the pods.
groups_make() {
  local root group file
  for root in $(hierarchies); do
    for group in "$1" "$1/1" "$1/2"; do
      mkdir "$root/$group"
      for file in cpuset.cpus cpuset.mems; do
        # The first version gives a new group none, and no process may enter it.
        [[ ! -e $root/$file ]] || cat "$root/$file" >"$root/$group/$file"
      done
    done
  done
}

groups_remove() {
  local root
  for _ in $(seq 50); do
    for root in $(hierarchies); do
      [[ -d $root/$1 ]] && find "$root/$1" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    compgen -G "/sys/fs/cgroup/*/$1" >/dev/null || [[ -d /sys/fs/cgroup/$1 ]] || return 0
    sleep 0.1
  done
  echo "warning: control groups $1 are still in use" >&2
}

clear_away() {
  groups_remove "$(basename "$1")"
  rm -rf --one-file-system "$1"
}

# Takes away what killed runs left: their lock is nobody's.
sweep() {
  local left
  for left in "${TMPDIR:-/tmp}"/pfs-cluster.*; do
    [[ -d $left/state ]] && flock --nonblock "$left" true || continue
    echo "cluster: clearing away what a killed run left in $left" >&2
    clear_away "$left"
  done
}

run() {
  [[ $(id -u) == 0 ]] || { echo 'error: a cluster needs root' >&2 && exit 1; }
  local binaries status=0
  binaries=$("$checkout/scripts/kubernetes.sh")
  sweep
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/pfs-cluster.XXXXXX")
  exec {lock}<"$scratch"
  flock "$lock"
  mkdir "$scratch/state"
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  groups_make "$(basename "$scratch")"
  # Should this shell be killed, so is unshare, and with it the first process
  # of the namespace and all others in it.
  setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --fork --kill-child \
    --mount-proc "$here/node/init.sh" "$scratch" "$binaries" "$@" <&0 &
  child=$!
  echo "$child" >"$scratch/process"
  wait "$child" || status=$?
  exit "$status"
}

finish() {
  local status=$?
  trap '' EXIT INT TERM HUP
  if [[ -n ${child:-} ]]; then
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  rm -rf "$checkout/target/cluster-logs"
  mkdir -p "$checkout/target"
  [[ -d $scratch/log ]] && cp -r "$scratch/log" "$checkout/target/cluster-logs"
  clear_away "$scratch"
  exit "$status"
}

up() {
  [[ -e $standing ]] && down
  mkdir -p "$(dirname "$standing")"
  setsid "$0" run "$here/node/stand.sh" "$standing" </dev/null >"$standing.log" 2>&1 &
  local starting=$!
  until [[ -e $standing ]]; do
    if ! kill -0 "$starting" 2>/dev/null; then
      cat "$standing.log" >&2
      exit 1
    fi
    sleep 0.1
  done
  echo "cluster: up; $0 in bash" >&2
}

enter() {
  local scratch process
  scratch=$(cat "$standing" 2>/dev/null) || { echo 'error: none is up' >&2 && exit 1; }
  process=$(cat "$scratch/process")
  exec nsenter --target "$process" --mount --net --ipc --uts \
    --pid="/proc/$process/ns/pid_for_children" --wd="$PWD" \
    "$here/node/within.sh" "$scratch" "$@"
}

down() {
  local scratch
  scratch=$(cat "$standing" 2>/dev/null) || return 0
  rm -f "$standing" "$standing.log"
  [[ -d $scratch ]] || return 0
  kill -KILL "$(cat "$scratch/process")" 2>/dev/null || true
  # Its shell still holds the lock, and clears away.
  timeout 60 flock "$scratch" true 2>/dev/null || true
  sweep
}

verb=${1:-}
case $verb in
  run | up | down) shift && "$verb" "$@" ;;
  in) shift && enter "$@" ;;
  *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
