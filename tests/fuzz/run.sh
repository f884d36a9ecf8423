#!/bin/sh
# Runs the fuzz targets that `./lumen build sanitized` made, each for SECONDS on top of its committed corpus.
# usage: run.sh SECONDS [TARGET...]     a target is the name of a file here without _fuzz.cpp: sse, usage, …
# Exit 0 if nothing was found. What was found stays in found/TARGET beside the programs.
set -eu

seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${LUMEN_BUILD_DIR:-$root/build/release}/sanitized/tests/fuzz

if [ $# -eq 0 ]; then
    for source in "$here"/*_fuzz.cpp; do
        set -- "$@" "$(basename "$source" _fuzz.cpp)"
    done
fi

failed=0
for target in "$@"; do
    found=$build/found/$target
    corpus=$build/corpus/$target
    mkdir -p "$found" "$corpus"
    seeds=$here/corpus/$target
    case $target in
    sse) data=$root/tests/data/sse ;;
    *) data=$seeds ;;
    esac
    log=$build/$target.log
    if "$build/${target}_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=30 -rss_limit_mb=2048 \
        -artifact_prefix="$found/" "$corpus" "$seeds" "$data" >"$log" 2>&1; then
        echo "ok      $target: $(grep -E '^Done ' "$log" || echo 'no run')"
    else
        failed=$((failed + 1))
        echo "FAILED  $target, see $log and $found" >&2
        tail -n 40 "$log" >&2
    fi
done
exit $((failed > 0))
