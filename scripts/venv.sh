#!/usr/bin/env bash
# Prints the path of a Python environment that holds what a requirements file
# names, making it in the cache directory first when it is not there.
#
# usage: scripts/venv.sh [REQUIREMENTS]     examples/requirements.txt by default
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
requirements=$(realpath "${1:-$here/examples/requirements.txt}")
key=$({ python3 -c 'import sys; print(sys.version, sys.base_prefix)'; cat "$requirements"; } | sha256sum | cut -c1-12)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/venv-$key
mkdir -p "${venv%/*}"
exec 9>"$venv.lock"
flock 9
if [[ ! -e $venv/complete ]]; then
  echo "setup: installing ${requirements#"$here/"} into $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
  touch "$venv/complete"
fi
echo "$venv"
