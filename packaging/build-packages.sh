#!/usr/bin/env bash
# build-packages.sh DIRECTORY: Debian packages of the gate and of admind, for this machine's nginx, in DIRECTORY.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
out=$(mkdir -p "${1:?build-packages.sh DIRECTORY}" && cd "$1" && pwd -P)
export LUMEN_BUILD_DIR=${LUMEN_BUILD_DIR:-$top/build/release}

"$top/packaging/install-packages.sh" "$top"/packaging/apt-{build,package}.txt
"$top/lumen" build lumen-admind ngx_http_lumen_module pages

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/lumen"
cp -r "$top/packaging/debian" "$work/lumen/debian"
ln -s "$top" "$work/lumen/tree"
log=$out/packages.log
(cd "$work/lumen" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    exit 1
}
mv "$work"/*.deb "$work"/*.buildinfo "$work"/*.changes "$out/"
ls "$out"/*.deb
