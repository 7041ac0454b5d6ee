#!/usr/bin/env bash
# Builds pfs as one static program and makes of it the image that Containerfile
# describes, with no container tool: an OCI layout in a tar, for
# `ctr images import` or `podman load`. Prints where it is.
#
# usage: scripts/image.sh [NAME]       docker.io/library/pfs:dev unless given
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
name=${1:-docker.io/library/pfs:dev}

# What the linker is told is for the program alone: all that it is linked from is
# what the ordinary build has made, or will take.
$cargo rustc --release --locked --bin pfs -- -C target-feature=+crt-static -C strip=symbols >&2
install -m 755 target/release/pfs target/pfs-static
# Whoever asks for the ordinary program finds it in its place again.
$cargo build --release --locked >&2

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -m 755 target/pfs-static "$root/pfs"
# Object stores are spoken to by TLS.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -d -m 1777 "$root/tmp"
scripts/oci.py target/pfs-image.tar "$name" "$root" --user 65532:65532 -- /pfs
echo "$PWD/target/pfs-image.tar"
