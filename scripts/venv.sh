#!/usr/bin/env bash
# Prints the path of a Python environment that holds examples/requirements.txt,
# making it in the cache directory first when it is not there.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
requirements=$here/examples/requirements.txt
key=$({ python3 -c 'import sys; print(sys.version, sys.base_prefix)'; cat "$requirements"; } | sha256sum | cut -c1-12)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/pfs/venv-$key
if [[ ! -e $venv/complete ]]; then
  echo "setup: installing scikit-learn, numpy and h5py into $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
  touch "$venv/complete"
fi
echo "$venv"
