# What the first process of a node makes of its namespaces, for scripts that
# source this file.
#
#   own_places DIR NUMBER   the usual places are the node's: DIR and memory
#   own_switches            so are those switches of the kernel that kubelet sets
#   own_network NUMBER      an address, and ways to the pods of the other node
#
# NUMBER is the node's, and in its addresses.

# /run/kubernetes, which nodes share, stays if it is there.
own_places() {
  local shared
  mkdir -p "$1/lib/kubelet" /run/kubernetes
  mount --bind "$1/lib" /var/lib
  shared=$(mktemp -d "$1/XXXXXX")
  mount --bind /run/kubernetes "$shared"
  mount -t tmpfs -o mode=755 run /run
  mkdir /run/kubernetes /run/lock /run/switches
  mount --move "$shared" /run/kubernetes
  rmdir "$shared"
  echo "$2" >/run/node-number
  echo "pfs-node-$2" >/proc/sys/kernel/hostname
}

# They are the whole machine's; kubelet gets copies.
own_switches() {
  local switch copy
  for switch in kernel/panic kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [[ -e /proc/sys/$switch ]] || continue
    copy=/run/switches/${switch//\//.}
    cat "/proc/sys/$switch" >"$copy"
    mount --bind "$copy" "/proc/sys/$switch"
  done
}

# The device node0 is there. Addresses of services are turned into others by
# kube-proxy, and need a way until then. There is no way out.
own_network() {
  local other=$((3 - $1)) bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
  ip link set lo up
  ip address add "10.243.0.$1/24" dev node0
  ip link set node0 up
  ip route add 10.96.0.0/16 dev node0
  ip route add "10.244.$other.0/24" via "10.243.0.$other"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  [[ ! -e $bridged ]] || echo 1 >"$bridged"
}
