#!/bin/sh
# embed.sh DIRECTORY: the scripts and migrations of a version after this one, as C++ in DIRECTORY: every script has another
# text, and so another hash, and there is a migration more, 9999_next.sql.
set -eu
here=$(dirname "$0")
top=$here/../../..
out=$1
rm -rf "$out/scripts" "$out/sql"
mkdir -p "$out/scripts" "$out/sql"
cp "$top"/lumen_core/scripts/* "$out/scripts/"
for script in "$out"/scripts/*.lua; do
    if [ "$(head -n 1 "$script" | cut -c 1-5)" = '#!lua' ]; then echo '-- of the next version' >>"$script"; fi
done
cp "$top"/sql/* "$here/9999_next.sql" "$out/sql/"
sh "$out/scripts/embed.sh" "$out/next_scripts.cpp"
sh "$out/sql/embed.sh" "$out/next_migrations.cpp"
