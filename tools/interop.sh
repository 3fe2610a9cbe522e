#!/usr/bin/env bash
# The service beside other people's software: it accepts the tokens of an OpenID Connect issuer (npm: oauth2-mock-server), and its
# own tokens are accepted by JWT libraries of Node (jose) and Python (PyJWT), also after a rotation of its keys. The chat server of
# testkit is read by OpenAI's client for Python, and the storage of files and testkit's S3 server by boto3.
#
# Needs curl, jq, Node 20.19 or newer with npm, and Python 3 with venv. The packages are installed below target/interop. Builds the
# gateway and those servers.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
work=$target/interop
place=$(mktemp -d)
unset DATABASE_URL
pids=()

finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || :; done
    wait
    rm -rf "$place"
}
trap finish EXIT

fail() {
    printf 'interop: %s\n' "$@" >&2
    exit 1
}

mkdir -p "$work"
cp tools/interop/* "$work"
npm install --prefix "$work" --no-audit --no-fund --silent
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --requirement "$work/requirements.txt"
cargo build --locked --package gateway
cargo build --locked --package testkit --features s3 --example chat_server --example s3_server
cargo build --locked --package files --example objects

"$work/venv/bin/python" "$work/chat.py" "$target/debug/examples/chat_server"
echo "interop: the chat server of testkit speaks the protocol of OpenAI's client"

"$work/venv/bin/python" "$work/s3.py" "$target/debug/examples/s3_server" "$target/debug/examples/objects"
echo "interop: boto3 reads and writes what the storage of files does, and its links; testkit's S3 server is one for boto3"

# The issuer.
coproc ISSUER { exec node "$work/issuer.mjs"; }
pids+=("$ISSUER_PID")
read -r issuer <&"${ISSUER[0]}"

# The gateway, with a private database.
log=$place/log
(cd "$place" && exec env -i PATH="$PATH" PORT=0 LOG_FORMAT=json OIDC_ISSUERS="corp=$issuer|my-api" "$target/debug/gateway") \
    </dev/null >"$log" 2>&1 &
pids+=($!)
base=
for _ in {1..300}; do
    base=$(sed -n 's/.*listening on \(http[^",]*\).*/\1/p' "$log" | head -n 1)
    [ -z "$base" ] || break
    sleep 0.1
done
[ -n "$base" ] || fail "the gateway does not listen" "$(tail -n 20 "$log")"

# token <alg> <claims>: a token of the issuer.
token() {
    jq -nc --arg alg "$1" --arg iss "$issuer" "{alg: \$alg, iss: \$iss, aud: \"my-api\"} + $2" >&"${ISSUER[1]}"
    local token
    read -r token <&"${ISSUER[0]}"
    printf '%s' "$token"
}

# ask <status> <curl arguments>: the body of an answer with this status.
ask() {
    local status body=$place/body
    status=$(curl -s -o "$body" -w '%{http_code}' "${@:2}")
    [ "$status" = "$1" ] || fail "$status instead of $1 from ${*:2}" "$(cat "$body")"
    cat "$body"
}

post() { ask "$1" -X POST "$base$2" -d "$3" "${@:4}"; }

for alg in RS256 ES256; do
    bearer="Authorization: Bearer $(token "$alg" '{sub: "00u1", email: "a@example.com", email_verified: true}')"
    user=$(post 200 /api/v1/users/ensure '{"email": "a@example.com", "name": "A"}' -H "$bearer" | jq -r .auth0_id)
    [ "$user" = "corp|00u1" ] || fail "the user of the issuer is $user"
    ask 200 "$base/api/v1/users/$user/credits/balance" -H "$bearer" >"$place/balance"
done
for claims in '{sub: "00u1", aud: "other"}' '{sub: "00u1", exp: 1}' '{sub: "00u1", iss: "http://localhost:1"}' '{sub: ""}'; do
    ask 401 "$base/api/v1/users/me" -H "Authorization: Bearer $(token RS256 "$claims")" >"$place/refused"
done
echo "interop: tokens of an OpenID Connect issuer are accepted, wrong ones are not"

post 200 /api/auth/register '{"email": "own@example.com", "password": "correct horse battery staple"}' >"$place/registered"
login() {
    post 200 /api/auth/email-login '{"email": "own@example.com", "password": "correct horse battery staple"}' | jq -r .access_token
}
check() {
    local own=$1 sub
    for verified in "$(node "$work/verify.mjs" "$base" "$own")" "$("$work/venv/bin/python" "$work/verify.py" "$base" "$own")"; do
        sub=$(jq -Rr 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson | .sub' <<<"$own")
        [ "$verified" = "$sub" ] && [[ "$sub" == email\|* ]] || fail "$verified was verified instead of $sub"
    done
}
before=$(login)
check "$before"
(cd "$place" && env -i PATH="$PATH" "$target/debug/gateway" keys rotate --now)
after=$(login)
[ "$(cut -d . -f 1 <<<"$before")" != "$(cut -d . -f 1 <<<"$after")" ] || fail "the key is the same after the rotation"
check "$before"
check "$after"
echo "interop: tokens of this service are accepted by jose and PyJWT, before and after a rotation"
