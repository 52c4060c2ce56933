package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// figure is one row of the table.
type figure struct {
	Database string
	What     string
	Value    float64
	Unit     string
	Goal     string
}

// table is what a run found.
type table struct {
	sizes   sizes
	figures []figure
	took    time.Duration
}

func (t *table) add(d database, what string, value float64, unit, goal string) {
	t.figures = append(t.figures, figure{d.name, what, value, unit, goal})
	fmt.Fprintf(os.Stderr, "%s: %s: %s %s\n", d.name, what, show(value), unit)
}

// show gives a figure three digits.
func show(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// write prints the table, and the figures as JSON for a later run to compare with.
func (t *table) write(w io.Writer, file string) error {
	fmt.Fprintf(w, "%d cores, %s, %s; %d agents over %d streams, window %d; questions about %d people, %d templates, %d working days; the whole run took %v\n\n",
		runtime.NumCPU(), runtime.Version(), postgresVersion(), t.sizes.Agents, t.sizes.Streams, t.sizes.Window, t.sizes.Users, t.sizes.Templates, t.sizes.Workdays, t.took.Round(time.Second))
	fmt.Fprintln(w, "| database | what | measured | unit | goal |\n|---|---|---|---|---|")
	for _, f := range t.figures {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", f.Database, f.What, show(f.Value), f.Unit, f.Goal)
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
