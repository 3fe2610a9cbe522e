#!/bin/sh
# Writes the documents that follow from the code into a folder: tools/generate-docs.sh <folder>
# GATEWAY names a binary that is there already; otherwise one is built.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

gateway() {
    if [ -n "${GATEWAY:-}" ]; then "$GATEWAY" "$@"; else cargo run --quiet --locked --bin gateway -- "$@"; fi
}

# Each is complete or absent: a failing command must not leave half a document behind.
write() {
    file=$out/$1
    shift
    gateway "$@" >"$file.new"
    mv "$file.new" "$file"
}

write openapi.json openapi
write errors.md docs errors
write events.md docs events
write configuration.md docs configuration
