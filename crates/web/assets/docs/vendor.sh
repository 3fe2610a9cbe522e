#!/bin/sh
# The third-party files of the documentation pages: where they come from, and that they are what they should be.
#
#   vendor.sh          fetches the two packages below from the npm registry and rewrites the files (needs npm)
#   vendor.sh check    compares the files with CHECKSUMS; needs no network
#
# A new version: change the numbers, run it, read the diff of CHECKSUMS and NOTICE, look at both pages in a browser.
set -eu
LC_ALL=C # one order of names everywhere
export LC_ALL
cd "$(dirname "$0")"

swagger_ui=swagger-ui-dist@5.35.0 # Apache-2.0
redoc=redoc@2.5.4                 # MIT

# CHECKSUMS is of the content, not of the compressed files: another gzip may compress differently.
checksums() {
    for file in *.gz; do
        printf '%s  %s\n' "$(gzip -dc "$file" | sha256sum | cut -d ' ' -f 1)" "${file%.gz}"
    done
    sha256sum favicon.png licenses/*
}

if [ "${1:-}" = check ]; then
    checksums | diff -u CHECKSUMS -
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in "$swagger_ui" "$redoc"; do
    archive=$(cd "$work" && npm pack --silent "$package")
    mkdir "$work/${package%@*}"
    tar -xzf "$work/$archive" -C "$work/${package%@*}" --strip-components=1
done
swagger_dir=$work/swagger-ui-dist
redoc_dir=$work/redoc

# One logo would be fetched from a foreign server whenever the page is opened. What replaces it is an empty image.
logo='https://cdn.redoc.ly/redoc/logo-mini.svg'
empty='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='
bundle=$redoc_dir/bundles/redoc.standalone.js
[ "$(grep -o "\"$logo\"" "$bundle" | wc -l)" -eq 1 ] || {
    echo "vendor.sh: the logo is not where it was; look before going on" >&2
    exit 1
}
# Source maps are not shipped, so the hints to them go too.
sed -e "s|\"$logo\"|\"$empty\"|" -e '/^\/\/# sourceMappingURL=/d' "$bundle" >"$work/redoc.standalone.js"
sed -e '/^\/\*# sourceMappingURL=.*\*\/$/d' "$swagger_dir/swagger-ui.css" >"$work/swagger-ui.css"

pack() { gzip -9nc "$1" >"$2.gz"; }
pack "$work/swagger-ui.css" swagger-ui.css
pack "$swagger_dir/swagger-ui-bundle.js" swagger-ui-bundle.js
pack "$work/redoc.standalone.js" redoc.standalone.js
cp "$swagger_dir/favicon-32x32.png" favicon.png

mkdir -p licenses
cp "$swagger_dir/LICENSE" licenses/swagger-ui.LICENSE
cp "$swagger_dir/NOTICE" licenses/swagger-ui.NOTICE
cp "$swagger_dir/swagger-ui-bundle.js.LICENSE.txt" licenses/swagger-ui-bundle.LICENSE
cp "$redoc_dir/LICENSE" licenses/redoc.LICENSE
cp "$redoc_dir/bundles/redoc.standalone.js.LICENSE.txt" licenses/redoc.standalone.LICENSE
chmod 644 favicon.png licenses/*

cat >NOTICE <<TEXT
The documentation pages contain these works of others, unchanged but for what vendor.sh says:

Swagger UI ($swagger_ui), Apache License 2.0
    swagger-ui.css, swagger-ui-bundle.js, favicon.png
    licenses/swagger-ui.LICENSE, licenses/swagger-ui.NOTICE; what the bundle contains: licenses/swagger-ui-bundle.LICENSE

Redoc ($redoc), MIT License, without its own logo
    redoc.standalone.js
    licenses/redoc.LICENSE; what the bundle contains: licenses/redoc.standalone.LICENSE
TEXT
checksums >CHECKSUMS
