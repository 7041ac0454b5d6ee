#!/usr/bin/env bash
# Everything `make test` checks, in an order that fails early on cheap things.
# Goes on after a failure, and says at the end what failed and what this
# machine could not run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
cargo=${CARGO:-cargo}
failed=() not_run=()
PFS_NOT_RUN=$PWD/target/not-run
export PFS_NOT_RUN
rm -rf "$PFS_NOT_RUN" && mkdir -p "$PFS_NOT_RUN"

# step NAME COMMAND…: exit status 3 means it could not all be run here.
step() {
  local name=$1 status started=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@"
  status=$?
  case $status in
    0) ;;
    3) not_run+=("$name: in part, see above") ;;
    *) failed+=("$name") ;;
  esac
  printf '== %s: exit %d after %d s\n' "$name" "$status" $((SECONDS - started))
}

# The tests' own words are kept, to be repeated at the end.
tests() {
  $cargo test --locked --workspace --no-fail-fast 2>&1 | tee target/tests.log
}

# The tests on a cluster are no target of `cargo test`.
lint() {
  $cargo clippy --locked --workspace --all-targets -- -D warnings &&
    $cargo clippy --locked --test cluster -- -D warnings
}

step format $cargo fmt --all --check
step deny scripts/deny.sh
step lint lint
step build $cargo build --release --locked
export PFS_BINARY=$PWD/target/release/pfs
PFS_PYTHON=$(scripts/venv.sh)/bin/python3 && export PFS_PYTHON
step tests tests
step examples scripts/examples.sh

[[ -d fuzz ]] && not_run+=('fuzz targets: run `make fuzz-smoke` (a build of its own with a sanitizer)')
for note in "$PFS_NOT_RUN"/*; do
  [[ -e $note ]] && not_run+=("${note##*/}: $(<"$note")")
done

printf '\n== make test: %d s\n' "$SECONDS"
if ((${#not_run[@]})); then
  echo 'not run on this machine:'
  printf '  %s\n' "${not_run[@]}"
fi
if ((${#failed[@]})); then
  # What continuous integration shows of a long log is its end.
  grep -A 15 -E "^(thread .* panicked|error(\[|:))" target/tests.log 2>/dev/null | head -n 200
  grep -E '\.\.\. FAILED$' target/tests.log 2>/dev/null
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo 'all else passed'
