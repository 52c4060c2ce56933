package wiretest

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// readStrictly prints the families of an OpenMetrics text with their types, or why it is none.
const readStrictly = `
import io, json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="").read()
print(json.dumps({f.name: f.type for f in text_string_to_metric_families(text)}))
`

// ParseStrictly reads an OpenMetrics text with the parser of Prometheus's client for Python, which is strict about names, and
// returns the types by family. A test must not need it with -short.
func ParseStrictly(t testing.TB, text string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var python string
	for _, path := range []string{"python3", "/usr/bin/python3"} { // Debian's packages are those of the latter
		if exec.CommandContext(ctx, path, "-c", "import prometheus_client").Run() == nil {
			python = path
			break
		}
	}
	if python == "" {
		t.Fatal("Python has no prometheus_client: on Debian, apt-get install python3-prometheus-client")
	}
	read := exec.CommandContext(ctx, python, "-c", readStrictly)
	read.Stdin = strings.NewReader(text)
	read.WaitDelay = 10 * time.Second
	var problem strings.Builder
	read.Stderr = &problem
	out, err := read.Output()
	if err != nil {
		t.Fatalf("a strict parser refuses OpenMetrics: %v\n%s", err, problem.String())
	}
	var types map[string]string
	if err := json.Unmarshal(out, &types); err != nil {
		t.Fatal(err)
	}
	return types
}
