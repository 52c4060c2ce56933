package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// What stands in cells that have no figure.
const (
	cellNone   = "-"
	cellHidden = "hidden"
)

// column is one of a table.
type column struct {
	heading string
	number  bool // stands at the right edge
	cells   []string
}

// printQuery prints an answer as a table, and below it what one has to know of its figures.
func printQuery(w io.Writer, metrics, by []string, answer *insightsv1.QueryUsageResponse) error {
	var page bytes.Buffer
	fmt.Fprintf(&page, "%s to %s", answer.GetWindow().GetStartTime(), answer.GetWindow().GetEndTime())
	if before := answer.GetBeforeWindow(); before != nil {
		fmt.Fprintf(&page, ", compared with %s to %s", before.GetStartTime(), before.GetEndTime())
	}
	page.WriteString("\n\n")
	writeColumns(&page, columnsOf(metrics, by, answer))
	if notes := notesOf(by, answer); len(notes) > 0 {
		page.WriteString("\n" + strings.Join(notes, "\n") + "\n")
	}
	_, err := page.WriteTo(w)
	return err
}

// columnsOf are the columns of an answer: labels, figures with their change, and the totals as the last row.
func columnsOf(metrics, by []string, answer *insightsv1.QueryUsageResponse) (columns []column) {
	for i, dimension := range by {
		c := column{heading: headingOf(dimension)}
		shared := sharedLabels(answer.GetRows(), i)
		for _, r := range answer.GetRows() {
			k := r.GetKeys()[i]
			text := k.GetLabel()
			if shared[text] {
				text += " " + k.GetValue() // which filters take
			}
			text = marked(text, k.GetDeleted())
			if r.GetPartial() && dimension == "interval" {
				text += " *"
			}
			c.cells = append(c.cells, text)
		}
		total := ""
		if i == 0 {
			total = "TOTAL"
		}
		c.cells = append(c.cells, total)
		columns = append(columns, c)
	}
	for _, metric := range metrics {
		figures, changes := column{heading: headingOf(metric), number: true}, column{heading: "CHANGE", number: true}
		add := func(now, before *insightsv1.QueryValues, hidden bool) {
			figures.cells = append(figures.cells, figure(metric, now, hidden))
			changes.cells = append(changes.cells, change(metric, now, before))
		}
		for _, r := range answer.GetRows() {
			add(r.GetValues(), r.GetBefore(), r.GetSuppressed())
		}
		totals := answer.GetTotals()
		add(totals.GetValues(), totals.GetBefore(), totals.GetSuppressed())
		if columns = append(columns, figures); answer.GetBeforeWindow() != nil {
			columns = append(columns, changes)
		}
	}
	return columns
}

// sharedLabels are those that several values of a dimension have, as templates and their versions may.
func sharedLabels(rows []*insightsv1.QueryRow, dimension int) map[string]bool {
	shared, values := map[string]bool{}, map[string]string{}
	for _, r := range rows {
		k := r.GetKeys()[dimension]
		if value, seen := values[k.GetLabel()]; seen && value != k.GetValue() {
			shared[k.GetLabel()] = true
		}
		values[k.GetLabel()] = k.GetValue()
	}
	return shared
}

// headingOf is what stands above a column: units stand in the cells.
func headingOf(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_seconds"), "_ms")
	return strings.ToUpper(strings.ReplaceAll(name, "_", " "))
}

// valueOf is a metric; false: there is none.
func valueOf(metric string, values *insightsv1.QueryValues) (float64, bool) {
	m := values.ProtoReflect()
	field := m.Descriptor().Fields().ByName(protoreflect.Name(metric))
	if field == nil || !m.Has(field) {
		return 0, false
	}
	if field.Kind() == protoreflect.DoubleKind {
		return m.Get(field).Float(), true
	}
	return float64(m.Get(field).Int()), true
}

// figure shows a metric.
func figure(metric string, values *insightsv1.QueryValues, hidden bool) string {
	n, known := valueOf(metric, values)
	switch {
	case hidden:
		return cellHidden
	case !known:
		return cellNone
	case strings.HasSuffix(metric, "_seconds"):
		return spent(int64(math.Round(n)))
	case strings.HasSuffix(metric, "_ms") && n < 10:
		return fmt.Sprintf("%.1f ms", n)
	case strings.HasSuffix(metric, "_ms"):
		return grouped(int64(math.Round(n))) + " ms"
	default:
		return grouped(int64(n))
	}
}

// change shows by how much a metric is more than before.
func change(metric string, now, before *insightsv1.QueryValues) string {
	is, known := valueOf(metric, now)
	was, compared := valueOf(metric, before)
	switch {
	case !known || !compared:
		return cellNone
	case was == 0 && is > 0:
		return "new"
	case was == 0:
		return "0 %"
	}
	percent := int64(math.Round(100 * (is - was) / was))
	if percent > 0 {
		return "+" + grouped(percent) + " %"
	}
	return strconv.FormatInt(percent, 10) + " %" // -100 at least
}

// spent shows seconds as people say them.
func spent(seconds int64) string {
	switch minutes := seconds / 60; {
	case minutes == 0:
		return fmt.Sprintf("%d s", seconds)
	case minutes < 60 && seconds%60 != 0:
		return fmt.Sprintf("%d min %02d s", minutes, seconds%60)
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 100*60:
		return fmt.Sprintf("%d h %02d min", minutes/60, minutes%60)
	default:
		return grouped((minutes+30)/60) + " h"
	}
}

// grouped shows a number that is not negative with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// writeColumns writes columns side by side, with a line of its own before the last row.
func writeColumns(w *bytes.Buffer, columns []column) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		for _, cell := range append([]string{c.heading}, c.cells...) {
			widths[i] = max(widths[i], cellsOf(cell))
		}
	}
	line := func(of func(column) string) {
		var text strings.Builder
		for i, c := range columns {
			pad := strings.Repeat(" ", widths[i]-cellsOf(of(c)))
			if c.number {
				text.WriteString(pad + of(c) + "  ")
			} else {
				text.WriteString(of(c) + pad + "  ")
			}
		}
		w.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	line(func(c column) string { return c.heading })
	last := len(columns[0].cells) - 1
	for row := range last {
		line(func(c column) string { return c.cells[row] })
	}
	if last > 0 {
		w.WriteString("\n")
	}
	line(func(c column) string { return c.cells[last] })
}

// cellsOf is how many places of a terminal a text takes.
func cellsOf(text string) (n int) {
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide, kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// notesOf says what the figures do not tell themselves.
func notesOf(by []string, answer *insightsv1.QueryUsageResponse) (notes []string) {
	partial, hidden := false, answer.GetTotals().GetSuppressed()
	for _, r := range answer.GetRows() {
		partial, hidden = partial || r.GetPartial(), hidden || r.GetSuppressed()
	}
	if partial {
		notes = append(notes, "* A part of the interval: the window cuts it, or it is not over yet.")
	}
	switch {
	case hidden:
		notes = append(notes, "Hidden figures are of too few people, or would tell of them.")
	case len(answer.GetWithheld()) > 0:
		notes = append(notes, "Not told: what too few people did.")
	case len(by) > 0 && len(answer.GetRows()) == 0 && len(answer.GetReasons()) == 0:
		notes = append(notes, "No rows: nothing that was counted has a value of "+strings.Join(by, " and ")+".")
	}
	if slices.Contains(answer.GetWithheld(), "session_apps") {
		notes = append(notes, "Not told: session apps one by one. --by=family tells their families.")
	}
	for _, reason := range answer.GetReasons() {
		notes = append(notes, reasonIn(reason, answer))
	}
	if others := answer.GetOtherActors(); len(others) > 0 {
		var list []string
		for _, o := range others {
			list = append(list, fmt.Sprintf("%s %s with %s", grouped(o.GetActors()), o.GetActor(), spent(o.GetSeconds())))
		}
		notes = append(notes, "Not counted: "+strings.Join(list, ", ")+". --actor=all counts everybody.")
	}
	if token := answer.GetNextPageToken(); token != "" {
		notes = append(notes, "There is more: ask again with page_token="+token)
	}
	return notes
}

// reasonIn says a reason in words.
func reasonIn(reason string, answer *insightsv1.QueryUsageResponse) string {
	switch reason {
	case "empty_window":
		return "The window is empty."
	case "no_usage":
		return "Nobody was active."
	case "other_actors":
		return "Nobody of these was active, but others were."
	case "before_first_record":
		if from := answer.GetBeforeWindow().GetHasDataFrom(); from != "" {
			return "Not compared in full: what is stored begins " + from + "."
		}
		return "Not compared: nothing is stored of the time before."
	case "not_published":
		if answer.GetDataAsOf() == "" {
			return "No day is published yet."
		}
		return "Told until " + answer.GetDataAsOf() + ": later days are not published yet."
	case "small_groups":
		return "Nothing is told of the published days: too few people took part, or nobody did."
	default:
		return reason
	}
}
