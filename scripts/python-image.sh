#!/usr/bin/env bash
# Makes an image of this machine's Python, the packages that a requirements file
# names and the programs of some examples, with no container tool and no
# registry: an OCI layout in a tar, for `ctr images import` or `podman load`.
# Prints where it is. Made once, until something in it changes.
#
# usage: scripts/python-image.sh NAME REQUIREMENTS EXAMPLE…
#
#   scripts/python-image.sh docker.io/library/pfs-examples:dev \
#     examples/serving/requirements.txt examples/iris examples/serving
#
# EXAMPLE/code is /app/EXAMPLE in it, the packages are in /packages; Python looks
# in all of them. There is no shell. Programs run as user 65532.
set -euo pipefail
usage='usage: python-image.sh NAME REQUIREMENTS EXAMPLE…'
name=${1:?$usage} requirements=${2:?$usage}
: "${3:?$usage}"
shift 2
checkout=$(cd "$(dirname "$0")/.." && pwd)
out=$checkout/target/images/$(tr -c 'a-zA-Z0-9.\n' - <<<"${name##*/}").tar
venv=$("$checkout/scripts/venv.sh" "$requirements")
mkdir -p "${out%/*}"

key=$({
  echo "$name $venv"
  cat "$0" "$checkout/scripts/oci.py"
  for example in "$@"; do find "$example/code" -name '*.py' -print0 | sort -z | xargs -0 sha256sum; done
} | sha256sum)
if [[ -e $out && $(cat "$out.key" 2>/dev/null) == "$key" ]]; then
  echo "$out"
  exit 0
fi

root=$(mktemp -d "${TMPDIR:-/tmp}/pfs-image.XXXXXX")
trap 'rm -rf "$root"' EXIT
mapfile -t python < <("$venv/bin/python3" -c '
import os, sys, sysconfig
print(os.path.realpath(sys.executable))
print(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
print(sysconfig.get_path("purelib"))
print(f"python{sys.version_info.major}.{sys.version_info.minor}")')
interpreter=${python[0]} library=${python[1]} packages=${python[2]} version=${python[3]}

# What no program of an image imports: tests, windows, installers, headers.
lean=(--exclude='__pycache__' --exclude='*.pyc' --exclude='*.a' --exclude='*.pyx' --exclude='*.pxd')
lean+=(--exclude='tests' --exclude='test' --exclude='include')

mkdir -p "$root/bin" "$root/usr/bin" "$root/usr/lib/$version" "$root/packages" "$root/app" "$root/etc/ssl/certs" "$root/mnt"
install -d -m 1777 "$root/tmp"
cp "$interpreter" "$root/usr/bin/$version"
# It looks for its library from where the program is that a link leads to.
ln -s "/usr/bin/$version" "$root/bin/python3"
ln -s "$version" "$root/usr/bin/python3"
tar -C "$library" "${lean[@]}" --exclude=./site-packages --exclude=./dist-packages --exclude=./ensurepip \
  --exclude=./idlelib --exclude=./tkinter --exclude=./turtledemo --exclude=./lib2to3 \
  --exclude='./config-*' --exclude='./lib-dynload/_t*kinter*' -cf - . | tar -C "$root/usr/lib/$version" -xf -
tar -C "$packages" "${lean[@]}" --exclude='./pip' --exclude='./pip-*' -cf - . | tar -C "$root/packages" -xf -
places=('"/packages"')
for example in "$@"; do
  into=app/$(basename "$example")
  mkdir "$root/$into"
  tar -C "$example/code" --exclude='__pycache__' -cf - . | tar -C "$root/$into" -xf -
  places+=("\"/$into\"")
done
# Every Python runs this when it starts, whatever its distribution calls the
# directory of packages.
rm -f "$root/usr/lib/$version/sitecustomize.py"
cat >"$root/usr/lib/$version/sitecustomize.py" <<PY
import site
import sys

for place in $(IFS=,; echo "${places[*]}"):
    site.addsitedir(place)
sys.dont_write_bytecode = True
for stream in sys.stdout, sys.stderr:
    if stream is not None:
        stream.reconfigure(line_buffering=True)
PY

# The shared libraries of all that, and the loader where programs look for it.
# Those that a package brings along are found beside it.
find "$root" -name '*.so' -o -name '*.so.*' -o -path "$root/usr/bin/$version" |
  xargs ldd 2>/dev/null | sed -nE 's/^\s+(.* => )?(\/[^ ]+) \(0x[0-9a-f]+\)$/\2/p' | sort -u |
  while read -r file; do
    if [[ $file == "$root"/* ]]; then continue; fi
    case ${file##*/} in
      ld-linux*) install -D -m 755 "$file" "$root$file" ;;
      *) install -D -m 644 "$file" "$root/usr/lib/$(uname -m)-linux-gnu/${file##*/}" ;;
    esac
  done
# Not those of packages: what was patched to find its neighbours breaks.
find "$root/usr" -type f \( -name '*.so*' -o -name "$version" \) -exec strip --strip-unneeded {} + 2>/dev/null || true

install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
printf '%s\n' 'root:x:0:0::/:/bin/false' 'app:x:65532:65532::/tmp:/bin/false' >"$root/etc/passwd"
# All files of a layer get the same time, so compiled ones may not ask for it.
"$venv/bin/python3" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" -p / "$root" >/dev/null || true

"$checkout/scripts/oci.py" "$out.new" "$name" "$root" --user 65532:65532 -- /bin/python3
mv "$out.new" "$out"
echo "$key" >"$out.key"
echo "$out"
