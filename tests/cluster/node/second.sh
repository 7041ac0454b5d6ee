#!/usr/bin/env bash
# second.sh: a second node, until it is killed and everything on it with it: it
# has a process namespace of its own. It shares programs, credentials and the
# directory of logs with the first.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
# shellcheck source=tests/cluster/node/namespace.sh
source "$here/namespace.sh"

if [[ ${1:-} != inside ]]; then
  ip netns delete second 2>/dev/null || true
  ip netns add second
  ip link add second type veth peer name node0 netns second
  ip link set second master node0 up
  exec nsenter --net=/run/netns/second \
    unshare --mount --pid --ipc --uts --fork --kill-child --mount-proc "$0" inside
fi

rm -rf "$PFS_CLUSTER/2"
own_places "$PFS_CLUSTER/2" 2
own_switches
own_network 2
mount --make-rshared /
"$here/parts.sh" runtime
"$here/parts.sh" join
touch /run/kubernetes/second
sleep infinity
