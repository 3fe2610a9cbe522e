#!/bin/sh
# The list of common passwords: fetches the two packages below and writes passwords.txt and NOTICE again (needs npm, pip and
# python3). A new version: change the numbers, run it, read the diff.
set -eu
LC_ALL=C # one order of lines everywhere
export LC_ALL
cd "$(dirname "$0")"

django=django==5.2.8                           # BSD-3-Clause
zxcvbn=@zxcvbn-ts/language-common@4.1.3        # MIT

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$django"
(cd "$work" && npm pack --silent "$zxcvbn" > /dev/null && tar -xzf ./*.tgz)

python3 - "$work" > passwords.txt << 'PYTHON'
import glob, gzip, json, sys, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(work + "/*.whl")[0])
# All of it: the 20,000 most common ones, in lower case.
django = gzip.decompress(wheel.read("django/contrib/auth/common-passwords.txt.gz")).decode().split("\n")
zxcvbn = json.load(open(work + "/package/src/passwords.json", encoding="utf-8"))[:10_000]
words = {word.strip().lower() for word in django + zxcvbn}
for word in sorted((word for word in words if len(word) >= 8), key=str.encode):
    sys.stdout.buffer.write(word.encode() + b"\n")
PYTHON

{
    printf 'passwords.txt has the entries of 8 or more characters, in lower case, of two lists:\n\n'
    printf '1. django/contrib/auth/common-passwords.txt.gz of %s (PyPI), all of it; licence:\n\n' "$django"
    unzip -p "$work"/*.whl '*/licenses/LICENSE'
    printf '\n2. the first 10,000 of src/passwords.json of %s (npm); licence:\n\n' "$zxcvbn"
    cat "$work/package/LICENSE.txt"
} > NOTICE
