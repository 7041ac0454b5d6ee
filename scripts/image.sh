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
target=$(rustc -vV | sed -n 's/^host: //p')

# A target that is named keeps the flags from build scripts and macros, which
# cannot be static, and the result beside the ordinary one.
RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
  $cargo build --release --locked --bin pfs --target "$target" >&2

binary=target/$target/release/pfs
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -m 755 "$binary" "$root/pfs"
# Object stores are spoken to by TLS.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -d -m 1777 "$root/tmp"
scripts/oci.py target/pfs-image.tar "$name" "$root" --user 65532:65532 -- /pfs
echo "$PWD/target/pfs-image.tar"
