#!/bin/sh
# Makes an empty migration: tools/new-migration.sh <domain> <verb_noun>
#
# The timestamp is its place in the one ordered list of all domains, so it has seconds.
set -eu
cd "$(dirname "$0")/.."

if [ $# -ne 2 ] || [ ! -d "crates/$1" ] || ! printf '%s' "$2" | grep -Eq '^[a-z][a-z0-9]*(_[a-z0-9]+)+$'; then
    echo "usage: tools/new-migration.sh <domain crate> <verb_noun>, for example: credits add_holds" >&2
    exit 2
fi

name=$(date -u +%Y%m%d%H%M%S)_$2
dir=migrations/$1/$name
mkdir -p "$dir"
echo "-- What changes, and why. Code of the version before must still run on the new schema: expand, then contract." >"$dir/up.sql"
echo "-- Restores the schema exactly as it was before up.sql; a test compares." >"$dir/down.sql"

echo "$dir/up.sql"
echo "$dir/down.sql"
