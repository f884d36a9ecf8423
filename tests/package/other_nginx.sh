#!/usr/bin/env bash
# other_nginx.sh SOURCE [FILE...]: builds nginx and the gate from nginx's sources, the way docs/install.md says, and runs
# these files of tests/module on them (main_job … unless some are named; `gate`: all that have to do with it), and HTTP/3
# where that nginx has it. $LUMEN_NGINX_OPTIONS are further options of its configure. SOURCE is one of
#   a directory       an nginx source tree, OpenResty's included
#   debian:SUITE      the source package of a Debian suite, e.g. debian:trixie
#   crate:nginx-src   nginx's stable sources, as crates.io has them
# What was built stays in $LUMEN_BUILD_DIR/nginx/VERSION.
set -euo pipefail
export LC_ALL=C.UTF-8
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
source=${1:?other_nginx.sh SOURCE [FILE...]}
shift
export LUMEN_BUILD_DIR=${LUMEN_BUILD_DIR:-$top/build/release}
builds=$LUMEN_BUILD_DIR/nginx
# Together they reach every hook of the gate into nginx.
if [ $# -eq 0 ]; then set -- main_job metering failover refusals freshness settle_ring live; fi
if [ "$*" = gate ]; then
    # The rest is about admind, about ./lumen, or about a second gate that is built for the packaged nginx only.
    others='^(docs|doctor|hour|import_ncsa|looking|lumen_command|model_server|notices|postgres_failover|probes|secrets|secret_rotation|sign_in|upgrade_versions)$'
    mapfile -t files < <(cd "$top/tests/module" && printf '%s\n' *.test.mjs | sed 's/\.test\.mjs$//' | grep -Ev "$others")
    set -- "${files[@]}"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CCACHE_NOHASHDIR=1  # what knows no nginx is compiled once for all versions

# The newest upstream tarball of a suite, with lists of its own: the machine's stay as they are.
from_debian() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/tree"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $1 main" >"$work/sources.list"
    local options=(-qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
    apt-get "${options[@]}" update
    (cd "$work" && apt-get "${options[@]}" source --download-only --tar-only nginx)
    tar -xf "$work"/nginx_*.orig.tar.* -C "$work/tree" --strip-components=1
}

from_crate() {
    mkdir "$work/crate"
    (cd "$work/crate" && cargo init -q --name sources && cargo add -q "$1" && cargo vendor -q "$work/vendor")
    cp -r "$work/vendor/$1/nginx" "$work/tree"
}

case "$source" in
    debian:*) from_debian "${source#debian:}" ;;
    crate:*) from_crate "${source#crate:}" ;;
    *) cp -r "$source" "$work/tree" ;;
esac
version=$(sed -n 's/^#define NGINX_VERSION *"\([^"]*\)".*/\1/p' "$work/tree/src/core/nginx.h")
[ -n "$version" ] || { echo "$source holds no nginx sources" >&2; exit 1; }
if grep -q '"openresty/' "$work/tree/src/core/nginx.h"; then version=openresty-$version; fi
built=$builds/$version
mkdir -p "$built"

# A checkout of nginx's own repository has configure in auto/.
configure=./configure
[ -e "$work/tree/configure" ] || configure=auto/configure
modules=(--with-http_ssl_module --with-http_v2_module --with-http_realip_module --with-http_auth_request_module --with-http_gzip_static_module)
read -ra options <<<"${LUMEN_NGINX_OPTIONS-}"
if grep -q with-http_v3_module "$work/tree/auto/options"; then modules+=(--with-http_v3_module); fi
(cd "$work/tree" &&
    "$configure" --with-compat --with-cc="$(command -v ccache >/dev/null && echo 'ccache ')cc" --with-cc-opt='-O1 -g0' \
        "${modules[@]}" "${options[@]}" --add-dynamic-module="$top" &&
    make -j"$(nproc)" -f objs/Makefile binary modules) >"$built/build.log" 2>&1 || {
    tail -n 40 "$built/build.log" >&2
    exit 1
}
rm -f "$built/nginx" "$built/ngx_http_lumen_module.so"
cp "$work/tree/objs/nginx" "$work/tree/objs/ngx_http_lumen_module.so" "$built/"
echo "nginx $version: built in $built"

export LUMEN_NGINX=$built/nginx LUMEN_GATE=$built/ngx_http_lumen_module.so
failed=()
run() { # NAME FILE
    local log=$built/$1.log
    if node --test --test-reporter=spec "$2" >"$log" 2>&1; then
        echo "nginx $version: $1: $(sed -n 's/^ℹ pass //p' "$log") passed"
    else
        grep -E '^ *(✖|ℹ (pass|fail))' "$log" >&2 || tail -n 40 "$log" >&2
        echo "nginx $version: $1 failed; $log" >&2
        failed+=("$1")
    fi
}
for file in "$@"; do run "$file" "$top/tests/module/$file.test.mjs"; done
if "$built/nginx" -V 2>&1 | grep -q with-http_v3_module; then run http3 "$top/tests/package/http3.mjs"; fi
[ ${#failed[@]} -eq 0 ] || { echo "nginx $version: failed: ${failed[*]}" >&2; exit 1; }
