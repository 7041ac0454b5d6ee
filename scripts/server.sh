# A pfs server of one's own, for scripts that source this file: in a scratch
# directory, on a free port of the loopback, gone when the script ends.
#
#   scratch_start        makes $SCRATCH, puts the release binary in PATH
#   server_start         starts the server, exports PFS_ADDRESS
#   server_stop          stops it (SIGTERM, and SIGKILL after 20 s)
#   scratch_end          unmounts, stops, deletes; runs on every way out

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
server_pid=

scratch_start() {
  local binary=${PFS_BINARY:-$checkout/target/release/pfs}
  if [[ ! -x $binary ]]; then
    echo "error: $binary is not there" >&2
    echo 'hint: build it with: make' >&2
    exit 1
  fi
  SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/pfs-${1:-scratch}.XXXXXX")
  trap scratch_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir "$SCRATCH/bin" "$SCRATCH/root" "$SCRATCH/work"
  ln -s "$binary" "$SCRATCH/bin/pfs"
  ln -s pfs "$SCRATCH/bin/pachctl"
  export PATH=$SCRATCH/bin:$PATH PFS_ROOT=$SCRATCH/root
  export XDG_CONFIG_HOME=$SCRATCH/config
  unset PACHD_ADDRESS PFS_STORE PFS_CATALOG
  cd "$SCRATCH/work" || exit 1
}

server_start() {
  local said=$SCRATCH/server.address
  : >"$said"
  pfs serve --address 127.0.0.1:0 >"$said" 2>"$SCRATCH/server.log" &
  server_pid=$!
  for _ in $(seq 300); do
    PFS_ADDRESS=$(head -n 1 "$said")
    export PFS_ADDRESS
    [[ -n $PFS_ADDRESS ]] && pfs version >/dev/null 2>&1 && return 0
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "error: the server did not start" >&2
  tail -n 20 "$SCRATCH/server.log" >&2
  return 1
}

server_stop() {
  [[ -n $server_pid ]] || return 0
  kill "$server_pid" 2>/dev/null || true
  for _ in $(seq 200); do
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
  server_pid=
}

# Mount points below a directory, the deepest first.
mounts_below() {
  awk -v under="$1/" 'index($5, under) == 1 {print $5}' /proc/self/mountinfo | sort -r
}

scratch_end() {
  local status=$? mount
  trap - EXIT INT TERM HUP
  cd / || true
  for mount in $(mounts_below "$SCRATCH/work"); do
    timeout 30 pfs umount "$mount" >/dev/null 2>&1 || umount -l "$mount" 2>/dev/null ||
      fusermount3 -uz "$mount" 2>/dev/null || true
  done
  server_stop
  for mount in $(mounts_below "$SCRATCH"); do umount -l "$mount" 2>/dev/null || true; done
  if [[ $status != 0 && -s $SCRATCH/server.log ]]; then
    echo "--- the end of the server's log" >&2
    tail -n 30 "$SCRATCH/server.log" >&2
  fi
  rm -rf --one-file-system "$SCRATCH"
  exit "$status"
}
