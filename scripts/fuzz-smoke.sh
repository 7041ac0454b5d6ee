#!/usr/bin/env bash
# Runs every fuzz target for a few seconds (FUZZ_SECONDS, default 10), or those
# named as arguments. Builds cargo-fuzz into the cache directory first when it
# is not installed.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
version=0.13.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/tools
export PATH=$PATH:$tools/bin
# Sanitizers are unstable options; the pinned compiler takes them like this.
export RUSTC_BOOTSTRAP=1
if ! command -v cargo-fuzz >/dev/null; then
  echo "setup: building cargo-fuzz $version into $tools" >&2
  cargo install --quiet --debug --locked --root "$tools" "cargo-fuzz@$version"
fi
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
  echo "== $target"
  cargo fuzz run --dev "$target" -- -max_total_time="${FUZZ_SECONDS:-10}" -rss_limit_mb=2048
done
