#!/usr/bin/env bash
# Builds the file-system test suites that tests/posix runs into the cache
# directory, unless these versions are there; prints where they are.
set -euo pipefail
tools=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/tools
cd /
for suite in pjdfstest@0.2.2 fsx@0.3.2; do
  name=${suite%@*}
  mark=$tools/$name-${suite#*@}
  [[ -x $tools/bin/$name && -e $mark ]] && continue
  echo "setup: building $suite into $tools" >&2
  cargo install --quiet --debug --locked --force --root "$tools" "$suite" >&2
  touch "$mark"
done
echo "$tools/bin"
