#!/usr/bin/env bash
# Installs what building and testing pfs needs and this machine lacks, and says
# what it does. Quick and silent when nothing is missing.
#
# usage: scripts/setup.sh [demo|test|bench|cluster]
set -euo pipefail
purpose=${1:-test}

# command:Debian package
needs=(cc:build-essential pkg-config:pkg-config git:git python3:python3 fusermount3:fuse3 curl:curl)
case $purpose in
  demo) ;;
  bench) needs+=(rclone:rclone s3fs:s3fs fio:fio openssl:openssl go:golang-go) ;;
  test)
    needs+=(rclone:rclone rsync:rsync sqlite3:sqlite3 tar:tar mkfs.ext4:e2fsprogs)
    needs+=(stress-ng:stress-ng fio:fio dbench:dbench setpriv:util-linux)
    ;;
  cluster)
    needs+=(etcd:etcd-server containerd:containerd runc:runc nft:nftables dnsmasq:dnsmasq-base)
    needs+=(ip:iproute2 iptables:iptables openssl:openssl unshare:util-linux)
    needs+=(/usr/lib/cni/bridge:containernetworking-plugins)
    ;;
  *) echo "usage: $0 [demo|test|bench|cluster]" >&2 && exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need#*:}")
done
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if [[ $purpose == cluster ]] && ! busybox --list 2>/dev/null | grep -x httpd >/dev/null; then
  missing+=(busybox-static)
fi
[[ -e /etc/ssl/certs/ca-certificates.crt ]] || missing+=(ca-certificates)

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]} with apt-get" >&2
  if ! command -v apt-get >/dev/null; then
    echo "error: no apt-get here; install ${missing[*]} by hand" >&2
    exit 1
  fi
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    echo "error: neither root nor sudo; as root run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ ! -e /dev/fuse ]]; then
  echo "setup: loading the kernel's fuse module" >&2
  as_root modprobe fuse || echo "warning: this kernel has no FUSE; mounts will not work" >&2
fi

if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
  echo "error: cargo is in ~/.cargo/bin, which is not in PATH" >&2
  echo "hint: . ~/.cargo/env" >&2
  exit 1
fi
if ! command -v cargo >/dev/null; then
  echo "setup: installing the Rust toolchain manager, rustup" >&2
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rustup >/dev/null 2>&1; then
    echo "error: there is no Rust toolchain, and no Debian package rustup" >&2
    echo "hint: install it as https://rustup.rs says, then run this again" >&2
    exit 1
  fi
fi
# rust-toolchain.toml pins the version; rustup fetches it on first use.
cargo --version >/dev/null

if [[ $purpose == test ]]; then
  # Without them their tests say that they were not run.
  "$(dirname "$0")/posix-tools.sh" >/dev/null ||
    echo "warning: the file-system suites were not built" >&2
  "$(dirname "$0")/csi-sanity.sh" >/dev/null ||
    echo "warning: csi-sanity was not built; it needs Go 1.25 or later" >&2
fi
# The S3 server the mount is measured on; its objects are plain files.
tools=$(dirname "$0")/../target/bench-tools
if [[ $purpose == bench && ! -x $tools/versitygw ]]; then
  echo "setup: building versitygw, an S3 server, with Go" >&2
  mkdir -p "$tools"
  GOBIN=$(realpath "$tools") go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 ||
    echo "warning: no S3 server; the benchmark 'remote' will fail" >&2
fi
