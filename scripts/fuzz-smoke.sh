#!/usr/bin/env bash
# Runs every fuzz target for a few seconds (FUZZ_SECONDS, default 10).
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
if ! cargo fuzz --version >/dev/null 2>&1 || ! cargo +nightly --version >/dev/null 2>&1; then
  echo 'error: needs cargo-fuzz and a nightly toolchain' >&2
  echo 'hint: rustup toolchain install nightly && cargo install --locked cargo-fuzz' >&2
  exit 1
fi
for target in $(cargo +nightly fuzz list); do
  echo "== $target"
  cargo +nightly fuzz run "$target" -- -max_total_time="${FUZZ_SECONDS:-10}" -rss_limit_mb=1024
done
