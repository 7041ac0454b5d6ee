#!/usr/bin/env bash
# The programs a cluster is made of, inside its namespaces.
#
#   parts.sh start            everything, in order; returns when a pod may come
#   parts.sh kill PART        kill -9, and it stays away
#   parts.sh resume PART      starts it again
#   parts.sh sidecars         loads the images that stand beside a CSI driver
#   parts.sh load TAR         loads an image
#
#   parts.sh second start     a second node, with places, a network and processes
#                             of its own
#   parts.sh second lose      ends it as a power cut does
#
# A part is etcd, apiserver, controllers, scheduler, containerd, kubelet, proxy
# or dns. Logs are in /var/log/cluster.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
# shellcheck source=tests/cluster/node/certificates.sh
source "$here/certificates.sh"
config=$(realpath "$here/../config")
home=/run/kubernetes
pki=$home/pki
# The node whose namespaces this is run in: its number is in its addresses.
number=$(cat /run/node-number)
node=pfs-node-$number
export PATH=$home/programs:$PATH

# A daemon of its own session, whose log grows over restarts.
daemon() {
  local part=$1 suffix=
  shift
  ((number == 1)) || suffix=-$number
  setsid "$@" >>"/var/log/cluster/$part$suffix.log" 2>&1 </dev/null &
  echo $! >"/run/$part.pid"
}

await() {
  local what=$1 deadline=$((SECONDS + 180))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > deadline)); then
      echo "error: $what does not answer" >&2
      return 1
    fi
    sleep 0.05
  done
}

part_etcd() {
  daemon etcd etcd --data-dir /var/lib/etcd --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 \
    --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
}

part_apiserver() {
  daemon apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address=10.243.0.1 --secure-port=6443 \
    --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key \
    --client-ca-file=$pki/ca.crt \
    --kubelet-client-certificate=$pki/apiserver-kubelet.crt \
    --kubelet-client-key=$pki/apiserver-kubelet.key \
    --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=$pki/accounts.key \
    --service-account-signing-key-file=$pki/accounts.key \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --audit-log-path=/var/log/cluster/audit.log --audit-policy-file="$config/audit.yaml"
}

part_controllers() {
  daemon controllers kube-controller-manager --kubeconfig=$home/controllers.conf \
    --bind-address=127.0.0.1 --leader-elect=false --root-ca-file=$pki/ca.crt \
    --service-account-private-key-file=$pki/accounts.key --use-service-account-credentials=true \
    --node-monitor-grace-period=20s --pvclaimbinder-sync-period=2s
}

part_scheduler() {
  daemon scheduler kube-scheduler --kubeconfig=$home/scheduler.conf \
    --bind-address=127.0.0.1 --leader-elect=false
}

part_containerd() {
  daemon containerd containerd --config "$config/containerd.toml"
}

part_kubelet() {
  daemon kubelet kubelet --config="$config/kubelet.yaml" --kubeconfig="$home/$node.conf" \
    --cgroup-root="/$(<$home/group)/$number" --max-open-files="$(ulimit -Hn)" \
    --hostname-override="$node" --node-ip="10.243.0.$number" --v=2
}

part_proxy() {
  daemon proxy kube-proxy --config="$config/kube-proxy.yaml" --hostname-override="$node"
}

part_dns() {
  mkdir -p $home/names
  daemon dns dnsmasq --keep-in-foreground --log-facility=- --no-resolv --no-hosts --bind-dynamic \
    --listen-address=10.243.0.1 --local=/cluster.local/ --hostsdir=$home/names --user=root \
    --pid-file=
  daemon names "$here/names.sh" $home/names
}

admin() { kubectl --kubeconfig $home/admin.conf "$@"; }

# image NAME COMMAND…: an image of busybox.
image() {
  local name=$1 root
  shift
  root=$(mktemp -d /run/image.XXXXXX)
  mkdir -m 1777 "$root/tmp"
  mkdir "$root"/{bin,etc,mnt}
  cp /bin/busybox "$root/bin/"
  /bin/busybox --list | grep -vx busybox | xargs -I{} ln -s busybox "$root/bin/{}"
  printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
  packed "$root" "$name" --replaceable -- "$@"
}

# sidecar PROGRAM VERSION: the image that manifests name, of what was compiled.
sidecar() {
  local root
  root=$(mktemp -d /run/image.XXXXXX)
  cp "$home/programs/$1" "$root/"
  packed "$root" "registry.k8s.io/sig-storage/$1:$2" -- "/$1"
}

# packed DIRECTORY NAME [OPTION…] -- COMMAND…: makes an image, and loads it.
packed() {
  "$here/../../../scripts/oci.py" "$1.tar" "$2" "$1" "${@:3}"
  load "$1.tar"
  rm -r "$1" "$1.tar"
}

load() { ctr --namespace k8s.io images import "$1" >/dev/null; }

images() {
  # shellcheck disable=SC2016
  image localhost/pause:1 /bin/sh -c 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
  image docker.io/library/busybox:test /bin/sh
  local tar
  for tar in ${PFS_CLUSTER_IMAGES:-}; do load "$tar"; done
}

sidecars() {
  sidecar csi-provisioner v6.3.0
  sidecar csi-snapshotter v8.4.0
  sidecar snapshot-controller v8.2.1
}

# The runtime, with addresses for pods that are this node's.
runtime() {
  mkdir -p /run/cni
  sed "s/NODE/$number/" "$config/cni.conflist" >/run/cni/pods.conflist
  part_containerd
  await containerd ctr version
  images
}

# What a node consists of once there is a control plane.
join() {
  part_kubelet
  part_proxy
  await "node $node" admin wait --for=condition=Ready "node/$node" --timeout=1s
}

control_plane() {
  part_etcd
  part_apiserver
  await kube-apiserver admin get --raw /readyz
  part_controllers
  part_scheduler
}

start() {
  certificates $home 10.243.0.1
  control_plane &
  local control=$!
  runtime
  wait $control
  part_dns
  join
  await 'the service account of pods' admin get serviceaccount default
}

second() {
  rm -f $home/second
  case $1 in
    start) daemon second "$here/second.sh" && await 'the second node' test -e $home/second ;;
    lose) [[ ! -e /run/second.pid ]] || stop second ;;
  esac
}

stop() {
  local pid
  pid=$(<"/run/$1.pid")
  kill -KILL "$pid"
  # It is no child of this shell.
  while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
  rm "/run/$1.pid"
}

case ${1:-} in
  start | runtime | join | sidecars) "$1" ;;
  load) load "$2" ;;
  second) second "$2" ;;
  kill) stop "$2" ;;
  resume) "part_$2" ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
