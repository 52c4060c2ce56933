#!/bin/bash
# Runs the commands of a document as its reader would: scripts/docs.sh FILE. All blocks run one after the other in one shell, in
# the present folder:
#
#   ```sh                   is run and must succeed; calls of curl that are refused fail
#   ```sh fails             must fail, as the text says
#   ```sh server            runs until the next server or the end; the script goes on when it is ready
#   ```sh terminal          is run in an empty folder, with the programs that the script began with
#   ```sh newcomer          is run only if NEWCOMER is set, as scripts/newcomer.sh does: it takes minutes or needs a network
#   ```json                 is what the block before it prints; the program named by SAME_JSON, if any, compares them
#
# Anything else is for reading. It prints what the commands print, and how long each section took.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The document becomes a script.
awk -v newcomer="${NEWCOMER:-}" '
    function quoted(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
    /^## / { print "section " quoted(substr($0, 4)) }
    /^```/ {
        if (inside) {
            printf "%s", close_with
            inside = close_with = ""
            next
        }
        inside = "skipped"
        kind = " " substr($0, 4) " "
        if (kind ~ / newcomer / && newcomer == "") next
        if (kind ~ /^ sh .*server /) { open_with = "serve <<\047END OF BLOCK\047"; close_with = "END OF BLOCK\n" }
        else if (kind ~ /^ sh .*fails /) { open_with = "if {"; close_with = "} >\"$work/out\" 2>&1; then refuse; fi; show\n" }
        else if (kind ~ /^ sh .*terminal /) { open_with = "new_terminal; {"; close_with = "} >\"$work/out\"; show\n" }
        else if (kind ~ /^ sh /) { open_with = "{"; close_with = "} >\"$work/out\"; show\n" }
        else if (kind ~ /^ json /) { open_with = "same_json <<\047END OF BLOCK\047"; close_with = "END OF BLOCK\n" }
        else next
        inside = "run"
        print open_with
        next
    }
    inside == "run"
    END { if (inside) { print "a block does not end" > "/dev/stderr"; exit 1 } }
' "$1" >"$work/script"

title="" began=$SECONDS server=""

section() {
    [[ -z $title ]] || echo "== $title: $((SECONDS - began)) s"
    title=$1 began=$SECONDS
}

stop_server() {
    [[ -n $server ]] || return 0
    kill -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=""
}

programs=$PATH

new_terminal() {
    mkdir "$work/folder"
    cd "$work/folder"
    PATH=$programs
}

# serve runs what comes in, in a process group of its own.
serve() {
    stop_server
    set -m
    bash -euo pipefail -c "$(cat)" >"$work/server.log" 2>&1 &
    server=$!
    set +m
    until command curl --silent --fail --output /dev/null "http://${INSIGHTS_HTTP_ADDRESS:-127.0.0.1:8080}/readyz"; do
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.1
    done
}

# curl is loud when a call is refused, and only then.
curl() { command curl --silent --show-error --fail-with-body "$@"; }

# show prints what a block printed, and ends the line.
show() { cat "$work/out"; echo; }

same_json() { "${SAME_JSON:-true}" "$work/out"; }

refuse() { echo "docs: this succeeded and should not have" >&2; return 1; }

ended() {
    local code=$?
    if [[ $code -ne 0 ]]; then
        echo "docs: $title failed" >&2
        for file in out server.log; do [[ ! -e $work/$file ]] || tail -n 30 "$work/$file" >&2; done
    fi
    stop_server
    rm -rf "$work"
}
trap ended EXIT

set -a # what a block sets, a server sees
# shellcheck source=/dev/null
source "$work/script"
section ""
