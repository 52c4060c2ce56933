package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// scanText scans a package of one file.
func scanText(t *testing.T, text string, static ...string) (map[string]*dto.MetricFamily, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "metrics.go"), []byte("package server\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := map[string]*dto.MetricFamily{}
	for _, name := range static {
		kept[name] = &dto.MetricFamily{}
	}
	return scan(dir, kept)
}

func TestScan(t *testing.T) {
	t.Parallel()
	found, err := scanText(t, `
import "github.com/prometheus/client_golang/prometheus"

const prefix = "our_"
var base = []string{"b", "a", "c"}
var two = base[:2]
var one = &Family{Name: prefix + "one", Help: "One" + ".", Kind: "gauge", Labels: append(slices.Clone(two), prefix+"d")}
var list = []*Family{
	{Name: "two", Help: "Two.", Kind: "histogram", Labels: append([]string{"z"}, base...)},
	{Name: "three", Help: "Three.", Kind: "counter"},
}

func f() {
	factory.NewCounterVec(prometheus.CounterOpts{Name: "four_total", Help: "Four."}, []string{"code"})
	prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "five", Help: "Five."}, nil)
	promauto.With(r).NewSummary(prometheus.SummaryOpts{Name: "six", Help: "Six."})
	for _, name := range names {
		//metricsdocgen:skip they are chosen elsewhere
		g(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "Skipped."}))
	}
	prometheus.NewDesc("seven", "Seven.", nil, nil)
	_ = Family{Name: "eight", Help: "Eight.", Kind: "gauge", Labels: other()}
}
`, "seven", "eight")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*dto.MetricFamily{
		"our_one":    emptyFamily("our_one", "One.", dto.MetricType_GAUGE, []string{"a", "b", "our_d"}),
		"two":        emptyFamily("two", "Two.", dto.MetricType_HISTOGRAM, []string{"a", "b", "c", "z"}),
		"three":      emptyFamily("three", "Three.", dto.MetricType_COUNTER, nil),
		"four_total": emptyFamily("four_total", "Four.", dto.MetricType_COUNTER, []string{"code"}),
		"five":       emptyFamily("five", "Five.", dto.MetricType_GAUGE, nil),
		"six":        emptyFamily("six", "Six.", dto.MetricType_SUMMARY, nil),
	}
	if diff := cmp.Diff(want, found, protocmp.Transform()); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// A family is made of what other packages of the tree define.
func TestScanTree(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "server")
	for name, text := range map[string]string{
		"server.go": "package server",
		"rooms/a/a.go": `package a; import "x.example/y/server/rooms/b"; ` +
			`var f = &b.Family{Name: b.Name, Help: "Help.", Kind: b.Gauge, Labels: b.Labels[:1]}`,
		"rooms/b/b.go":       `package b; type Kind string; const ( Name = "n"; Gauge Kind = "gauge" ); var Labels = []string{"c", "d"}`,
		"rooms/b/b_test.go":  `package b; var f = Family{Name: "of a test"}`,
		"testdata/broken.go": "package",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := scan(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*dto.MetricFamily{"n": emptyFamily("n", "Help.", dto.MetricType_GAUGE, []string{"c"})}
	if diff := cmp.Diff(want, found, protocmp.Transform()); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestScanErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, err string }{
		"name": {
			`func f(name string) { _ = Family{Name: name, Help: "H.", Kind: "gauge"} }`,
			"metrics.go:2:27: the name of a family cannot be read",
		},
		"shadowed name": {
			"const name = \"n\"\nfunc f(name string) { _ = Family{Name: name, help: \"H.\", kind: \"gauge\"} }",
			"name of a family cannot be read",
		},
		"no field names": {`var f = Family{"n", "H.", "gauge"}`, "name of a family cannot be read"},
		"help":           {`func f(help string) { _ = Family{Name: "n", Help: help, Kind: "gauge"} }`, "help, type or labels of family n"},
		"no help":        {`var f = Family{Name: "n", Kind: "gauge"}`, "help, type or labels of family n"},
		"type":           {`var f = Family{Name: "n", Help: "H.", Kind: "meter"}`, "help, type or labels of family n"},
		"labels": {
			`func f(labels []string) { _ = Family{Name: "n", Help: "H.", Kind: "gauge", Labels: labels} }`,
			"help, type or labels of family n",
		},
		"part of a list": {
			`var l = []string{"a"}; var f = Family{Name: "n", Help: "H.", Kind: "gauge", Labels: l[:2]}`,
			"help, type or labels of family n",
		},
		"description": {`var d = prometheus.NewDesc("n", "H.", nil, nil)`, "help, type or labels of family n"},
		"twice": {
			`var f, g = Family{Name: "n", Help: "H.", Kind: "gauge"}, Family{Name: "n", Help: "H.", Kind: "gauge"}`,
			"family n is defined twice",
		},
		"prefix":          {`var c = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "x", Name: "n", Help: "H."})`, "stand in Name"},
		"options outside": {`var o = prometheus.GaugeOpts{Name: "n", Help: "H."}`, "options stand in the call"},
		"syntax":          {`var`, "expected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := scanText(t, c.text); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want one about %q", err, c.err)
			}
		})
	}
}
