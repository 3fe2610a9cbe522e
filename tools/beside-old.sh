#!/usr/bin/env bash
# The version before heads of accounts (ADR 0021) beside this one, on one private database, and the way back to it
# (deploy/README.md, Going back). Each answer of the old process must be right or a 5xx that changed nothing.
#
# Builds both versions, the old one once, into target/beside-old. Needs the git history, curl, jq, psql and pg_ctl. As root
# it needs runuser, too.
set -euo pipefail
cd "$(dirname "$0")/.."

added=migrations/credits/20261130100200_add_heads
revision=$(git log --first-parent -m --diff-filter=A --format=%P -1 -- $added | cut -d ' ' -f 1)
target=${CARGO_TARGET_DIR:-$PWD/target}
old=$target/beside-old/$revision new=$target/debug/gateway
place=$(mktemp -d)
repeatable=
unset DATABASE_URL
key=$(basename "$place")-beside-old-key
users=(a b c d)
declare -A pid url left tally

finish() {
    for process in "${pid[@]}"; do kill "$process" 2>/dev/null || :; done
    wait
    [ ! -e "$place/data/postgres/postmaster.pid" ] || server stop
    [ ! -d "$place/source" ] || git worktree remove --force "$place/source"
    rm -rf "$place"
}
trap finish EXIT

fail() {
    printf 'beside-old: %s\n' "$@" >&2
    exit 1
}

# serve <old|new> [NAME=value ...]: starts a gateway and waits until it listens.
serve() {
    local name=$1 log=$place/$1.log
    : >"$log"
    (cd "$place" && exec env -i PATH="$PATH" PORT=0 LOG_FORMAT=json USER_SERVICE_API_KEY="$key" "${@:2}" "${!name}") \
        </dev/null >"$log" 2>&1 &
    pid[$name]=$!
    for _ in {1..300}; do
        url[$name]=$(sed -n 's/.*listening on \(http[^",]*\).*/\1/p' "$log" | head -n 1)
        [ -z "${url[$name]}" ] || return 0
        sleep 0.1
    done
    fail "the $name gateway does not listen" "$(tail -n 20 "$log")"
}

stop() {
    kill -TERM "${pid[$1]}"
    wait "${pid[$1]}" || fail "the $1 gateway ended with an error" "$(tail -n 20 "$place/$1.log")"
    unset "pid[$1]"
}

# once <old|new> <arguments of a command>: on DATABASE_URL if there is one, else on the private server.
once() {
    local name=$1
    (cd "$place" && env -i PATH="$PATH" ${DATABASE_URL:+DATABASE_URL="$DATABASE_URL"} "${!name}" "${@:2}")
}

# ask <old|new> <method> <path below /api/v1/users/> <body> <condition>: a 200 must meet the condition of jq. Beside the new
# gateway the old one may answer with a 5xx, which fails this function. `answer` has the body.
ask() {
    local name=$1 method=$2 path=$3 status what
    answer=$(curl -sS -X "$method" "${url[$name]}/api/v1/users/$path" -H "X-API-Key: $key" ${4:+-d "$4"} \
        ${repeatable:+-H "Idempotency-Key: $repeatable"} -w '\n%{http_code}')
    status=${answer##*$'\n'} answer=${answer%$'\n'*}
    what="$stage, $name gateway: $method ${path#*/}"
    tally[$what]="${tally[$what]:-} $status"
    case $stage/$name$status in
    */???200) jq -e "$5" <<<"$answer" >/dev/null || fail "$what of ${path%%/*} is not $5" "$answer" ;;
    beside/old5??) return 1 ;;
    *) fail "$what" "$status $answer" ;;
    esac
}

# charge <old|new> <user> <amount>: fails if nothing was charged.
charge() {
    local rest=$((left[$2] - $3))
    ask "$1" POST "$2/credits/consume" "{\"amount\": $3}" ".data.balance_after == $rest" && left[$2]=$rest
}

# give <old|new> <user> <amount> <further members>: fails if nothing was given.
give() {
    local rest=$((left[$2] + $3))
    ask "$1" POST "$2/credits/grants" "{\"amount\": $3, $4}" ".data.transaction.balance_after == $rest" && left[$2]=$rest
}

# read_all <old|new> <user>: every figure must be that of this script.
read_all() {
    local rest=${left[$2]}
    ask "$1" GET "$2/credits/balance" "" ".data == $rest" || :
    ask "$1" GET "$2/credits/grants" "" "[.data[].remaining] | add == $rest" || :
    ask "$1" GET "$2/credits/account" "" ".data.balance == $rest and ([.data.grants[].remaining] | add == $rest)" || :
    ask "$1" GET "$2/credits/transactions?limit=1" "" ".data[0].balance_after == $rest" || :
}

# load <gateway ...>: 200 charges of 1 at these in turn, 8 at once. Each that is answered with 200 counts, and only these.
load() {
    local user wrong
    for turn in {1..200}; do
        name=${*:turn % $# + 1:1}
        echo "$name ${users[turn / $# % 4]} ${url[$name]}"
    done | xargs -P 8 -L 1 sh -c 'curl -sS -o /dev/null -H "X-API-Key: $0" -d "{\"amount\": 1}" -w "%{http_code} $1 $2\n" \
        "$3/api/v1/users/$2/credits/consume"' "$key" >"$place/load"
    wrong=$(grep -vE '^(200|5.. old)' "$place/load") && fail "$wrong"
    for user in "${users[@]}"; do
        left[$user]=$((left[$user] - $(grep -c "^200 .* $user$" "$place/load" || :)))
    done
    for name in "$@"; do
        tally["$stage, $name gateway: POST credits/consume, 8 at once"]=$(sed -n "s/ $name .*//p" "$place/load" | tr '\n' ' ')
    done
}

# What users see of their grants and transactions, without the time of the answer.
seen() {
    for user in "${users[@]}"; do
        for list in grants transactions holds account; do
            ask "$1" GET "$user/credits/$list" "" .success
            jq -S .data <<<"$answer"
        done
    done
}

# server <start|stop>: the private server without a gateway, as deploy/README.md says.
server() {
    local owner
    owner=$(stat -c %U "$place/data/postgres")
    [ "$1" = stop ] || install -d -o "$owner" -m 0700 "$place/socket"
    local call=("${PG_BIN_DIR:-$(pg_config --bindir)}/pg_ctl" "$1" -w -s -D "$place/data/postgres" -l "$place/socket/log"
        -o "-k $place/socket -c listen_addresses=")
    [ "$(id -un)" = "$owner" ] || call=(runuser -u "$owner" -- "${call[@]}")
    "${call[@]}"
}

[ -n "$revision" ] || fail "the history of this checkout does not have the version before $added"
if [ ! -x "$old" ]; then
    git worktree add --quiet --detach "$place/source" "$revision"
    # A folder of its own: the crates of both versions have the same names.
    (cd "$place/source" && CARGO_TARGET_DIR=$target/beside-old cargo build --locked --bin gateway)
    install "$target/beside-old/debug/gateway" "$old"
fi
CARGO_TARGET_DIR=$target cargo build --locked --bin gateway
chmod 755 "$place"

stage=before
serve old
for user in "${users[@]}"; do
    left[$user]=1000
    ask old POST ensure "{\"auth0_id\": \"$user\", \"email\": \"$user@example.com\", \"name\": \"$user\"}" ".credits == 1000"
    charge old "$user" 7
    give old "$user" 40 '"priority": 1, "expires_at": "2099-01-01"'
    charge old "$user" 3
    read_all old "$user"
done
ask old POST d/credits/holds '{"amount": 5}' .success
ask old PUT c/credits/budgets '{"budgets": [{"period": "day", "limit": 100000}]}' .success
DATABASE_URL=$(cat "$place/data/postgres.url")

stage=beside
once new migrate | sed 's/^/migrate: /'
for user in "${users[@]}"; do
    charge old "$user" 1 || :
    read_all old "$user"
done
serve new DATABASE_URL="$DATABASE_URL"
for turn in {1..5}; do
    for user in "${users[@]}"; do
        for name in new old; do
            charge $name "$user" "$turn" || :
            give $name "$user" 2 "\"priority\": $turn" || :
            # One charge, however often it is sent to whom.
            repeatable=$name-$turn
            charge $name "$user" 1 || charge new "$user" 1
            for repeated in old new; do
                ask $repeated POST "$user/credits/consume" '{"amount": 1}' ".data.balance_after == ${left[$user]}" || :
            done
            repeatable=
            read_all new "$user"
            read_all old "$user"
        done
    done
done
load old new
for user in "${users[@]}"; do
    read_all new "$user"
    read_all old "$user"
done
stop new
stop old
unset DATABASE_URL

stage=upgraded
once new ledger verify | sed 's/^/ledger verify: /'
serve new
load new
for user in "${users[@]}"; do
    charge new "$user" 1
    read_all new "$user"
done
seen new >"$place/seen"
stop new

once new ledger cool | sed 's/^/ledger cool: /'
server start
database="postgresql:///user_service?host=$place/socket&user=user_service"
for folder in $(git diff --name-only --diff-filter=A "$revision" HEAD -- 'migrations/*/down.sql' | sort -t / -k 3 -r); do
    name=$(basename "$(dirname "$folder")")
    psql -qX -v ON_ERROR_STOP=1 --single-transaction -f "$folder" \
        -c "DELETE FROM public.user_service_migrations WHERE name = '$name'" "$database"
    echo "taken back: $name"
done
server stop

stage=back
serve old
seen old | diff -u "$place/seen" - || fail "the old gateway does not show what the new one showed"
for user in "${users[@]}"; do
    read_all old "$user"
    charge old "$user" 1
    give old "$user" 5 '"priority": 9'
    read_all old "$user"
done
load old
stop old
once old ledger verify | sed 's/^/ledger verify of the old version: /'

stage="upgraded again"
once new migrate | tail -n 1 | sed 's/^/migrate again, the last: /'
serve new
for user in "${users[@]}"; do
    charge new "$user" 1
    read_all new "$user"
done
stop new
once new ledger verify | sed 's/^/ledger verify: /'

for what in "${!tally[@]}"; do
    echo "$what:$(tr ' ' '\n' <<<"${tally[$what]}" | sed '/^$/d' | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/ \1 times \2/' | paste -sd ,)"
done | sort
