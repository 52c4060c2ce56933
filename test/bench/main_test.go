package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/template-insights/insights/store/minute"
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

var toy = sizes{
	Agents: 200, Streams: 20, Window: 4, WarmUp: 100 * time.Millisecond, Length: time.Second, Users: 100, Templates: 4,
	Workdays: 3, Scrapes: 3, Idle: 20, Histories: []int{1, 2}, TemplateCounts: []int{1, 10}, StreamCounts: []int{1, 10},
	Soak: 3 * time.Second,
}

// The benchmarks run, on toy sizes, and fill every row of their tables.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and needs Postgres: make test")
	}
	t.Parallel()
	for name, c := range map[string]struct {
		measure func(context.Context, *table) error
		figures int
		row     string
	}{
		"usual": {measure, 77, "| Postgres | user latency |"},
		"soak":  {soak.measureOnPostgres, 66, "| Postgres | 6 of 6: questions about one template, p99 |"},
		"large": {large.measureOnPostgres, 24, "| Postgres | 10 streams: acknowledgement, p99 |"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := &table{sizes: toy}
			if err := c.measure(t.Context(), found); err != nil {
				t.Fatal(err)
			}
			if len(found.figures) < c.figures {
				t.Errorf("%d figures", len(found.figures))
			}
			for _, f := range found.figures {
				// A toy may be too short for the clock of processes, and need no more memory than an idle server.
				if f.Value <= 0 && !strings.Contains(f.Unit, "µs") && f.Unit != "MiB" {
					t.Errorf("%s: %s is %v %s", f.Database, f.What, f.Value, f.Unit)
				}
			}
			file := filepath.Join(t.TempDir(), "figures.json")
			if err := found.write(io.Discard, file); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := errors.Join(found.read(file), found.write(&text, "")); err != nil || !strings.Contains(text.String(), c.row) {
				t.Errorf("table: %v\n%s", err, text.String())
			}
			if !slices.EqualFunc(found.before, found.figures, func(a, b figure) bool { return a == b }) {
				t.Error("the figures of the file are not those of the table")
			}
		})
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]func(context.Context, database, sizes, string) error{
		"ingest": profileIngest, "query": profileQuery,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), name+".pprof")
			if err := profile(t.Context(), database{name: "SQLite", folder: t.TempDir()}, toy, file); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{file, strings.TrimSuffix(file, ".pprof") + ".allocs.pprof"} {
				if info, err := os.Stat(f); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", f, err)
				}
			}
		})
	}
}

// A month that is repeated has the pages of its days.
func TestRepeat(t *testing.T) {
	t.Parallel()
	d := database{name: "SQLite", folder: t.TempDir()}
	err := withMonth(t.Context(), d, toy, insertAll, func(p *pages, _ *client) error {
		if err := p.repeat(t.Context(), 1, 3); err != nil {
			return err
		}
		for _, day := range p.workdays() {
			var rows [3]int
			for n := range rows {
				page, err := p.read(t.Context(), day-int32(n)*31, 0)
				if err != nil {
					return err
				}
				list, err := minute.DecodePage(day-int32(n)*31, page, nil)
				if err != nil {
					return err
				}
				rows[n] = len(list)
			}
			if rows[0] == 0 || rows[1] != rows[0] || rows[2] != rows[0] {
				t.Errorf("day %d and the months before have %v rows", day, rows)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		figure
		want string
	}{
		{figure{Value: 20, Goal: "≤ 20"}, "yes"},
		{figure{Value: 21, Goal: "≤ 20"}, "no"},
		{figure{Value: 45, Goal: "≥ 45"}, "yes"},
		{figure{Value: 2, Baseline: 200, Goal: "≥ 100 × baseline"}, "yes"},
		{figure{Value: 2, Baseline: 199, Goal: "≥ 100 × baseline"}, "no"},
		{figure{Value: 2}, ""},
	} {
		if got := c.verdict(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.figure, got, c.want)
		}
	}
}

func TestAnswersDiffer(t *testing.T) {
	t.Parallel()
	one := answer{"users": {100}, "a": {1, math.NaN()}}
	for _, c := range []struct {
		other answer
		same  bool
	}{
		{answer{"users": {100}, "a": {1, 7}}, true},
		{answer{"users": {100.4}, "a": {1, 7}}, true},
		{answer{"users": {101}, "a": {1, 7}}, false},
		{answer{"users": {100}}, false},
		{answer{"users": {100}, "a": {1, 7}, "b": nil}, false},
		{answer{"users": {100}, "a": {1}}, false},
	} {
		if difference := one.differs(c.other, 0.005); (difference == "") != c.same {
			t.Errorf("%v: %q", c.other, difference)
		}
	}
}
