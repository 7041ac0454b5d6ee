#!/usr/bin/env bash
# Plays the examples as their documents tell a newcomer to, each against a
# server of its own, and compares what is printed with what they say.
#
# usage: scripts/examples.sh [DOCUMENT.md …]
set -euo pipefail
documents=("$@")
checkout=$(cd "$(dirname "$0")/.." && pwd)
if ((!${#documents[@]})); then documents=("$checkout"/examples/*/*.md); fi
"$checkout/scripts/venv.sh" >/dev/null

for document in "${documents[@]}"; do
  document=$(realpath "$document")
  printf '\n== %s\n' "${document#"$checkout/"}"
  (
    source "$checkout/scripts/server.sh"
    scratch_start examples
    server_start
    export TMPDIR=$SCRATCH/work
    cd "$checkout"
    "$checkout/scripts/play.py" "$document"
  )
done
