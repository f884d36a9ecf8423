#!/bin/sh
# Writes a C++ file with the text of every ledger script beside this one: usage: embed.sh OUTPUT.cpp
# A script is a *.lua that starts with `#!lua`; the other *.lua are parts, which a script takes in with a line
# `-- @include name.lua`. A part must not include another: that would hide what a script does one level too deep.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUTPUT.cpp" >&2; exit 2; }
output=$1
here=$(dirname "$0")

scripts=
for file in "$here"/*.lua; do
    if [ "$(head -n 1 "$file" | cut -c 1-5)" = '#!lua' ]; then scripts="$scripts $(basename "$file" .lua)"; fi
done

# Written beside the output and renamed: a build that is interrupted here leaves no half file behind.
trap 'rm -f "$output.partial"' EXIT
awk -v here="$here" -v scripts="$scripts" '
function fail(message) { print message > "/dev/stderr"; failed = 1; exit 1 }
function put(line, file) {
    if (index(line, ")lua\"")) fail(file ": a line ends the C++ literal it would stand in")
    print line
}
function include(name, by,    path, line, status) {
    path = here "/" name
    while ((status = (getline line < path)) > 0) {
        if (line ~ /^#!/ || line ~ /^-- @include /) fail(by ": " name " is a script or includes a file itself")
        put(line, path)
    }
    if (status < 0) fail(by ": cannot read " path)
    close(path)
}
BEGIN {
    print "// Written by lumen_core/scripts/embed.sh from the *.lua there; change those instead."
    print "#include \"lumen_core/embedded_scripts.h\"\n"
    print "namespace lumen {\n"
    print "const EmbeddedScript kEmbeddedScripts[] = {"
    count = split(scripts, names, " ")
    for (i = 1; i <= count; i++) {
        path = here "/" names[i] ".lua"
        printf "    {\"%s\", R\"lua(", names[i]
        while ((status = (getline line < path)) > 0) {
            if (line ~ /^-- @include /) include(substr(line, 13), path)
            else put(line, path)
        }
        if (status < 0) fail("cannot read " path)
        close(path)
        print ")lua\"},"
    }
    print "};"
    printf "const std::size_t kEmbeddedScriptCount = %d;\n\n", count
    print "}  // namespace lumen"
}
END { if (failed) exit 1 }
' >"$output.partial"
mv "$output.partial" "$output"
