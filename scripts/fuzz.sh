#!/bin/bash
# Fuzzes every target for FUZZTIME, one after the other, and adds up the executions. A crash leaves its input under testdata/fuzz;
# it is committed with the mend. TARGETS limits it to those that match.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
total=0
targets=0
failed=()
while read -r package; do
    folder=./${package#"$(go list -m)/"}
    for target in $(cd "$folder" && cat ./*_test.go | sed -n 's/^func \(Fuzz[A-Za-z]*\)(f \*testing\.F).*/\1/p' | sort | grep -E -- "${TARGETS:-.}" || true); do
        targets=$((targets + 1))
        result=ok
        if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 100x "$folder" >"$log" 2>&1; then
            result=FAILED
            failed+=("$target")
            cat "$log"
        fi
        executions=$(sed -n 's/.* execs: \([0-9]*\) .*/\1/p' "$log" | tail -1)
        total=$((total + ${executions:-0}))
        printf '%-28s %-18s %12d executions  %s\n' "$folder" "$target" "${executions:-0}" "$result"
    done
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
echo "$targets targets, $total executions, ${#failed[@]} failed ${failed[*]:-}"
[[ $targets -gt 0 && ${#failed[@]} -eq 0 ]]
