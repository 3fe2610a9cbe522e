#!/bin/sh
# The build stage of the container image, as a script so that it runs without a container engine too:
# deploy/build.sh <folder>  puts the release binary there.
#
# It needs Rust, a C compiler and crates.io, and nothing else that is not in the repository.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

cargo build --release --locked --bin gateway
install -m 755 "${CARGO_TARGET_DIR:-target}/release/gateway" "$out/gateway"
