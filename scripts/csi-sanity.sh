#!/usr/bin/env bash
# Builds csi-sanity, the conformance tests of CSI drivers, into the cache
# directory, unless this version is there; prints where it is.
set -euo pipefail
version=v5.6.0
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/tools
mark=$tools/csi-sanity-$version
cd /
if [[ ! -x $tools/bin/csi-sanity || ! -e $mark ]]; then
  echo "setup: building csi-sanity $version into $tools" >&2
  mkdir -p "$tools/bin"
  GOBIN=$tools/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0 \
    go install "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@$version" >&2
  touch "$mark"
fi
echo "$tools/bin"
