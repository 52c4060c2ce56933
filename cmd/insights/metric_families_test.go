package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// listedFamily is a line of the list of families.
type listedFamily struct {
	name, kind string
	labels     []string // ascending
	more       []string // besides the documented ones, ascending
}

// listedFamilies reads the list: the families of the documentation, and those of dashboards and alerts.
func listedFamilies(t *testing.T) (documented, used []listedFamily) {
	t.Helper()
	file, err := os.Open("../../server/testdata/metric_families.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var to *[]listedFamily
	for lines := bufio.NewScanner(file); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "# documented":
			to = &documented
		case strings.HasPrefix(line, "# in dashboards"):
			to = &used
		case line == "" || to == nil:
		default:
			before, behind, _ := strings.Cut(line, " + ")
			words := strings.Fields(before)
			*to = append(*to, listedFamily{words[0], words[1], words[2:], strings.Fields(behind)})
		}
	}
	if len(documented) != 42 || len(used) == 0 {
		t.Fatalf("the list has %d documented families and %d that are used, want 42 and some", len(documented), len(used))
	}
	return documented, used
}

// labelsOf are the label names of a family, ascending.
func labelsOf(f *dto.MetricFamily) []string {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// wrongFamilies says what a metrics page lacks, or has differently.
func wrongFamilies(t *testing.T, page string) (right int, wrong []string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	documented, used := listedFamilies(t)
	for _, l := range documented {
		f := families[l.name]
		all := slices.Sorted(slices.Values(append(slices.Clone(l.labels), l.more...)))
		switch got := labelsOf(f); {
		case len(f.GetMetric()) == 0:
			wrong = append(wrong, l.name+" is not there")
		case strings.ToLower(f.GetType().String()) != l.kind:
			wrong = append(wrong, fmt.Sprintf("%s is a %v, want %s", l.name, f.GetType(), l.kind))
		case !slices.Equal(got, all):
			wrong = append(wrong, fmt.Sprintf("%s has the labels %v, want %v", l.name, got, all))
		case strings.HasSuffix(l.name, "_total") && l.kind == "gauge" && !strings.HasPrefix(f.GetHelp(), "DEPRECATED"):
			wrong = append(wrong, l.name+" does not say that it is deprecated")
		default:
			right++
		}
	}
	for _, l := range used {
		f := families[l.name]
		missing := slices.DeleteFunc(slices.Clone(l.labels), func(name string) bool { return slices.Contains(labelsOf(f), name) })
		if len(f.GetMetric()) == 0 || strings.ToLower(f.GetType().String()) != l.kind || len(missing) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s, which dashboards use, is a %v without the labels %v", l.name, f.GetType(), missing))
		}
	}
	return right, wrong
}
