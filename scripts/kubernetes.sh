#!/usr/bin/env bash
# Compiles the Kubernetes that tests/cluster runs into the cache directory,
# unless these versions are there; prints where the programs are. That takes
# some twelve minutes of processor time, once per machine.
set -euo pipefail
modules=$(realpath "$(dirname "$0")/../tests/cluster/modules")
version=$(sed -n 's/^\tk8s.io\/kubernetes v\([0-9.]*\).*/\1/p' "$modules/kubernetes/go.mod")
key=$(cat "$modules"/*/go.{mod,sum} | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/kubernetes
programs=$cache/$version-$key
if [[ -e $programs ]]; then
  echo "$programs"
  exit 0
fi

# Debian's is older.
needed=$(sed -n 's/^go //p' "$modules"/*/go.mod | sort -V | tail -n 1)
found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || echo none)
if [[ $(printf '%s\n' "$needed" "${found#go}" | sort -V | head -n 1) != "$needed" || $found == none ]]; then
  echo "error: Kubernetes is compiled with Go $needed or later; here is: $found" >&2
  exit 1
fi
# Libraries refuse to be without a version, and take it from the linker.
stamp="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=v$version -X $package.gitTreeState=clean"
  stamp+=" -X $package.gitMajor=${version%%.*} -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
done
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly

mkdir -p "$(dirname "$cache")"
exec {lock}>"$cache.lock"
echo "setup: compiling Kubernetes $version into $programs" >&2
flock "$lock"
if [[ ! -e $programs ]]; then
  partial=$(mktemp -d "$cache.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  for module in "$modules"/*/; do
    (cd "$module" && go build -trimpath -ldflags "$stamp" -o "$partial/" tool) >&2
  done
  # The kinds of snapshots, and their controller, as its authors install it.
  snapshots=$(cd "$modules/kubernetes" && go list -m -f '{{.Dir}}' \
    github.com/kubernetes-csi/external-snapshotter/{client/v8,v8})
  cp -r --no-preserve=mode "$(sed -n 1p <<<"$snapshots")/config/crd" "$partial/snapshots-crd"
  cp -r --no-preserve=mode "$(sed -n 2p <<<"$snapshots")/deploy/kubernetes/snapshot-controller" \
    "$partial/snapshot-controller-deploy"
  mkdir -p "$cache"
  chmod 755 "$partial"
  mv "$partial" "$programs"
fi
echo "$programs"
