# `just` lists what there is. No recipe does more than name a command.

_list:
    @just --list --unsorted

# start the service on port 8100
run *args:
    ./dev run {{ args }}

# all tests
test *args:
    ./dev test {{ args }}

# the tests of one crate whose name contains a text: just test-one credits burn
test-one crate *filter:
    cargo test --locked -p {{ crate }} {{ filter }}

# does it compile, tests and benchmarks included
check:
    cargo check --workspace --all-targets --locked

# format everything
fmt:
    cargo fmt --all

# what CI refuses
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# bring the database that the configuration names to the newest schema
migrate:
    cargo run --locked --bin gateway -- migrate

# an empty migration: just new-migration credits add_holds
new-migration domain name:
    tools/new-migration.sh {{ domain }} {{ name }}

# regenerate docs/openapi.json, docs/errors.md and docs/configuration.md
docs:
    tools/generate-docs.sh docs

# write the whole texts of the hot statements again: crates/<domain>/statements
statements:
    cargo test --locked -p flows --test flows statements::write -- --ignored

# fetch the files of /docs and /redoc again (needs npm and a network)
vendor:
    crates/web/assets/docs/vendor.sh

# write the list of common passwords again (needs npm, pip and a network)
vendor-passwords:
    crates/identity/src/passwords/common/vendor.sh

# requests a second and latencies, next to what the database alone can do
bench *args:
    cargo bench --locked -p gateway --bench load -- {{ args }}

# the same for the ledger alone, with an account of a million entries and one of a thousand live grants
bench-ledger *args:
    cargo bench --locked -p gateway --bench load -- --rounds 5 --seconds 4 --history --only 'consume|balance' {{ args }}

# usage: recording next to the floor, and what is read of 100,000 and of 10 million records
bench-usage *args:
    cargo bench --locked -p gateway --bench load -- --rounds 5 --seconds 4 --only 'usage|metered' --usage-records 100000,10000000 {{ args }}

# 200 logins at once next to /livez, and the times of logins with and without an account
bench-logins *args:
    cargo bench --locked -p gateway --bench load -- --rounds 5 --logins 1000 {{ args }}

# searches of a million messages of one user among two million: some ten minutes
# (the last messages of a session with a million: `cargo bench --locked -p gateway --bench load -- --session-messages 1000000`)
bench-search messages="1000000" *args:
    cargo bench --locked -p gateway --bench load -- --search-messages {{ messages }} {{ args }}

# 500 replies of a model at a time, 20 tokens a second each: what the gateway adds to the latency of a token, and its memory
bench-streams streams="500" *args:
    cargo bench --locked -p gateway --bench load -- --streams {{ streams }} --rounds 2 --seconds 20 {{ args }}

# fifty uploads of 50 MiB at once, next to dd: some minutes, and 6 GB of the disk
bench-files uploads="50" *args:
    cargo bench --locked -p gateway --bench load -- --rounds 3 --uploads {{ uploads }} {{ args }}

# where pooled connections should live, measured (ADR 0003)
bench-pool:
    cargo bench --locked -p pg --bench pool_designs

# attacks on a gateway next to ordinary load, on the loopback interface: half a minute
abuse *args:
    cargo bench --locked -p gateway --bench abuse -- {{ args }}

# kill -9 of the gateway, then of its database, a hundred times each under load: some ten minutes
crash kills="100":
    CRASH_KILLS={{ kills }} cargo test --locked -p gateway --test gateway process::crash -- --nocapture --test-threads=1

# kill -9 of one of two gateways while a model replies; what it left is ended after half a minute each time
crash-replies kills="100":
    CRASH_KILLS={{ kills }} cargo test --locked -p gateway --test gateway process::replies -- --nocapture

# kill -9 of a gateway while files are uploaded, ten at a time
crash-files kills="20":
    CRASH_KILLS={{ kills }} cargo test --locked -p gateway --test gateway process::files -- --nocapture

# blocks that each request touches with a million entries behind the account
million:
    cargo test --locked -p credits --test main million -- --ignored --nocapture

# the version before heads of accounts beside this one, and the way back; builds that version, so it is not part of .ci/run
beside-old:
    tools/beside-old.sh

# OpenID Connect tokens, own ones in libraries of Node and Python, testkit's chat server in OpenAI's client, storage of files and boto3 (below target/interop)
interop:
    tools/interop.sh

# uploaded files in headless Chromium (below target/browser)
browser:
    tools/browser.sh

# the tests of poolers with a real PgBouncer that keeps prepared statements, built if there is none
pgbouncer:
    tools/pgbouncer.sh

# licences, banned crates, sources (needs cargo-deny)
deny:
    cargo deny --locked check licenses bans sources

# known vulnerabilities (needs cargo-deny and a network)
advisories:
    cargo deny --locked check advisories

# what CI runs
ci:
    bash .ci/run
