package minute

import (
	"slices"
	"testing"
	"time"
)

// A month of a company: workdays, templates, and users of each, about 21 usage rows per user and day. Of each template, one user in twenty
// goes on in the next template in the afternoon.
const (
	benchDays      = 22
	benchTemplates = 50
	benchUsers     = 200
)

// benchMonth returns the pages of the month: by day, by template.
func benchMonth(tb testing.TB) [][]Page {
	month := make([][]Page, benchDays)
	for d := range month {
		month[d] = make([]Page, benchTemplates)
		rows := make([][]Row, benchTemplates)
		for t := range rows {
			for _, r := range fleet(uint64(t), benchUsers, int32(d)) {
				at := t
				if PersonOf(r.Subject)%20 == 0 && r.HalfHour%HalfHoursPerDay >= 27 {
					at = (t + 1) % benchTemplates
				}
				rows[at] = append(rows[at], r)
			}
		}
		for t := range month[d] {
			page, err := EncodePage(int32(d), Normalize(rows[t]))
			if err != nil {
				tb.Fatal(err)
			}
			month[d][t] = page
		}
	}
	return month
}

// benchWindow is the whole month in days of a zone that cuts half hours.
func benchWindow() Window {
	zone := time.FixedZone("", 5*3600+45*60)
	start := time.Date(1970, 1, 1, 0, 0, 0, 0, zone)
	end := start.AddDate(0, 0, benchDays)
	return NewWindow(start, end).Split(start, end, 1)
}

func benchChannel(_ int, kind Kind, app string, _ bool) (channel, within int) {
	names := []string{"vscode", "jetbrains", "ssh", "reconnecting_pty", "code-server", "jupyter", "filebrowser"}
	at := slices.Index(names, app)
	if at >= 0 && (kind == Session) == (at < 4) {
		return at, NoChannel
	}
	return NoChannel, NoChannel
}

func BenchmarkCounter(b *testing.B) {
	month, w := benchMonth(b), benchWindow()
	run := func(b *testing.B, read func(day, template int) *Table, details ...Detail) {
		b.ReportAllocs()
		for b.Loop() {
			c := NewCounter(w, Everyone, benchTemplates, benchChannel, details...)
			sources := make([]Source[*Table], benchTemplates)
			for d := range month {
				for t := range sources {
					sources[t] = Source[*Table]{t, read(d, t)}
				}
				if err := c.Add(int32(d), sources); err != nil {
					b.Fatal(err)
				}
			}
			if got := c.Tally(); got.ActiveUsers != benchTemplates*benchUsers {
				b.Fatalf("%d users", got.ActiveUsers)
			}
		}
	}
	read := func(d, t int) *Table {
		table, err := ReadUsage(int32(d), month[d][t].Usage, nil)
		if err != nil {
			b.Fatal(err)
		}
		return table
	}
	b.Run("pages", func(b *testing.B) { run(b, read) })
	tables := make([][]*Table, benchDays)
	for d := range tables {
		for t := range benchTemplates {
			tables[d] = append(tables[d], read(d, t))
		}
	}
	cached := func(d, t int) *Table { return tables[d][t] }
	b.Run("tables", func(b *testing.B) { run(b, cached) })
	b.Run("details", func(b *testing.B) { run(b, cached, Peaks, IntervalMinutes) })
}

func BenchmarkLatencyCounter(b *testing.B) {
	month, w := benchMonth(b), benchWindow()
	b.ReportAllocs()
	for b.Loop() {
		c := NewLatencyCounter(w, Everyone)
		sources := make([]Source[*LatencyTable], benchTemplates)
		for d := range month {
			for t := range sources {
				table, err := ReadLatency(int32(d), month[d][t].Latency, nil)
				if err != nil {
					b.Fatal(err)
				}
				sources[t] = Source[*LatencyTable]{t, table}
			}
			if err := c.Add(int32(d), sources); err != nil {
				b.Fatal(err)
			}
		}
	}
}
