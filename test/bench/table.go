package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// figure is one row of the table.
type figure struct {
	Database string
	What     string
	Value    float64
	Unit     string
	Goal     string  // "≤ 20" or "≥ 45" of the value, "≥ 100 × baseline" of how often the baseline's value holds ours; empty: none
	Baseline float64 `json:",omitempty"` // the baseline's value; 0: it has none
	Limit    float64 `json:",omitempty"` // the limit's value; 0: it has none
	Note     string  `json:",omitempty"`
}

const overBaseline = " × baseline"

// onlyAbsolute is a goal where there is no baseline.
func onlyAbsolute(goal string) string {
	if strings.HasSuffix(goal, overBaseline) {
		return ""
	}
	return goal
}

// verdict says whether the goal is met; empty without a goal.
func (f figure) verdict() string {
	goal, over := strings.CutSuffix(f.Goal, overBaseline)
	value := f.Value
	if over {
		value = f.Baseline / f.Value
	}
	bound, number, _ := strings.Cut(goal, " ")
	limit, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return ""
	case bound == "≤" && value <= limit, bound == "≥" && value >= limit:
		return "yes"
	}
	return "no"
}

// table is what a run found.
type table struct {
	sizes   sizes
	before  []figure // of the run to compare with
	figures []figure
	took    time.Duration
}

// read takes the figures of an earlier run to compare with.
func (t *table) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &t.before)
}

// add notes a figure.
func (t *table) add(d database, what string, value float64, unit, goal string) {
	t.put(figure{Database: d.name, What: what, Value: value, Unit: unit, Goal: goal})
}

// put notes a figure with all that belongs to it.
func (t *table) put(f figure) {
	t.figures = append(t.figures, f)
	fmt.Fprintf(
		os.Stderr, "%s: %s: %s %s (baseline %s, limit %s)\n", f.Database, f.What, show(f.Value), f.Unit, show(f.Baseline), show(f.Limit),
	)
}

// beside notes what the baseline has for a figure that is known already.
func (t *table) beside(d database, what string, baseline float64) {
	for i := range t.figures {
		if f := &t.figures[i]; f.Database == d.name && f.What == what {
			f.Baseline = baseline
		}
	}
}

// show gives a figure three digits; zero stands for none.
func show(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// ratio shows how often one figure holds another.
func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	return show(a/b) + " ×"
}

// write prints the table, and the figures as JSON for a later run to compare with.
func (t *table) write(w io.Writer, file string) error {
	fmt.Fprintf(
		w,
		"%d cores, %s, %s; %d agents over %d streams, window %d; questions about %d people, %d templates, %d working days; the whole run "+
			"took %v\n\n",
		runtime.NumCPU(), runtime.Version(), postgresVersion(), t.sizes.Agents, t.sizes.Streams, t.sizes.Window, t.sizes.Users,
		t.sizes.Templates, t.sizes.Workdays, t.took.Round(time.Second),
	)
	fmt.Fprintln(w, "| database | what | ours | unit | baseline | baseline / ours | limit | ours / limit | goal | met | before | note |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range t.figures {
		var before float64
		for _, b := range t.before {
			if b.Database == f.Database && b.What == f.What {
				before = b.Value
			}
		}
		cells := []string{
			f.Database, f.What, show(f.Value), f.Unit, show(f.Baseline), ratio(f.Baseline, f.Value), show(f.Limit), ratio(f.Value, f.Limit),
			f.Goal, f.verdict(), show(before), f.Note,
		}
		fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
	}
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(t.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func postgresVersion() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "PostgreSQL"
	}
	out, err := exec.Command(found[len(found)-1], "--version").Output()
	if err != nil {
		return "PostgreSQL"
	}
	return strings.TrimSpace(string(out))
}
