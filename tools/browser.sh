#!/usr/bin/env bash
# Uploaded files in headless Chromium: no stored file runs a script, and each is saved under its own name.
#
# Needs Chromium (Debian: chromium) and Node 20 or newer with npm. The package is installed below target/browser.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
work=$target/browser
place=$(mktemp -d)
chmod 755 "$place"
unset DATABASE_URL
pid=

finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    wait
    rm -rf "$place"
}
trap finish EXIT

fail() {
    printf 'browser: %s\n' "$@" >&2
    exit 1
}

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || fail "there is no Chromium"
mkdir -p "$work"
cp tools/browser/* "$work"
npm install --prefix "$work" --no-audit --no-fund --silent
cargo build --locked --package gateway
cargo run --locked --quiet --package testkit --example file_samples -- "$place/samples"

log=$place/log
(cd "$place" && exec env -i PATH="$PATH" PORT=0 LOG_FORMAT=json RATE_LIMIT_ENABLED=false "$target/debug/gateway") \
    </dev/null >"$log" 2>&1 &
pid=$!
base=
for _ in {1..300}; do
    base=$(sed -n 's/.*listening on \(http[^",]*\).*/\1/p' "$log" | head -n 1)
    [ -z "$base" ] || break
    sleep 0.1
done
[ -n "$base" ] || fail "the gateway does not listen" "$(tail -n 20 "$log")"
node "$work/check.mjs" "$base" "$place/samples" "$chromium"
