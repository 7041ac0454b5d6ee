#!/usr/bin/env bash
# Runs cargo-deny over the dependencies, as deny.toml says. Builds it into the
# cache directory first when it is not installed (without optimisation: about a
# minute instead of several).
#
# Exits 3 when everything was checked but the advisories, for want of a network.
set -euo pipefail
version=0.20.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/tools
export PATH=$PATH:$tools/bin
if ! command -v cargo-deny >/dev/null; then
  echo "setup: building cargo-deny $version into $tools" >&2
  cargo install --quiet --debug --locked --root "$tools" "cargo-deny@$version"
fi
cargo deny --locked check bans licenses sources
if ! cargo deny --locked fetch db >/dev/null 2>&1; then
  echo "deny: the advisory database cannot be fetched" >&2
  exit 3
fi
cargo deny --locked check --disable-fetch advisories
