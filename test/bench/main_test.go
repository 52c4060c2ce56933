package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) {
	if database := os.Getenv(databaseVariable); database != "" {
		if err := serve(database); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(storetest.Main(m))
}

// The benchmark runs, on toy sizes, and fills every row of its table.
func TestBench(t *testing.T) {
	t.Parallel()
	found, err := measure(t.Context(), sizes{
		Agents: 200, Streams: 20, Window: 4, WarmUp: 100 * time.Millisecond, Length: 500 * time.Millisecond, Users: 100, Templates: 4, Workdays: 3, Scrapes: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.figures) < 30 {
		t.Errorf("%d figures", len(found.figures))
	}
	for _, f := range found.figures {
		// A toy may be too short for the clock of processes, and need no more memory than an idle server.
		if f.Value <= 0 && !strings.Contains(f.Unit, "µs") && f.Unit != "MiB" {
			t.Errorf("%s: %s is %v %s", f.Database, f.What, f.Value, f.Unit)
		}
	}
	var table strings.Builder
	if err := found.write(&table, ""); err != nil || !strings.Contains(table.String(), "| Postgres |") {
		t.Errorf("table: %v\n%s", err, table.String())
	}
}
