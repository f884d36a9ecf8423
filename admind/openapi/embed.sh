#!/bin/sh
# Writes the contract's files beside this script as a C++ table: embed.sh OUTPUT.cpp
set -eu
here=$(dirname "$0")
out=$1
{
    printf '// Generated from admind/openapi/*.yaml.\n#include "admind/rest/api_contract.h"\n\nnamespace lumen::admind {\n\n'
    printf 'const std::vector<ContractFile>& contract_files() {\n    static const std::vector<ContractFile> all = {\n'
    for file in "$here"/*.yaml; do
        name=$(basename "$file" .yaml)
        printf '        {"%s", R"lumen_yaml(' "$name"
        cat "$file"
        printf ')lumen_yaml"},\n'
    done
    printf '    };\n    return all;\n}\n\n}  // namespace lumen::admind\n'
} >"$out.tmp"
mv "$out.tmp" "$out"
