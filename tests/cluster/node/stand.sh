#!/usr/bin/env bash
# stand.sh FILE: says in the file where the cluster's scratch directory is, and
# stays.
set -euo pipefail
echo "$PFS_CLUSTER" >"$1"
exec sleep infinity
