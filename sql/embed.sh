#!/bin/sh
# Writes the migrations beside this script as a C++ table: embed.sh OUTPUT.cpp
set -eu
here=$(dirname "$0")
out=$1
{
    printf '// Generated from sql/*.sql.\n#include "admind/stores/migrations.h"\n\nnamespace lumen::admind {\n\n'
    printf 'const std::vector<Migration>& migrations() {\n    static const std::vector<Migration> all = {\n'
    for file in "$here"/[0-9][0-9][0-9][0-9]_*.sql; do
        name=$(basename "$file" .sql)
        printf '        {"%s", R"lumen_sql(' "$name"
        cat "$file"
        printf ')lumen_sql"},\n'
    done
    printf '    };\n    return all;\n}\n\n}  // namespace lumen::admind\n'
} >"$out.tmp"
mv "$out.tmp" "$out"
