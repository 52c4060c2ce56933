#!/bin/bash
# What a release must pass beside the tests: no known vulnerability, only licenses that we may use, a build that everybody can repeat.
# Each check is first held against something that it has to refuse, because a check that finds nothing looks like one that passes.
# GOVULNDB names a vulnerability database other than https://vuln.go.dev, also one in a folder (file:///...).
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "gate: $*" >&2; exit 1; }

echo "== vulnerabilities"
tool() { go tool -modfile="$root/tools/go.mod" "$@"; }
database=${GOVULNDB:-https://vuln.go.dev}
govulncheck() { tool govulncheck -db "$database" "$@"; }
control() (cd test/vulnerable && govulncheck ./...)
if control >"$work/log" 2>&1 || ! grep -q GO-2021-0113 "$work/log"; then
    cat "$work/log" >&2
    fail "the known hole in test/vulnerable is not found: the database $database is out of reach, empty or without an index"
fi
govulncheck ./... || fail "the code calls something with a known hole"

echo "== licenses"
licenses() { GOROOT=$(go env GOROOT) tool go-licenses check ./cmd/insights ./client --allowed_licenses="$1"; }
if licenses ISC >"$work/log" 2>&1 || ! grep -q "Not allowed license 'MIT'" "$work/log"; then
    cat "$work/log" >&2
    fail "licenses that are not on the list are not found"
fi
licenses MIT,BSD-2-Clause,BSD-3-Clause,Apache-2.0,ISC,MPL-2.0 >"$work/log" 2>&1 || { grep -v '^W' "$work/log" >&2; fail "a dependency has a license that is not on the list"; }

echo "== licenses of the page"
page_licenses() {
    node -p 'Object.entries(require("./web/package-lock.json").packages).filter(([name, p]) => name !== "" && !p.dev && !p.link && name.startsWith("node_modules/") && !process.argv[1].split(",").includes(p.license)).map(([name, p]) => `${name} ${p.license}`).join("\n")' "$1"
}
[[ -n $(page_licenses ISC) ]] || fail "licenses that are not on the list are not found in the page"
[[ -z $(page_licenses MIT,BSD-2-Clause,BSD-3-Clause,Apache-2.0,ISC) ]] || fail "what the page is made of has a license that is not on the list"

echo "== repeatable build"
# build NAME VERSION builds the committed code in a folder of its own and prints the hash of the program.
build() {
    mkdir "$work/$1"
    git archive HEAD | tar -x -C "$work/$1"
    make --silent -C "$work/$1" build VERSION="$2" >&2
    sha256sum <"$work/$1/bin/insights"
}
first=$(build one gate)
[[ $(build other other) != "$first" ]] || fail "two versions have the same hash: it says nothing"
[[ $(build "another folder" gate) == "$first" ]] || fail "the same code makes another program in another folder"
echo "sha256 $first"
echo "== all: ok"
