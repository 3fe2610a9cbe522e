#!/usr/bin/env bash
# Runs the tests of poolers with a real PgBouncer that keeps prepared statements (1.21 or newer): the one that PGBOUNCER
# names, else the one of the system if it is new enough, else one built from Debian's source package into target/pgbouncer
# (needs apt-get, a C compiler and a network; as root it installs the libraries that are missing).
set -euo pipefail
cd "$(dirname "$0")/.."

is_new() {
    local version major minor
    version=$("$1" --version 2>/dev/null | sed -n 's/^PgBouncer \([0-9.]*\).*/\1/p')
    [ -n "$version" ] || return 1
    IFS=. read -r major minor _ <<<"$version"
    [ "$major" -gt 1 ] || [ "$minor" -ge 21 ]
}

build() {
    local place=$1 uris key
    uris=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
    key=$(sed -n 's/^Signed-By: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
    [ -n "$uris" ] || {
        echo "pgbouncer.sh: set PGBOUNCER to a PgBouncer 1.21 or newer; it is built from source on Debian only" >&2
        exit 1
    }
    [ "$(id -u)" -ne 0 ] || apt-get install -y --no-install-recommends \
        dpkg-dev gcc libc6-dev make pkg-config libevent-dev libssl-dev </dev/null >&2
    rm -rf "$place"
    mkdir -p "$place"/{sources,lists/partial,cache/archives/partial}
    # A source of its own for the one call: the machine's lists of packages stay as they are.
    printf 'Types: deb-src\nURIs: %s\nSuites: stable\nComponents: main\nSigned-By: %s\n' "$uris" "$key" \
        >"$place/sources/stable.sources"
    local apt=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$place/sources"
        -o "Dir::State::Lists=$place/lists" -o "Dir::Cache=$place/cache")
    "${apt[@]}" update >&2
    (cd "$place" && "${apt[@]}" source --download-only pgbouncer >&2)
    dpkg-source --no-check -x "$place"/pgbouncer_*.dsc "$place/source" >&2
    (cd "$place/source" && ./configure --without-cares --without-pam --without-systemd >&2 && make >&2)
}

found=${PGBOUNCER:-$(command -v pgbouncer || echo /usr/sbin/pgbouncer)}
if ! is_new "$found"; then
    [ -z "${PGBOUNCER:-}" ] || {
        echo "pgbouncer.sh: $PGBOUNCER is not a PgBouncer 1.21 or newer" >&2
        exit 1
    }
    found=$PWD/target/pgbouncer/source/pgbouncer
    is_new "$found" || build "$PWD/target/pgbouncer"
fi
"$found" --version | head -n 1
export PGBOUNCER=$found
cargo test --locked -p pg --test main poolers:: -- --include-ignored
cargo test --locked -p gateway --test gateway process::poolers:: -- --include-ignored
